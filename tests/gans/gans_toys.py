"""A generator that is not ours, a feature extractor, and a correction made by hand, all small enough for loops."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from genmend.activations import AblateNeurons, Correction, Gate, StopRule
from genmend.gans import Generator
from genmend.manifold import Manifold
from genmend.manifold.features import extract

LATENT_WIDTH = 16
LAYERS = ("stem.act", "widen.act", "detail.act")  # what a `Generator` finds, in order of depth
SIDES = {"stem.act": 4, "widen.act": 8, "detail.act": 16}
EXTRACTOR = "gans_toys:toy_extractor"  # a name under which a file can ask for it


class Block(nn.Module):
    def __init__(self, before: int, after: int, stride: int, padding: int, act: nn.Module) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(before, after, 4, stride, padding)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.up(x))


class ToyNet(nn.Module):
    """(n, 16) -> (n, 3, 32, 32) in -1..1, with activations of both kinds, in place and not."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.stem = Block(LATENT_WIDTH, 6, 1, 0, nn.ReLU(inplace=True))
        self.widen = Block(6, 5, 2, 1, nn.LeakyReLU(0.2))
        self.detail = Block(5, 4, 2, 1, nn.LeakyReLU(0.1, inplace=True))
        self.paint = nn.ConvTranspose2d(4, channels, 4, 2, 1)

    def forward(self, latents: Tensor) -> Tensor:
        return self.paint(self.detail(self.widen(self.stem(latents[:, :, None, None])))).tanh()


def toy_net(seed: int = 0, channels: int = 3) -> ToyNet:
    """Neurons of all activation rates, some rare and some never active."""
    net = ToyNet(channels).requires_grad_(False)
    draw = torch.Generator().manual_seed(seed)
    for name, parameter in net.named_parameters():
        noise = torch.randn(parameter.shape, generator=draw)
        if name.endswith("weight"):
            parameter.copy_(noise * (0.3 if name.startswith("stem") else 0.5))
        else:
            parameter.copy_(noise * 0.6 - (0.0 if name.startswith("paint") else 1.0))
    net.stem.up.weight[:, 0] = 0  # unit 0 of the stem is never active: its bias is below zero
    net.stem.up.bias[0] = -1
    return net.eval()


def toy_generator(seed: int = 0, **options) -> Generator:
    return Generator(toy_net(seed), (LATENT_WIDTH,), name="toy", **options)


def written_out(net: ToyNet, latents: Tensor, change=lambda layer, x: x) -> tuple[dict[str, Tensor], Tensor]:
    """The forward pass by hand: what each layer gives *before* `change`, and the image made of what it gives after."""
    outputs = {}
    x = latents[:, :, None, None]
    for layer, block, activate in (
        ("stem.act", net.stem, functional.relu),
        ("widen.act", net.widen, lambda x: functional.leaky_relu(x, 0.2)),
        ("detail.act", net.detail, lambda x: functional.leaky_relu(x, 0.1)),
    ):
        outputs[layer] = activate(functional.conv_transpose2d(x, block.up.weight, block.up.bias, block.up.stride,
                                                              block.up.padding))  # fmt: skip
        x = change(layer, outputs[layer])
    raw = functional.conv_transpose2d(x, net.paint.weight, net.paint.bias, 2, 1).tanh()
    return outputs, (raw + 1) / 2


def toy_features(images: Tensor) -> Tensor:
    """(n, 3, 32, 32) -> (n, 48): the picture at 4x4."""
    return functional.adaptive_avg_pool2d(images, 4).flatten(1)


def toy_extractor():
    """What `module:callable` has to name: a function without arguments that returns the extractor."""
    return toy_features


def toy_correction(generator: Generator, shares=(0.2, 0.5, 1.0), limits=None, extractor: str = EXTRACTOR) -> Correction:
    """Rung r weakens every active early neuron by `shares[r]`; the gate points from normal samples to far-out ones.

    `limits`: gate threshold, and the two limits of the stop rule; by default quantiles of own samples.
    """
    own = generator.latents(120, 77)
    features = extract(toy_features, generator.generate(own)).astype("float64")
    far_out = extract(toy_features, generator.generate(own * 2)).astype("float64")
    manifold = Manifold(3).fit(features)
    weights = torch.from_numpy(far_out.mean(0) - features.mean(0))
    scores = features @ weights.numpy()
    threshold, gate_limit, manifold_limit = limits or (*np.quantile(scores, [0.9, 0.85]), 1.5)
    masks = {layer: torch.ones(layer_shape(generator, layer), dtype=torch.bool) for layer in LAYERS[:2]}
    return Correction.of(
        generator.module,
        [[AblateNeurons(layer, mask, strength=share) for layer, mask in masks.items()] for share in shares],
        gate=Gate(extractor, weights, 0.0, float(threshold)),
        stop_rule=stop_rule(manifold, gate_limit, manifold_limit),
    )


def stop_rule(manifold: Manifold, gate_limit: float, manifold_limit: float) -> StopRule:
    """Of these normal samples; what is normal is enough."""
    features, radii = torch.from_numpy(manifold.reference_), torch.from_numpy(manifold.radii_)
    return StopRule(gate_limit, gate_limit, manifold_limit, manifold.k, features, radii)


def layer_shape(generator: Generator, layer: str) -> tuple[int, ...]:
    outputs, _ = written_out(generator.module, torch.zeros(1, LATENT_WIDTH))
    return tuple(outputs[layer].shape[1:])


def snapshot(net: nn.Module) -> list[object]:
    """All that an edit must leave as it was: hooks, modes, and every bit of parameters and buffers."""
    tables = [
        (name, key, list(table), list(map(id, table.values())))
        for name, module in net.named_modules()
        for key, table in vars(module).items()
        if "_hooks" in key and isinstance(table, dict)
    ]
    assert len(tables) >= 6 * len(list(net.modules()))  # or this sees no hooks
    modes = [(name, module.training, sorted(vars(module))) for name, module in net.named_modules()]
    values = [(name, id(value), value.numpy().tobytes()) for name, value in net.state_dict(keep_vars=True).items()]
    return [tables, modes, values]


def other_extractor():
    """Another one: the picture at 2x2, for a second judge."""
    return lambda images: functional.adaptive_avg_pool2d(images, 2).flatten(1)
