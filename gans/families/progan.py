"""Progressive GAN (Karras et al., arXiv 1710.10196), and its two public PyTorch layouts.

Names are those of GAN Dissection's port, so that `layer4` here is the layer 4 of that paper. Layouts:
CSAILVision/gandissect at 027d033f5684, netdissect/proggan.py; facebookresearch/pytorch_GAN_zoo, in models/networks,
progressive_conv_net.py at 06c29010cb04 and custom_layers.py at 0f8b8d840ec2. Untested on real files: none can be had
from a package registry; the tests build tiny models of both layouts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from genmend.activations.digests import model_layout
from genmend.gans.families.layout import Config, Layout, LayoutError, Shapes, State
from genmend.gans.generator import Generator

__all__ = ["DISSECTION", "ZOO", "ProGAN"]


class ProGAN(nn.Sequential):
    """The Progressive GAN generator: latents (n, z_width) to images (n, channels, 4 * 2**k, ...), about -1..1.

    Two convolutions a resolution, `layer1`, `layer2`, ...; each first normalises every pixel's vector.

    Parameters
    ----------
    z_width : int
    widths : tuple of int
        Channels at each side length 4, 8, 16, ...
    channels : int
        Of the image.
    pixel_bias : bool
        Whether the first layer has a bias for each of its 4x4 pixels, as in the GAN zoo.
    """

    def __init__(self, z_width: int, widths: tuple[int, ...], channels: int = 3, pixel_bias: bool = False) -> None:
        super().__init__()
        self.add_module("layer1", Stage(z_width, widths[0], 4, padding=3, bias=(4, 4) if pixel_bias else ()))
        self.add_module("layer2", Stage(widths[0], widths[0], 3, padding=1))
        for number, (before, after) in enumerate(pairwise(widths)):
            self.add_module(f"layer{2 * number + 3}", Stage(before, after, 3, padding=1, up=True))
            self.add_module(f"layer{2 * number + 4}", Stage(after, after, 3, padding=1))
        side = 4 * 2 ** (len(widths) - 1)
        self.add_module(f"output_{side}x{side}", Stage(widths[-1], channels, 1, gain=1.0, activated=False))

    def forward(self, latents: Tensor) -> Tensor:
        """Images; not clamped."""
        images: Tensor = super().forward(latents[:, :, None, None])
        return images


class Stage(nn.Module):
    """Pixel norm, twice the size where `up`, convolution with an equalised learning rate, bias, leaky ReLU."""

    def __init__(
        self,
        before: int,
        after: int,
        kernel: int,
        padding: int = 0,
        up: bool = False,
        gain: float = math.sqrt(2),
        activated: bool = True,
        bias: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self.up = up
        self.conv = nn.Conv2d(before, after, kernel, 1, padding, bias=False)
        self.wscale = ScaleAndBias((after, *bias), gain / (kernel * math.sqrt(before)))
        self.relu: nn.Module = nn.LeakyReLU(0.2) if activated else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Features (n, before, h, w) to (n, after, ...)."""
        x = x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        if self.up:
            x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
        out: Tensor = self.relu(self.wscale(self.conv(x)))
        return out


class ScaleAndBias(nn.Module):
    """The equalised learning rate's constant, and the bias `b`, (units,) or (units, h, w)."""

    def __init__(self, shape: tuple[int, ...], scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.b = nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor) -> Tensor:
        """``x * scale + b``."""
        return x * self.scale + (self.b if self.b.ndim == 3 else self.b[:, None, None])


def _build(config: Config) -> ProGAN:
    return ProGAN(config["z_width"], tuple(config["widths"]), config["channels"], config["pixel_bias"]).eval()


