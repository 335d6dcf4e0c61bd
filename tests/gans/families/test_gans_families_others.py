"""DCGAN, Progressive GAN, BigGAN-deep: tiny models of the public layouts against networks written out in float64."""

import math
from itertools import pairwise

import pytest
import torch
from scipy.stats import norm, truncnorm
from torch.nn import functional

from genmend.gans import DCGAN
from genmend.gans.families import LAYOUTS, LayoutError
from genmend.gans.families.biggan_deep import truncated_normal
from genmend.gans.families.layout import check_shapes, load_weights

TOLERANCE = {"rtol": 0, "atol": 1e-4}
WIDTHS, Z = (6, 4, 3), 5


def loaded(name, state, stored=None, **options):
    layout = LAYOUTS[name]
    shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
    assert [other for other, candidate in LAYOUTS.items() if candidate.matches(shapes)] == [name]
    config = layout.config(shapes, stored or {})
    check_shapes(name, layout.expected(config), shapes)
    module = load_weights(layout.build(config), layout.translate(dict(state), config))
    return layout.adapt(module, config, "toy", {**layout.options, **options})


def drawn(seed=0):
    draw = torch.Generator().manual_seed(seed)
    return lambda *shape, scale=1.0, shift=0.0: torch.randn(shape, generator=draw) * scale + shift


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_dcgan_of_any_depth_is_read_from_its_shapes(depth, channels):
    torch.manual_seed(0)
    module = DCGAN(7, (8, 6, 5, 4)[:depth], channels)
    generator = loaded("dcgan", module.state_dict())
    z = generator.latents(2, 0)
    assert torch.equal(generator.run(z), module.eval()(z))
    assert generator.run(z).shape == (2, channels, 4 * 2**depth, 4 * 2**depth)
    assert len(generator.layers) == depth


def test_a_conditional_dcgan_with_dropout_is_read_when_its_classes_are_told():
    torch.manual_seed(0)
    module = DCGAN(7, (8, 6), n_classes=3, dropout=0.2)
    generator = loaded("dcgan", module.state_dict(), {"n_classes": 3}, label=1)
    z = generator.latents(2, 0)
    one_hot = torch.tensor([[0.0, 1, 0]]).expand(2, -1)
    assert torch.equal(generator.run(z), module.eval()(z, one_hot))
    assert (generator.layers, generator.latent_shape) == (("main.2", "main.6"), (7,))
    assert loaded("dcgan", module.state_dict(), {"n_classes": 3}).latent_shape == (8,)


def test_other_convolutions_are_no_dcgan():
    state = DCGAN(7, (8, 6)).state_dict() | {"main.3.weight": torch.zeros(9, 6, 4, 4)}
    with pytest.raises(LayoutError, match="in a chain"):
        loaded("dcgan", state)


def zoo_state(middle=""):
    """Progressive GAN as pytorch_GAN_zoo stores it."""
    random = drawn(1)
    state = {
        f"formatLayer{middle}.weight": random(WIDTHS[0] * 16, Z),
        f"formatLayer{middle}.bias": random(WIDTHS[0] * 16),
    }
    state |= {f"groupScale0.0{middle}.weight": random(WIDTHS[0], WIDTHS[0], 3, 3)}
    state |= {f"groupScale0.0{middle}.bias": random(WIDTHS[0])}
    for scale, (before, after) in enumerate(pairwise(WIDTHS)):
        for number, inputs in enumerate((before, after)):
            state[f"scaleLayers.{scale}.{number}{middle}.weight"] = random(after, inputs, 3, 3)
            state[f"scaleLayers.{scale}.{number}{middle}.bias"] = random(after)
    for scale, width in enumerate(WIDTHS):
        state |= {
            f"toRGBLayers.{scale}{middle}.weight": random(3, width, 1, 1),
            f"toRGBLayers.{scale}{middle}.bias": random(3),
        }
    return state


def pixel_norm(x):
    return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()


def zoo_written_out(state, z):
    """Their forward pass: the constant multiplies weight and bias; norm after each activation."""
    state = {name.replace(".module.", "."): tensor.double() for name, tensor in state.items()}

    def scaled(x, name, apply, **options):
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        return apply(x, weight, bias, **options) * math.sqrt(2 / weight[0].numel())

    def block(x, name):
        return pixel_norm(functional.leaky_relu(scaled(x, name, functional.conv2d, padding=1), 0.2))

    x = functional.leaky_relu(scaled(pixel_norm(z.double()), "formatLayer", functional.linear), 0.2)
    x = block(pixel_norm(x.view(len(z), -1, 4, 4)), "groupScale0.0")
    for scale in range(len(WIDTHS) - 1):
        x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        x = block(block(x, f"scaleLayers.{scale}.0"), f"scaleLayers.{scale}.1")
    return scaled(x, f"toRGBLayers.{len(WIDTHS) - 1}", functional.conv2d)


