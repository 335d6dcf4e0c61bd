"""StyleGAN2 against float64 written out sample by sample; both public layouts; spaces, truncation, fixed noise."""

import re

import numpy as np
import pytest
import torch
from scipy.signal import upfirdn
from stylegan2_toys import (
    W,
    Z,
    modulated_loop,
    nvidia_state,
    rosinality_checkpoint,
    written_out_image,
    written_out_styles,
)

from genmend.activations import ScaleUnits, edited, record
from genmend.gans.families.layout import LayoutError, check_shapes, load_weights
from genmend.gans.families.resampling import fir_kernel, upfirdn2d, upsample2d
from genmend.gans.families.stylegan2 import demodulation, modulated_convolution
from genmend.gans.families.stylegan2_layouts import NVIDIA, ROSINALITY

N_WS = 6
TOLERANCE = {"rtol": 0, "atol": 2e-5}


def shapes_of(state):
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def loaded(layout, state, extras=None, stored=None, **options):
    """What convert and load do, without a file between."""
    config = layout.config(shapes_of(state), stored or {})
    check_shapes(layout.name, layout.expected(config), shapes_of(state))
    module = load_weights(layout.build(config), layout.translate({**state, **(extras or {})}, config))
    return layout.adapt(module, config, "toy", {**layout.options, **options})


@pytest.fixture(scope="module")
def state():
    return nvidia_state()


@pytest.fixture(scope="module")
def generator(state):
    return loaded(NVIDIA, state)


def broadcast(w):
    return w[:, None].expand(-1, N_WS, -1)


def test_images_and_every_activation_equal_the_network_written_out(state, generator):
    z = generator.latents(4, 0)
    expected, layers = written_out_image(state, broadcast(written_out_styles(state, z)))
    with record(generator.module, generator.layers) as outputs:
        raw = generator.run(z)
    torch.testing.assert_close(raw.double(), expected, **TOLERANCE)
    assert tuple(layers) == generator.layers
    for name, values in layers.items():
        torch.testing.assert_close(outputs[name].double(), values, **TOLERANCE)
    assert generator.generate(z).shape == (4, 3, 16, 16)


def test_both_layouts_of_the_same_network_give_the_same_images(state, generator):
    checkpoint = rosinality_checkpoint(state)
    other = loaded(ROSINALITY, checkpoint["g_ema"], {"latent_avg": checkpoint["latent_avg"]})
    z = generator.latents(5, 3)
    torch.testing.assert_close(other.run(z), generator.run(z), **TOLERANCE)
    assert other.layers == generator.layers
    assert torch.equal(other.module.mapping.w_avg, generator.module.mapping.w_avg)


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("demodulate", [False, True])
def test_modulated_convolution_equals_a_loop_over_samples(up, demodulate):
    draw = torch.Generator().manual_seed(1)
    x, weight, styles = (torch.randn(s, generator=draw) for s in ((3, 4, 5, 7), (6, 4, 3, 3), (3, 4)))
    kernel = fir_kernel() if up else None
    given = modulated_convolution(x, weight, styles, kernel=kernel, demodulate=demodulate)
    assert given.shape == (3, 6, *((10, 14) if up else (5, 7)))
    torch.testing.assert_close(given.double(), modulated_loop(x, weight, styles, up, demodulate), rtol=1e-5, atol=1e-5)


def test_demodulated_kernels_have_norm_1():
    draw = torch.Generator().manual_seed(2)
    weight, styles = torch.randn(6, 4, 3, 3, generator=draw) * 7, torch.randn(5, 4, generator=draw) * 3
    kernels = weight * styles[:, None, :, None, None] * demodulation(weight, styles)[:, :, None, None, None]
    torch.testing.assert_close(kernels.flatten(2).norm(dim=2), torch.ones(5, 6))


@pytest.mark.parametrize(("up", "padding", "taps"), [(1, (0, 0), 4), (2, (2, 1), 4), (3, (5, 0), 3), (2, (0, 7), 6)])
def test_upfirdn_equals_scipy_with_an_asymmetric_kernel(up, padding, taps):
    draw = np.random.default_rng(3)
    x, row, column = draw.normal(size=(2, 3, 5, 6)), draw.normal(size=taps), draw.normal(size=taps)
    given = upfirdn2d(torch.from_numpy(x), torch.from_numpy(np.outer(column, row)), up=up, padding=padding, gain=1.5)
    wide = np.zeros((2, 3, 5 * up, 6 * up))
    wide[:, :, ::up, ::up] = x
    wide = np.pad(wide, ((0, 0), (0, 0), padding, padding))
    expected = upfirdn(row, upfirdn(column, wide, axis=2), axis=3)[:, :, taps - 1 : -(taps - 1), taps - 1 : -(taps - 1)]
    np.testing.assert_allclose(given.numpy(), expected * 1.5, rtol=0, atol=1e-12)


