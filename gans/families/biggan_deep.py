"""BigGAN-deep (Brock, Donahue, Simonyan; arXiv 1809.11096, appendix B), in the layout of huggingface's weights.

Layout: huggingface/pytorch-pretrained-BigGAN, pytorch_pretrained_biggan/model.py at 3d35bb9c0196; the published sizes
are in convert_tf_to_pytorch.py at 478894e020b4. Untested on real files: none can be had from a package registry; tests
build tiny models of the layout.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from genmend.activations.digests import model_layout
from genmend.gans.families.labels import ClassOfLatent, check_label, latent_width, latent_words
from genmend.gans.families.layout import Config, Layout, LayoutError, Shapes, State
from genmend.gans.generator import Generator

__all__ = ["LAYOUT", "BigGANDeep", "truncated_normal"]

_EPS = 1e-4
_BOUND = 2.0  # z lies within two standard deviations, and is then scaled by the truncation


def truncated_normal(normal: Tensor, bound: float = _BOUND) -> Tensor:
    """Standard normal numbers, moved to where the normal distribution cut off at +-bound has the same share below."""
    low, high = torch.special.ndtr(torch.tensor([-bound, bound], dtype=torch.float64))
    shares = low + torch.special.ndtr(normal.double()) * (high - low)
    return torch.special.ndtri(shares).clamp(-bound, bound).to(normal.dtype)


class ConditionalNorm(nn.Module):
    """Batch normalisation with statistics for each truncation, and scale and offset that depend on the condition."""

    running_means: Tensor
    running_vars: Tensor

    def __init__(self, units: int, condition: int | None, n_statistics: int) -> None:
        super().__init__()
        self.register_buffer("running_means", torch.zeros(n_statistics, units))
        self.register_buffer("running_vars", torch.ones(n_statistics, units))
        if condition is None:
            self.weight, self.bias = nn.Parameter(torch.ones(units)), nn.Parameter(torch.zeros(units))
        else:
            self.scale, self.offset = (nn.Linear(condition, units, bias=False) for _ in range(2))

    def forward(self, x: Tensor, truncation: float, condition: Tensor) -> Tensor:
        """Normalised x; between two truncations that have statistics, those are interpolated linearly.

        The public code weights the two neighbours the other way round; where the truncation is one of the steps, as in
        its examples, that makes no difference.
        """
        place = truncation * (len(self.running_means) - 1)
        below = min(int(place + 1e-6), len(self.running_means) - 2)
        share = min(max(place - below, 0.0), 1.0)
        mean = torch.lerp(self.running_means[below], self.running_means[below + 1], share)
        variance = torch.lerp(self.running_vars[below], self.running_vars[below + 1], share)
        if hasattr(self, "scale"):
            weight, bias = 1 + self.scale(condition), self.offset(condition)
        else:
            weight, bias = self.weight[None], self.bias[None]
        factor = weight * (variance + _EPS).rsqrt()
        return x * factor[:, :, None, None] + (bias - mean * factor)[:, :, None, None]


class Attention(nn.Module):
    """Self-attention over pixels; keys and values are pooled to half the size (arXiv 1805.08318)."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.snconv1x1_theta = nn.Conv2d(units, units // 8, 1, bias=False)
        self.snconv1x1_phi = nn.Conv2d(units, units // 8, 1, bias=False)
        self.snconv1x1_g = nn.Conv2d(units, units // 2, 1, bias=False)
        self.snconv1x1_o_conv = nn.Conv2d(units // 2, units, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Features of the same shape."""
        query = self.snconv1x1_theta(x).flatten(2)
        key = functional.max_pool2d(self.snconv1x1_phi(x), 2).flatten(2)
        value = functional.max_pool2d(self.snconv1x1_g(x), 2).flatten(2)
        weights = (query.transpose(1, 2) @ key).softmax(-1)
        gathered = (value @ weights.transpose(1, 2)).unflatten(2, x.shape[2:])
        return x + self.gamma * self.snconv1x1_o_conv(gathered)


class Block(nn.Module):
    """A bottleneck block: 1x1, 3x3, 3x3, 1x1, each after norm and ReLU; twice as large where `up`.

    The ReLUs are `relu_0` to `relu_3`.
    """

    def __init__(self, before: int, after: int, condition: int, n_statistics: int, up: bool) -> None:
        super().__init__()
        self.up, self.after = up, after
        middle = before // 4
        sizes = [(before, middle, 1), (middle, middle, 3), (middle, middle, 3), (middle, after, 1)]
        for number, (inputs, outputs, kernel) in enumerate(sizes):
            self.add_module(f"bn_{number}", ConditionalNorm(inputs, condition, n_statistics))
            self.add_module(f"relu_{number}", nn.ReLU())
            self.add_module(f"conv_{number}", nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2))

    def forward(self, x: Tensor, truncation: float, condition: Tensor) -> Tensor:
        """Features (n, before, h, w) to (n, after, ...); the shortcut keeps the first `after` units."""
        shortcut = x[:, : self.after]
        for number in range(4):
            x = self.get_submodule(f"bn_{number}")(x, truncation, condition)
            x = self.get_submodule(f"relu_{number}")(x)
            if self.up and number == 1:
                x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = self.get_submodule(f"conv_{number}")(x)
        if self.up:
            shortcut = functional.interpolate(shortcut, scale_factor=2.0, mode="nearest")
        return x + shortcut


class Painter(nn.Module):
    """The condition vector to images: what the public code calls `generator`."""

    def __init__(
        self, condition: int, base: int, blocks: list[tuple[bool, int, int]], attention: int | None, n_statistics: int
    ) -> None:
        super().__init__()
        first, last = blocks[0][1], blocks[-1][2]
        self.base = base
        self.gen_z = nn.Linear(condition, 16 * first)
        made: list[nn.Module] = [Block(before, after, condition, n_statistics, up) for up, before, after in blocks]
        if attention is not None:
            made.insert(attention, Attention(blocks[attention][1]))
        self.layers = nn.ModuleList(made)
        self.bn = ConditionalNorm(last, None, n_statistics)
        self.relu = nn.ReLU()
        self.conv_to_rgb = nn.Conv2d(last, base, 3, padding=1)

    def forward(self, condition: Tensor, truncation: float) -> Tensor:
        """Images in -1..1."""
        x = self.gen_z(condition).unflatten(1, (4, 4, -1)).permute(0, 3, 1, 2)
        for layer in self.layers:
            x = layer(x) if isinstance(layer, Attention) else layer(x, truncation, condition)
        x = self.relu(self.bn(x, truncation, condition))
        return self.conv_to_rgb(x)[:, :3].tanh()


class BigGANDeep(nn.Module):
    """The BigGAN-deep generator: z (n, z_width) and one-hot labels to images (n, 3, s, s) in -1..1.

    Parameters
    ----------
    z_width, n_classes : int
    embedded : int
        Width of a class's embedding, which is joined to z.
    base : int
        Channels of the last convolution; its first three are the image.
    blocks : list of (bool, int, int)
        Whether it doubles the size, units before, units after.
    attention : int, optional
        Before which block the self-attention stands.
    n_statistics : int
        Truncations from 0 to 1 that batch statistics were measured for.
    """

    def __init__(
        self,
        z_width: int,
        n_classes: int,
        embedded: int,
        base: int,
        blocks: list[tuple[bool, int, int]],
        attention: int | None,
        n_statistics: int = 51,
    ) -> None:
        super().__init__()
        self.embeddings = nn.Linear(n_classes, embedded, bias=False)
        self.generator = Painter(z_width + embedded, base, blocks, attention, n_statistics)

    def forward(self, z: Tensor, labels: Tensor, truncation: float = 1.0) -> Tensor:
        """Images; `truncation` chooses the batch statistics, z has to be drawn to fit."""
        images: Tensor = self.generator(torch.cat([z, self.embeddings(labels)], dim=1), truncation)
        return images


@dataclass(frozen=True)
class _Truncated:
    """Draws z for a truncation, and generates with its statistics."""

    truncation: float
    of_latent: ClassOfLatent

    def draw(self, module: nn.Module, normal: Tensor) -> Tensor:
        """Latents within +-2 truncations; a number that chooses the class stays."""
        n_free = normal.shape[1] - (self.of_latent.label is None)
        return torch.cat([truncated_normal(normal[:, :n_free]) * self.truncation, normal[:, n_free:]], dim=1)

    def call(self, module: nn.Module, latents: Tensor) -> Tensor:
        z, labels = self.of_latent.split(latents)
        one_hot = functional.one_hot(labels, self.of_latent.n_classes).to(z.dtype)
        images: Tensor = module(z, one_hot, self.truncation)
        return images


def _plain(name: str) -> str:
    """The name that a weight with spectral norm has without it."""
    return name.removesuffix("_orig") if name.endswith("weight_orig") else name


def _config(shapes: Shapes, stored: Mapping[str, Any]) -> Config:
    plain = {_plain(name): shape for name, shape in shapes.items()}
    numbers = sorted({int(found[1]) for name in plain if (found := re.match(r"generator\.layers\.(\d+)\.", name))})
    attended = [number for number in numbers if f"generator.layers.{number}.gamma" in plain]
    convolutions = [
        (plain.get(f"generator.layers.{n}.conv_0.weight", ()), plain.get(f"generator.layers.{n}.conv_3.weight", ()))
        for n in numbers
        if n not in attended
    ]
    single = {name: plain.get(name, ()) for name in ("embeddings.weight", "generator.gen_z.weight")}
    statistics = plain.get("generator.bn.running_means", ())
    painted = plain.get("generator.conv_to_rgb.weight", ())
    if (
        not convolutions
        or any(len(a) != 4 or len(b) != 4 for a, b in convolutions)
        or any(len(shape) != 2 for shape in (*single.values(), statistics))
        or len(painted) != 4
        or len(attended) > 1
    ):
        raise LayoutError(
            "The file has no embeddings, generator.gen_z, generator.layers.N.conv_0 and conv_3, generator.bn and "
            f"generator.conv_to_rgb as BigGAN-deep has (blocks {numbers}, attention {attended})."
        )
    embedded, n_classes = single["embeddings.weight"]
    return {
        "z_width": single["generator.gen_z.weight"][1] - embedded,
        "n_classes": n_classes,
        "embedded": embedded,
        "base": painted[0],
        # Shapes don't tell which blocks double the size: in all published models every second does.
        "blocks": [[number % 2 == 1, a[1], b[0]] for number, (a, b) in enumerate(convolutions)],
        "attention": attended[0] if attended else None,
        "n_statistics": statistics[0],
    }


def _build(config: Config) -> BigGANDeep:
    blocks = [(bool(up), int(before), int(after)) for up, before, after in config["blocks"]]
    return BigGANDeep(**(config | {"blocks": blocks})).eval()


def _has_spectral_norm(name: str, shape: tuple[int, ...]) -> bool:
    return name.endswith(".weight") and len(shape) > 1 and name != "embeddings.weight"


def _expected(config: Config) -> Shapes:
    expected: dict[str, tuple[int, ...]] = {}
    for name, shape in model_layout(_build(config)).items():
        if _has_spectral_norm(name, shape):
            inputs = int(torch.tensor(shape[1:]).prod())
            expected |= {f"{name}_orig": shape, f"{name}_u": shape[:1], f"{name}_v": (inputs,)}
        else:
            expected[name] = shape
    return expected


def _translate(state: State, config: Config) -> State:
    """Spectral norm worked in: each weight divided by its largest singular value, as the file's vectors give it."""
    ours = {}
    for name, tensor in state.items():
        if name.endswith("weight_orig"):
            u, v = state[f"{_plain(name)}_u"], state[f"{_plain(name)}_v"]
            ours[_plain(name)] = tensor / (u @ tensor.flatten(1) @ v)
        elif not name.endswith(("weight_u", "weight_v")):
            ours[name] = tensor
    return ours


def _adapt(module: nn.Module, config: Config, name: str, options: Mapping[str, Any]) -> Generator:
    truncation = options["truncation"]
    if not (isinstance(truncation, int | float) and 0 < truncation <= 1):
        raise ValueError(f"truncation is {truncation!r}; give a number above 0 (the mean) and up to 1 (none).")
    label = check_label(options["label"], config["n_classes"])
    truncated = _Truncated(float(truncation), ClassOfLatent(config["n_classes"], label))
    n_blocks = len(config["blocks"])
    numbers = [n + (config["attention"] is not None and n >= config["attention"]) for n in range(n_blocks)]
    side = 4 * 2 ** sum(bool(up) for up, _, _ in config["blocks"])
    relus = tuple(f"generator.layers.{number}.relu_{place}" for number in numbers for place in range(4))
    layers = (*relus, "generator.relu")
    return Generator(
        module,
        latent_shape=(latent_width(config["z_width"], config["n_classes"], label),),
        layers=layers,
        known_layers=layers,
        call=truncated.call,
        name=f"{name} (truncation {truncation})" if truncation != 1 else name,
        batch_size=max(1, min(32, 2**18 // side**2)),
        draw=truncated.draw,
        settings={"truncation": float(truncation), "label": label},
        latent_words=latent_words(config["z_width"], config["n_classes"], label),
        last_chooses=label is None,
    )


LAYOUT = Layout(
    name="biggan-deep",
    source="huggingface/pytorch-pretrained-BigGAN at 3d35bb9c0196, pytorch_pretrained_biggan/model.py",
    marks=("embeddings.weight", "generator.gen_z.", "generator.layers.0.bn_0."),
    config=_config,
    expected=_expected,
    translate=_translate,
    build=_build,
    adapt=_adapt,
    options={"truncation": 1.0, "label": None},
)