@pytest.mark.parametrize("middle", ["", ".module"])
def test_progressive_gan_of_the_zoo_equals_its_forward_pass_written_out(middle):
    state = zoo_state(middle)
    generator = loaded("progan-zoo", state)
    z = generator.latents(3, 0)
    torch.testing.assert_close(generator.run(z).double(), zoo_written_out(state, z), **TOLERANCE)
    assert generator.layers == tuple(f"layer{number}.relu" for number in range(1, 7))


def test_progressive_gan_of_gan_dissection_equals_its_forward_pass_written_out():
    random, state = drawn(2), {}
    sizes = [(Z, 6, 4), (6, 6, 3), (6, 4, 3), (4, 4, 3), (4, 3, 3), (3, 3, 3)]
    for number, (before, after, kernel) in enumerate(sizes, 1):
        state |= {
            f"layer{number}.conv.weight": random(after, before, kernel, kernel),
            f"layer{number}.wscale.b": random(after),
        }
    state |= {"output_16x16.conv.weight": random(3, 3, 1, 1), "output_16x16.wscale.b": random(3)}
    generator = loaded("progan", state)
    z = generator.latents(3, 0)
    x = z.double()[:, :, None, None]
    for number, (before, _, kernel) in enumerate(sizes, 1):
        weight, bias = state[f"layer{number}.conv.weight"].double(), state[f"layer{number}.wscale.b"].double()
        x = pixel_norm(x)
        if number in (3, 5):
            x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        x = functional.conv2d(x, weight, padding=3 if number == 1 else 1) * math.sqrt(2) / kernel / math.sqrt(before)
        x = functional.leaky_relu(x + bias[:, None, None], 0.2)
    x = functional.conv2d(pixel_norm(x), state["output_16x16.conv.weight"].double()) / math.sqrt(3)
    expected = x + state["output_16x16.wscale.b"].double()[:, None, None]
    torch.testing.assert_close(generator.run(z).double(), expected, **TOLERANCE)


BASE, N_CLASSES, N_STATISTICS = 8, 4, 6
BLOCKS = [(False, 32, 32), (True, 32, 16), (False, 16, 16), (True, 16, 8)]
ATTENTION = 2


