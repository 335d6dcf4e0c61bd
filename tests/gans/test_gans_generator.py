"""The generator adapter: seeds, batches, values, latents that don't fit, layers, and generators by name."""

import sys

import numpy as np
import pytest
import torch
from gans_toys import LATENT_WIDTH, LAYERS, SIDES, ToyNet, toy_generator, toy_net, written_out
from torch import nn
from torch.nn import functional

from genmend.activations.layers import UnknownLayerError
from genmend.gans import Generator, load_generator
from genmend.gans.generator import layer_shapes

BATCH_TOLERANCE = 1e-5  # reliability.md, section 4: batch size on the CPU


class Grey(nn.Module):
    """Pixels that are the latents themselves: one channel of 4x4 in 0..255."""

    def forward(self, latents):
        return latents.view(-1, 1, 4, 4)


def test_an_item_depends_on_its_seed_and_number_alone():
    generator = toy_generator()
    whole = generator.latents(20, seed=3)
    assert whole.shape == (20, LATENT_WIDTH)
    assert whole.dtype == torch.float32
    assert torch.equal(generator.latents(7, seed=3), whole[:7])
    assert torch.equal(generator.latents(5, seed=3, start=11), whole[11:16])
    assert not torch.equal(generator.latents(20, seed=4), whole)
    assert len(torch.unique(whole, dim=0)) == 20


def test_latents_are_standard_normal():
    draws = toy_generator().latents(2000, seed=0)
    n = draws.numel()
    assert abs(draws.mean()) < 5 / n**0.5
    assert abs(draws.var() - 1) < 5 * (2 / n) ** 0.5
    # Neighbouring items and coordinates are uncorrelated.
    assert abs((draws[1:] * draws[:-1]).mean()) < 5 / n**0.5
    assert abs((draws[:, 1:] * draws[:, :-1]).mean()) < 5 / n**0.5


@pytest.mark.parametrize(("n", "seed", "start"), [(0, 0, 0), (-1, 0, 0), (1, -1, 0), (1, 0, -1)])
def test_impossible_draws_are_refused(n, seed, start):
    with pytest.raises(ValueError, match="at least"):
        toy_generator().latents(n, seed, start)


def test_images_equal_the_forward_pass_written_out():
    generator = toy_generator()
    latents = generator.latents(6, 1)
    _, expected = written_out(generator.module, latents)
    images = generator.generate(latents)
    assert images.shape == (6, 3, 32, 32)
    torch.testing.assert_close(images, expected, rtol=0, atol=BATCH_TOLERANCE)
    assert images.std() > 0.05


def test_batch_size_changes_nothing_beyond_rounding():
    latents = toy_generator().latents(13, 5)
    whole = toy_generator(batch_size=64).generate(latents)
    for batch_size in (1, 4, 13):
        torch.testing.assert_close(
            toy_generator(batch_size=batch_size).generate(latents), whole, rtol=0, atol=BATCH_TOLERANCE
        )


def test_sample_is_generate_of_latents_and_repeats_bit_for_bit():
    generator = toy_generator()
    assert torch.equal(generator.sample(5, 8), generator.generate(generator.latents(5, 8)))
    assert torch.equal(generator.sample(5, 8), generator.sample(5, 8))


def test_numpy_latents_give_the_same_images():
    generator = toy_generator()
    latents = generator.latents(4, 2)
    assert torch.equal(generator.generate(latents.double().numpy()), generator.generate(latents))


def test_value_range_maps_black_to_0_and_white_to_1_and_clamps():
    generator = Generator(nn.Sequential(Grey(), nn.Identity()).eval(), (16,), layers=("1",), value_range=(0.0, 255.0))
    latents = torch.zeros(2, 16)
    latents[1] = torch.linspace(-100, 500, 16)
    images = generator.generate(latents)
    assert images.shape == (2, 3, 4, 4)
    assert (images[0] == 0).all()
    expected = (latents[1] / 255).clamp(0, 1).view(4, 4)
    for channel in images[1]:
        assert torch.equal(channel, expected)