def test_upsampling_keeps_a_constant_and_the_centre_of_mass():
    flat = upsample2d(torch.full((1, 1, 6, 6), 0.7), fir_kernel())
    torch.testing.assert_close(flat[:, :, 2:-2, 2:-2], torch.full((1, 1, 8, 8), 0.7))
    dot = torch.zeros(1, 1, 8, 8)
    dot[0, 0, 3, 5] = 1
    wide = upsample2d(dot, fir_kernel())[0, 0]
    centre = (wide.sum(1) @ torch.arange(16.0) / wide.sum(), wide.sum(0) @ torch.arange(16.0) / wide.sum())
    assert centre == pytest.approx((3 * 2 + 0.5, 5 * 2 + 0.5))  # pixel centres of the doubled grid


def test_truncation_moves_w_to_the_mean(state):
    z = loaded(NVIDIA, state).latents(3, 0)
    w, mean = written_out_styles(state, z), state["mapping.w_avg"].double()
    half = loaded(NVIDIA, state, psi=0.5)
    torch.testing.assert_close(
        half.run(z).double(), written_out_image(state, broadcast(mean + 0.5 * (w - mean)))[0], **TOLERANCE
    )
    coarse = broadcast(w).clone()
    coarse[:, :2] = mean + 0.3 * (coarse[:, :2] - mean)
    given = loaded(NVIDIA, state, psi=0.3, cutoff=2).run(z)
    torch.testing.assert_close(given.double(), written_out_image(state, coarse)[0], **TOLERANCE)
    still = loaded(NVIDIA, state, psi=0).run(z)
    assert torch.allclose(still[0], still[1])
    assert half.settings == {"space": "z", "psi": 0.5, "cutoff": None, "noise": "const", "label": None}
    assert half.name == "toy (psi 0.5)"


def test_w_and_w_plus_are_what_the_synthesis_gets(state, generator):
    z = generator.latents(5, 7)
    for space, shape in (("w", (W,)), ("w+", (N_WS, W))):
        inner = loaded(NVIDIA, state, space=space, psi=0.7)
        latents = inner.latents(5, 7)
        assert (inner.latent_shape, latents.shape) == (shape, (5, *shape))
        torch.testing.assert_close(inner.run(latents), loaded(NVIDIA, state, psi=0.7).run(z), **TOLERANCE)
        assert torch.equal(inner.latents(3, 7, start=2), latents[2:])
        assert torch.equal(inner.latents(70, 7)[:5], latents)
    mixed = torch.randn(2, N_WS, W, generator=torch.Generator().manual_seed(0))
    given = loaded(NVIDIA, state, space="w+").run(mixed)
    torch.testing.assert_close(given.double(), written_out_image(state, mixed)[0], **TOLERANCE)


def test_noise_is_constant_or_none(state, generator):
    z = generator.latents(2, 1)
    assert torch.equal(generator.run(z), generator.run(z))
    quiet = loaded(NVIDIA, state, noise="none").run(z)
    expected = written_out_image(state, broadcast(written_out_styles(state, z)), noise=False)[0]
    torch.testing.assert_close(quiet.double(), expected, **TOLERANCE)
    assert (quiet - generator.run(z)).abs().max() > 0.01


def test_the_clamp_of_a_pickle_is_applied(state):
    z = torch.randn(3, Z, generator=torch.Generator().manual_seed(4))
    clamped = loaded(NVIDIA, state, stored={"synthesis_kwargs": {"conv_clamp": 0.8}})
    expected = written_out_image(state, broadcast(written_out_styles(state, z)), clamp=0.8)[0]
    torch.testing.assert_close(clamped.run(z).double(), expected, **TOLERANCE)
    assert clamped.module.synthesis.b8.conv0.activation.clamp == 0.8
    free = loaded(NVIDIA, state, stored={"synthesis_kwargs": {}})
    assert free.module.synthesis.b8.conv0.activation.clamp is None