def biggan_state():
    """BigGAN-deep as pytorch-pretrained-biggan stores it: spectral norm's weight_orig, weight_u, weight_v."""
    random, state, condition = drawn(3), {}, 2 * Z

    def normed(name, *shape, bias=True):
        weight = random(*shape)
        flat = weight.flatten(1)
        u = functional.normalize(random(shape[0]), dim=0)
        state[f"{name}.weight_orig"], state[f"{name}.weight_u"] = weight, u
        state[f"{name}.weight_v"] = functional.normalize(flat.T @ u, dim=0)
        if bias:
            state[f"{name}.bias"] = random(shape[0], scale=0.2)

    def statistics(name, units, conditional=True):
        state[f"{name}.running_means"] = random(N_STATISTICS, units, scale=0.2)
        state[f"{name}.running_vars"] = random(N_STATISTICS, units).abs() + 0.5
        if conditional:
            normed(f"{name}.scale", units, condition, bias=False)
            normed(f"{name}.offset", units, condition, bias=False)
        else:
            state[f"{name}.weight"], state[f"{name}.bias"] = random(units, shift=1), random(units)

    state["embeddings.weight"] = random(Z, N_CLASSES)
    normed("generator.gen_z", 16 * BLOCKS[0][1], condition)
    for number, (_, before, after) in enumerate(BLOCKS):
        name = f"generator.layers.{number + (number >= ATTENTION)}"
        middle = before // 4
        sizes = [(before, middle, 1), (middle, middle, 3), (middle, middle, 3), (middle, after, 1)]
        for place, (inputs, outputs, kernel) in enumerate(sizes):
            statistics(f"{name}.bn_{place}", inputs)
            normed(f"{name}.conv_{place}", outputs, inputs, kernel, kernel)
    units = BLOCKS[ATTENTION][1]
    for part, sizes in {"theta": (units // 8, units), "phi": (units // 8, units), "g": (units // 2, units),
                        "o_conv": (units, units // 2)}.items():  # fmt: skip
        normed(f"generator.layers.{ATTENTION}.snconv1x1_{part}", *sizes, 1, 1, bias=False)
    state[f"generator.layers.{ATTENTION}.gamma"] = torch.tensor([0.7])
    statistics("generator.bn", BASE, conditional=False)
    normed("generator.conv_to_rgb", BASE, BASE, 3, 3)
    return state


def biggan_written_out(state, z, label, step):
    """Their forward pass at statistics number `step`, in float64."""
    state = {name: tensor.double() for name, tensor in state.items()}

    def weight(name):
        matrix = state[f"{name}.weight_orig"]
        return matrix / (state[f"{name}.weight_u"] @ matrix.flatten(1) @ state[f"{name}.weight_v"])

    def batch_norm(x, name):
        mean, variance = state[f"{name}.running_means"][step], state[f"{name}.running_vars"][step]
        x = (x - mean[:, None, None]) / (variance[:, None, None] + 1e-4).sqrt()
        if f"{name}.scale.weight_orig" not in state:
            return x * state[f"{name}.weight"][:, None, None] + state[f"{name}.bias"][:, None, None]
        factor, offset = 1 + condition @ weight(f"{name}.scale").T, condition @ weight(f"{name}.offset").T
        return x * factor[:, :, None, None] + offset[:, :, None, None]

    def conv(x, name, padding=0):
        return functional.conv2d(x, weight(name), state.get(f"{name}.bias"), padding=padding)

    def doubled(x):
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    condition = torch.cat([z.double(), state["embeddings.weight"][:, label].expand(len(z), -1)], dim=1)
    x = condition @ weight("generator.gen_z").T + state["generator.gen_z.bias"]
    x = x.view(len(z), 4, 4, -1).permute(0, 3, 1, 2)
    for number, (up, before, after) in enumerate(BLOCKS):
        if number == ATTENTION:
            at = f"generator.layers.{ATTENTION}.snconv1x1_"
            query = conv(x, f"{at}theta").flatten(2)
            key = functional.max_pool2d(conv(x, f"{at}phi"), 2).flatten(2)
            value = functional.max_pool2d(conv(x, f"{at}g"), 2).flatten(2)
            weights = torch.einsum("ncq,nck->nqk", query, key).softmax(2)
            gathered = torch.einsum("nck,nqk->ncq", value, weights).view(len(z), before // 2, *x.shape[2:])
            x = x + 0.7 * conv(gathered, f"{at}o_conv")
        name, y = f"generator.layers.{number + (number >= ATTENTION)}", x
        for place, padding in enumerate((0, 1, 1, 0)):
            y = batch_norm(y, f"{name}.bn_{place}").clamp(min=0)
            y = doubled(y) if up and place == 1 else y
            y = conv(y, f"{name}.conv_{place}", padding)
        x = y + (doubled(x) if up else x)[:, :after]
    return conv(batch_norm(x, "generator.bn").clamp(min=0), "generator.conv_to_rgb", 1)[:, :3].tanh()


@pytest.mark.parametrize(("truncation", "step"), [(1.0, 5), (0.4, 2)])
def test_biggan_deep_equals_its_forward_pass_written_out(truncation, step):
    state = biggan_state()
    generator = loaded("biggan-deep", state, truncation=truncation, label=2)
    z = generator.latents(3, 0)
    expected = biggan_written_out(state, z, 2, step)
    assert expected.std() > 0.1
    torch.testing.assert_close(generator.run(z).double(), expected, **TOLERANCE)
    assert len(generator.layers) == 17
    assert z.abs().max() <= 2 * truncation


def test_biggan_deep_draws_its_class_and_truncates_the_rest():
    state = biggan_state()
    drawn_class, fixed = (
        loaded("biggan-deep", state, truncation=0.5),
        loaded("biggan-deep", state, truncation=0.5, label=3),
    )
    latents = drawn_class.latents(50, 0)
    assert latents.shape == (50, Z + 1)
    assert latents[:, :Z].abs().max() <= 1
    assert latents[:, Z].abs().max() > 1.5
    latents[:, Z] = 5.0
    torch.testing.assert_close(drawn_class.run(latents[:3]), fixed.run(latents[:3, :Z]), **TOLERANCE)
    with pytest.raises(ValueError, match="truncation is 0"):
        loaded("biggan-deep", state, truncation=0)


def test_truncated_normal_has_scipys_quantiles():
    normal = torch.linspace(-6, 6, 101, dtype=torch.float64)
    expected = truncnorm.ppf(norm.cdf(normal.numpy()), -2, 2)
    torch.testing.assert_close(truncated_normal(normal), torch.from_numpy(expected), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("name", "state"), [("progan-zoo", zoo_state()), ("biggan-deep", biggan_state())])
def test_what_does_not_fit_is_listed_under_the_files_own_names(name, state):
    gone = next(iter(state))
    changed = {key: tensor for key, tensor in state.items() if key != list(state)[-1]} | {"other": torch.zeros(1)}
    assert gone in changed
    with pytest.raises(LayoutError) as error:
        loaded(name, changed)
    assert f"missing: {list(state)[-1]}" in str(error.value)
    assert "unexpected: other (1,)" in str(error.value)