def test_grey_images_are_repeated_to_three_channels():
    net = toy_net(channels=1)
    latents = torch.randn(3, LATENT_WIDTH, generator=torch.Generator().manual_seed(0))
    images = Generator(net, (LATENT_WIDTH,)).generate(latents)
    assert images.shape == (3, 3, 32, 32)
    torch.testing.assert_close(images[:, :1], written_out(net, latents)[1], rtol=0, atol=BATCH_TOLERANCE)
    assert torch.equal(images[:, 0], images[:, 1])
    assert torch.equal(images[:, 0], images[:, 2])


def test_call_replaces_the_plain_forward_pass():
    generator = toy_generator(call=lambda module, latents: -module(latents))
    latents = generator.latents(3, 0)
    torch.testing.assert_close(generator.generate(latents), 1 - toy_generator().generate(latents), rtol=0, atol=1e-6)


@pytest.mark.parametrize("value_range", [(1, -1), (0.5, 0.5), (float("nan"), 1)])
def test_a_value_range_upside_down_is_refused(value_range):
    with pytest.raises(ValueError, match="black < white"):
        toy_generator(value_range=value_range)


def test_a_batch_size_below_1_is_refused():
    with pytest.raises(ValueError, match="batch_size is 0"):
        toy_generator(batch_size=0)


@pytest.mark.parametrize(
    "shape", [(LATENT_WIDTH,), (2, LATENT_WIDTH + 1), (2, LATENT_WIDTH, 2, 1), (2, 4, 4), (0, LATENT_WIDTH), ()]
)
def test_latents_of_another_shape_are_refused_with_both_shapes(shape):
    with pytest.raises(ValueError, match="Latents have shape") as error:
        toy_generator().generate(torch.zeros(shape))
    assert str(shape) in str(error.value)
    assert str(["n", LATENT_WIDTH]) in str(error.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_a_latent_that_is_not_finite_is_named_by_row(value):
    latents = np.zeros((5, LATENT_WIDTH))
    latents[3, 7] = value
    with pytest.raises(ValueError, match="Latent 3 holds NaN or infinite"):
        toy_generator().generate(latents)


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.complex64])
def test_latents_that_are_not_floating_are_refused(dtype):
    with pytest.raises(ValueError, match=r"dtype .*give floating-point"):
        toy_generator().generate(torch.ones(2, LATENT_WIDTH, dtype=dtype))


def test_a_module_that_returns_no_images_is_refused():
    flat = Generator(nn.Sequential(nn.Linear(16, 12), nn.Identity()).eval(), (16,), layers=("1",))
    with pytest.raises(ValueError, match=r"returned shape \(2, 12\).*give `call`"):
        flat.generate(torch.zeros(2, 16))
    two_channels = Generator(nn.Sequential(nn.Unflatten(1, (2, 4, 2))).eval(), (16,), layers=("0",))
    with pytest.raises(ValueError, match=r"returned shape \(2, 2, 4, 2\)"):
        two_channels.generate(torch.zeros(2, 16))


def test_generating_builds_no_gradient_graph():
    net = toy_net().requires_grad_(True)
    assert not Generator(net, (LATENT_WIDTH,)).sample(2, 0).requires_grad


def test_activation_layers_are_found_in_order_of_depth():
    generator = toy_generator()
    assert generator.layers == LAYERS


def test_activations_without_feature_maps_are_left_out():
    class Headed(ToyNet):
        def __init__(self):
            super().__init__()
            self.mapping = nn.Sequential(nn.Linear(LATENT_WIDTH, LATENT_WIDTH), nn.ReLU())
            self.unused = nn.ReLU()

        def forward(self, latents):
            return super().forward(self.mapping(latents))

    assert Generator(Headed().eval(), (LATENT_WIDTH,)).layers == LAYERS


def test_without_activation_modules_the_layers_have_to_be_named():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.grow = nn.ConvTranspose2d(LATENT_WIDTH, 3, 8)

        def forward(self, latents):
            return functional.relu(self.grow(latents[:, :, None, None]))

    with pytest.raises(ValueError, match=r"no activation modules with feature maps.*layers=.*those that run are grow"):
        Generator(Functional().eval(), (LATENT_WIDTH,))
    assert Generator(Functional().eval(), (LATENT_WIDTH,), layers=("grow",)).layers == ("grow",)