def test_a_conditional_model_takes_its_class_from_the_latent_or_from_a_label():
    state = nvidia_state(n_classes=3)
    drawn, fixed = loaded(NVIDIA, state), loaded(NVIDIA, state, label=2)
    assert (drawn.latent_shape, fixed.latent_shape) == ((Z + 1,), (Z,))
    latents = drawn.latents(40, 0)
    latents[:, -1] = 3.0  # far in the upper tail: the last class
    torch.testing.assert_close(drawn.run(latents), fixed.run(latents[:, :Z]), **TOLERANCE)
    assert not torch.allclose(loaded(NVIDIA, state, label=0).run(latents[:, :Z]), fixed.run(latents[:, :Z]))
    inner = loaded(NVIDIA, state, space="w")
    torch.testing.assert_close(inner.run(inner.latents(3, 0)), drawn.run(drawn.latents(3, 0)), **TOLERANCE)


def test_an_edit_of_a_unit_reaches_the_image(state, generator):
    z = generator.latents(2, 0)
    before = generator.run(z)
    with edited(generator.module, ScaleUnits("synthesis.b8.conv0.activation", (1,), 0.0)):
        changed = generator.run(z)
    assert (changed - before).abs().max() > 1e-3
    assert torch.equal(generator.run(z), before)


def test_without_an_average_the_mean_w_is_measured(state):
    measured = loaded(ROSINALITY, rosinality_checkpoint(state)["g_ema"]).module.mapping.w_avg
    draws = written_out_styles(state, torch.randn(20_000, Z, generator=torch.Generator().manual_seed(9)))
    assert (measured - draws.mean(0)).abs().max() < 6 * (draws.std(0) / 10_000**0.5).max()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"space": "y"}, "space is 'y'"),
        ({"noise": "random"}, r"noise 'random'; give one of .*'const', 'none'"),
        ({"psi": -0.1}, "psi is -0.1"),
        ({"psi": "much"}, "psi is 'much'"),
        ({"cutoff": 7}, "cutoff is 7.* at most 6"),
        ({"cutoff": 2, "space": "w"}, "cutoff is 2 in space 'w'"),
        ({"label": 0}, "no classes"),
    ],
)
def test_options_that_are_not_there_are_refused(state, options, message):
    with pytest.raises(ValueError, match=message):
        loaded(NVIDIA, state, **options)


def test_every_name_and_shape_that_does_not_fit_is_listed(state):
    broken = dict(state)
    del broken["synthesis.b8.conv0.affine.bias"], broken["mapping.fc1.bias"]
    broken["synthesis.b16.torgb.bias"] = torch.zeros(4)
    broken["synthesis.b16.skip.weight"] = torch.zeros(1)
    with pytest.raises(LayoutError) as error:
        loaded(NVIDIA, broken)
    for line in (
        "stylegan2-nvidia in 4 arrays",
        "missing: synthesis.b8.conv0.affine.bias (5,)",
        "missing: mapping.fc1.bias (6,)",
        "wrong shape: synthesis.b16.torgb.bias is (4,), should be (3,)",
        "unexpected: synthesis.b16.skip.weight (1,)",
    ):
        assert line in str(error.value)


def test_a_rosinality_file_is_checked_under_its_own_names(state):
    g_ema = rosinality_checkpoint(state)["g_ema"]
    del g_ema["noises.noise_3"]
    g_ema["conv1.noise.weight"] = torch.zeros(2)
    with pytest.raises(LayoutError, match=re.escape("missing: noises.noise_3 (1, 1, 16, 16)")) as error:
        loaded(ROSINALITY, g_ema)
    assert "wrong shape: conv1.noise.weight is (2,), should be (1,)" in str(error.value)


@pytest.mark.parametrize("layout", [NVIDIA, ROSINALITY], ids=lambda layout: layout.name)
def test_another_filter_is_refused_by_name(layout, state):
    given = dict(state) if layout is NVIDIA else rosinality_checkpoint(state)["g_ema"]
    name = "synthesis.b8.conv0.resample_filter" if layout is NVIDIA else "convs.0.conv.blur.kernel"
    given[name] = given[name].roll(1, 0)
    with pytest.raises(LayoutError, match=rf"Filters other than .*{re.escape(name)}"):
        loaded(layout, given)


@pytest.mark.parametrize("layout", [NVIDIA, ROSINALITY], ids=lambda layout: layout.name)
def test_arrays_of_something_else_are_no_stylegan2(layout):
    with pytest.raises(LayoutError, match="The file has no"):
        layout.config({"main.0.weight": (4, 4)}, {})
    assert not layout.matches({"main.0.weight": (4, 4)})


def test_the_layouts_are_told_apart(state):
    nvidia, rosinality = shapes_of(state), shapes_of(rosinality_checkpoint(state)["g_ema"])
    assert (NVIDIA.matches(nvidia), NVIDIA.matches(rosinality)) == (True, False)
    assert (ROSINALITY.matches(nvidia), ROSINALITY.matches(rosinality)) == (False, True)