def _adapt(module: nn.Module, config: Config, name: str, options: Mapping[str, Any]) -> Generator:
    layers = tuple(f"layer{number}.relu" for number in range(1, 2 * len(config["widths"]) + 1))
    side = 2 ** (len(config["widths"]) + 1)
    return Generator(module, (config["z_width"],), layers, name=name, batch_size=max(1, min(32, 2**18 // side**2)))


def _dissection_config(shapes: Shapes, stored: Mapping[str, Any]) -> Config:
    widths, number = [], 1
    while len(shapes.get(f"layer{number}.conv.weight", ())) == 4:
        widths.append(shapes[f"layer{number}.conv.weight"][0])
        number += 2
    outputs = [shape for name, shape in shapes.items() if re.fullmatch(r"output_\d+x\d+\.conv\.weight", name)]
    if not widths or len(outputs) != 1:
        raise LayoutError(
            "The file has no layer1.conv.weight with 4 axes, or not one output_NxN.conv.weight: no ProGAN."
        )
    z_width = shapes["layer1.conv.weight"][1]
    return {"z_width": z_width, "widths": widths, "channels": outputs[0][0], "pixel_bias": False}


def _zoo_names(config: Config) -> dict[str, str]:
    """Their prefix of each layer, by ours."""
    last = len(config["widths"]) - 1
    side = 4 * 2**last
    names = {"layer1": "formatLayer", "layer2": "groupScale0.0", f"output_{side}x{side}": f"toRGBLayers.{last}"}
    for scale in range(last):
        names |= {f"layer{2 * scale + 3}": f"scaleLayers.{scale}.0", f"layer{2 * scale + 4}": f"scaleLayers.{scale}.1"}
    return names


def _plain_names(names: Any) -> dict[str, str]:
    """Their names without the `module` that older files have in the middle, by the name in the file."""
    return {name: name.replace(".module.", ".") for name in names}


def _zoo_config(shapes: Shapes, stored: Mapping[str, Any]) -> Config:
    plain = {_plain_names([name])[name]: shape for name, shape in shapes.items()}
    widths = [plain.get("groupScale0.0.weight", (0,))[0]]
    while len(plain.get(f"scaleLayers.{len(widths) - 1}.1.weight", ())) == 4:
        widths.append(plain[f"scaleLayers.{len(widths) - 1}.1.weight"][0])
    last = plain.get(f"toRGBLayers.{len(widths) - 1}.weight", ())
    if not widths[0] or len(last) != 4 or len(plain.get("formatLayer.weight", ())) != 2:
        raise LayoutError("The file has no formatLayer, groupScale0.0 or toRGBLayers of a ProGAN of the GAN zoo.")
    middle = ".module" if any(".module." in name for name in shapes) else ""
    sizes = {"z_width": plain["formatLayer.weight"][1], "widths": widths, "channels": last[0]}
    return {**sizes, "pixel_bias": True, "middle": middle}


def _zoo_expected(config: Config) -> Shapes:
    ours, middle = model_layout(_build(config)), config["middle"]
    names = _zoo_names(config)
    expected: dict[str, tuple[int, ...]] = {}
    for layer, theirs in names.items():
        weight, bias = ours[f"{layer}.conv.weight"], ours[f"{layer}.wscale.b"]
        if layer == "layer1":  # a dense layer there, to the first 4x4
            weight, bias = (weight[0] * 16, weight[1]), (weight[0] * 16,)
        expected |= {f"{theirs}{middle}.weight": weight, f"{theirs}{middle}.bias": bias}
    # They keep the image layers of all sizes; the last alone paints.
    for scale, width in enumerate(config["widths"][:-1]):
        expected[f"toRGBLayers.{scale}{middle}.weight"] = (config["channels"], width, 1, 1)
        expected[f"toRGBLayers.{scale}{middle}.bias"] = (config["channels"],)
    return expected


def _translate_zoo(state: State, config: Config) -> State:
    """Their bias is scaled like the weights, and the constant is that of a leaky ReLU throughout: both go into ours."""
    plain = {_plain_names([name])[name]: tensor for name, tensor in state.items()}
    ours: State = {}
    for layer, theirs in _zoo_names(config).items():
        weight, bias = plain[f"{theirs}.weight"], plain[f"{theirs}.bias"]
        constant = math.sqrt(2 / weight[0].numel())
        if layer == "layer1":
            # A convolution that sees a single pixel through its padding turns its kernel round.
            weight = weight.view(-1, 4, 4, weight.shape[1]).permute(0, 3, 1, 2).flip(2, 3) * 4
            bias = bias.view(-1, 4, 4)
        elif layer.startswith("output"):
            weight = weight * math.sqrt(2)
        ours |= {f"{layer}.conv.weight": weight, f"{layer}.wscale.b": bias * constant}
    return ours


DISSECTION = Layout(
    name="progan",
    source="CSAILVision/gandissect at 027d033f5684, netdissect/proggan.py",
    marks=("layer1.conv.weight", "layer1.wscale.b", "output_"),
    config=_dissection_config,
    expected=lambda config: model_layout(_build(config)),
    translate=lambda state, config: dict(state),
    build=_build,
    adapt=_adapt,
    options={},
)
ZOO = Layout(
    name="progan-zoo",
    source="facebookresearch/pytorch_GAN_zoo at 06c29010cb04, models/networks/progressive_conv_net.py",
    marks=("formatLayer.", "groupScale0.0.", "toRGBLayers.0."),
    config=_zoo_config,
    expected=_zoo_expected,
    translate=_translate_zoo,
    build=_build,
    adapt=_adapt,
    options={},
)