def test_an_unknown_layer_is_refused_with_the_nearest_names():
    with pytest.raises(UnknownLayerError, match=r"widen\.act"):
        toy_generator(layers=("widen.akt",))


def test_with_module_keeps_everything_else():
    generator = toy_generator(layers=("widen.act",), batch_size=3)
    other = generator.with_module(toy_net(seed=1))
    assert (other.layers, other.batch_size, other.latent_shape) == (("widen.act",), 3, (LATENT_WIDTH,))
    assert not torch.equal(other.sample(2, 0), generator.sample(2, 0))


MODELS = """
from gans_toys import toy_generator, toy_net

def build():
    net = toy_net().train()
    return net.requires_grad_(True)

def adapter():
    return toy_generator(value_range=(-2, 2))

def number():
    return 3

constant = 5
"""


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A user's module on the path, under a name that only this test has."""
    (tmp_path / "gans_own_models.py").write_text(MODELS)
    (tmp_path / "gans_own_broken.py").write_text("import gans_own_dependency_that_is_missing\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "gans_own_models"
    for name in ("gans_own_models", "gans_own_broken"):
        sys.modules.pop(name, None)


def test_an_own_module_is_loaded_by_name_and_made_ready(models):
    generator = load_generator(f"{models}:build", [LATENT_WIDTH])
    assert generator.name == "build"
    assert generator.layers == LAYERS
    assert not any(module.training for module in generator.module.modules())
    assert not any(parameter.requires_grad for parameter in generator.module.parameters())
    assert torch.equal(generator.sample(3, 1), toy_generator().sample(3, 1))
    assert load_generator(f"{models}:build", (LATENT_WIDTH,), layers=["widen.act"]).layers == ("widen.act",)


def test_an_own_adapter_keeps_its_settings(models):
    generator = load_generator(f"{models}:adapter")
    assert generator.value_range == (-2, 2)
    chosen = load_generator(f"{models}:adapter", layers=("detail.act",))
    assert (chosen.layers, chosen.value_range) == (("detail.act",), (-2, 2))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("{}:build", "latent shape is needed: give --latent-shape"),
        ("{}:number", "callable that returns an nn.Module"),
        ("{}:constant", "callable that returns an nn.Module"),
        ("{}:biuld", "has no 'biuld'; it has .*build"),
        ("gans_own_nowhere:build", "No module called 'gans_own_nowhere' was found"),
        ("{}.inner:build", "No module called 'gans_own_models.inner' was found"),
        ("{}:", "write it as module:callable"),
        (":build", "write it as module:callable"),
        (".relative:build", "write it as module:callable"),
        ("face", "neither 'faces' nor 'portraits' nor 'eyes' nor a plug-in .* nor a folder .* nor module:callable"),
        ("", "neither 'faces' nor 'portraits' nor 'eyes' nor a plug-in .* nor a folder .* nor module:callable"),
    ],
)
def test_names_that_lead_nowhere_say_so(models, name, message):
    with pytest.raises(ValueError, match=message):
        load_generator(name.format(models))


def test_a_missing_dependency_of_an_own_module_is_reported_as_such(models):
    with pytest.raises(ModuleNotFoundError, match="gans_own_dependency_that_is_missing"):
        load_generator("gans_own_broken:build")


def test_a_module_in_training_mode_is_refused():
    with pytest.raises(ValueError, match=r"training mode.*\.eval\(\)"):
        Generator(nn.Sequential(nn.Linear(16, 12), nn.Identity()), (16,), layers=("1",))


def test_images_are_those_of_generate_and_let_gradients_through():
    generator = toy_generator()
    latents = generator.latents(3, seed=1).requires_grad_(True)
    images = generator.images(latents)
    assert torch.equal(images.detach(), generator.generate(latents.detach()))
    images.sum().backward()
    assert latents.grad.abs().sum() > 0


def test_layer_shapes_are_those_of_one_sample():
    generator = toy_generator()
    shapes = layer_shapes(generator, LAYERS)
    assert {layer: shape[1:] for layer, shape in shapes.items()} == {
        layer: (side, side) for layer, side in SIDES.items()
    }
    assert list(shapes) == list(LAYERS)
