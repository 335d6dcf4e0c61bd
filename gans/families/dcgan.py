"""DCGAN: transposed convolutions, batch normalisation, ReLU (Radford, Metz, Chintala; arXiv 1511.06434).

The layout is that of the PyTorch examples (pytorch/examples, dcgan/main.py) and of many descendants: one Sequential.
Checked on two real files: the weights of the packages gan-face-generate 1.1.1 and omniart-eye-generator 0.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from genmend.activations.digests import model_layout
from genmend.gans.families.labels import ClassOfLatent, check_label, latent_width, latent_words
from genmend.gans.families.layout import Config, Layout, LayoutError, Shapes, State
from genmend.gans.generator import Generator

__all__ = ["DCGAN", "LAYOUT"]


class DCGAN(nn.Module):
    """The DCGAN generator: latents (n, latent_width) to images (n, channels, s, s) in -1..1, s = 4 * 2**depth.

    One Sequential `main`: transposed convolution, batch normalisation and ReLU for each of the `widths`, then a last
    transposed convolution and tanh.

    Parameters
    ----------
    latent_width : int
    widths : tuple of int
        Channels of the stages; the first is 4x4, each other twice as large, and so is the image.
    channels : int
        Of the image.
    n_classes : int
        Where above 0, ``forward`` takes one-hot labels (n, n_classes) too, joined to the latents.
    dropout : float, optional
        A dropout layer of this rate after the first stage, as some were trained with; it does nothing in eval mode, but
        counts in the numbering of `main`.
    biases : tuple of bool
        Whether each transposed convolution has one; none has where empty.
    """

    def __init__(
        self,
        latent_width: int = 100,
        widths: tuple[int, ...] = (512, 256, 128, 64),
        channels: int = 3,
        n_classes: int = 0,
        dropout: float | None = None,
        biases: tuple[bool, ...] = (),
    ) -> None:
        super().__init__()
        self.latent_width, self.n_classes = latent_width, n_classes
        stages: list[nn.Module] = []
        for step, (before, after) in enumerate(
            zip((latent_width + n_classes, *widths), (*widths, channels), strict=True)
        ):
            stride, padding = (1, 0) if step == 0 else (2, 1)
            biased = bool(biases) and biases[step]
            stages.append(nn.ConvTranspose2d(before, after, 4, stride, padding, bias=biased))
            stages += [nn.BatchNorm2d(after), nn.ReLU()] if step < len(widths) else [nn.Tanh()]
            if step == 0 and dropout is not None:
                stages.append(nn.Dropout(dropout))
        self.main = nn.Sequential(*stages)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images in -1..1."""
        joined = latents if labels is None else torch.cat([latents, labels], dim=1)
        images: Tensor = self.main(joined[:, :, None, None])
        return images


def _places(names: Iterable[str]) -> dict[str, str]:
    """Where each of these names stands in `main`, by the name; nothing where they are not those of one Sequential.

    Of one Sequential called `main` they stay. Otherwise (another name, none, blocks in it) convolutions and
    normalisations are numbered in their order, with an activation after each pair.
    """
    numbered = {name: re.fullmatch(r"((?:[A-Za-z_]\w*\.)*)((?:\d+\.)+)(\w+)", name) for name in names}
    if all(found and found[1] == "main." and found[2].count(".") == 1 for found in numbered.values()):
        return {name: name for name in numbered}
    stages: dict[tuple[int, ...], dict[str, str]] = {}
    for name, found in numbered.items():
        if found is None or found[1] != next(iter(numbered.values()))[1]:  # type: ignore[index]  # the first is no gap
            return {}
        stages.setdefault(tuple(map(int, found[2].split(".")[:-1])), {})[found[3]] = name
    places: dict[str, str] = {}
    place = 0
    for number in sorted(stages):
        places |= {name: f"main.{place}.{part}" for part, name in stages[number].items()}
        place += 2 if "running_mean" in stages[number] else 1
    return places


def _recognises(shapes: Shapes) -> bool:
    """Whether a transposed convolution comes first, and a normalisation of its outputs second."""
    places = _places(shapes)
    renamed = {place: shapes[name] for name, place in places.items()} or dict(shapes)
    first = renamed.get("main.0.weight", ())
    return len(first) == 4 and renamed.get("main.1.running_mean") == first[1:2]


def _convolutions(shapes: Shapes) -> list[tuple[int, ...]]:
    """Shapes of the transposed convolutions (in, out, 4, 4), in order; LayoutError where they make no DCGAN."""
    numbers = sorted({int(part) for part in (name.split(".")[1] for name in shapes if "." in name) if part.isdecimal()})
    found = [shapes[f"main.{n}.weight"] for n in numbers if len(shapes.get(f"main.{n}.weight", ())) == 4]
    chained = all(one[1] == other[0] for one, other in pairwise(found))
    if len(found) < 2 or not chained or any(shape[2:] != (4, 4) for shape in found):
        raise LayoutError(
            f"The convolutions of the file have shapes {found}; a DCGAN has at least two, [in, out, 4, 4], in a chain."
        )
    return found


def _config(shapes: Shapes, stored: Mapping[str, Any]) -> Config:
    places = _places(shapes)
    shapes = {place: shapes[name] for name, place in places.items()} or shapes
    convolutions = _convolutions(shapes)
    weights = sorted(
        (name for name, shape in shapes.items() if len(shape) == 4), key=lambda name: int(name.split(".")[1])
    )
    biases = [f"{name.removesuffix('weight')}bias" in shapes for name in weights]
    n_classes = int(stored.get("n_classes", 0))
    return {
        "latent_width": convolutions[0][0] - n_classes,
        "widths": [shape[1] for shape in convolutions[:-1]],
        "channels": convolutions[-1][1],
        "n_classes": n_classes,
        # Without dropout the second convolution is number 3.
        "dropout": None if len(shapes.get("main.3.weight", ())) == 4 else 0.0,
        **({"biases": biases} if any(biases) else {}),
        **({"places": places} if any(name != place for name, place in places.items()) else {}),
    }


def _build(config: Config) -> DCGAN:
    sizes = {name: value for name, value in config.items() if name != "places"}
    return DCGAN(**(sizes | {"widths": tuple(config["widths"])})).eval()


def _expected(config: Config) -> Shapes:
    """Names of the file, where its Sequential has another one than `main`."""
    theirs = {place: name for name, place in config.get("places", {}).items()}
    return {theirs.get(name, name): shape for name, shape in model_layout(_build(config)).items()}


def _adapt(module: nn.Module, config: Config, name: str, options: Mapping[str, Any]) -> Generator:
    n_classes = config["n_classes"]
    label = check_label(options["label"], n_classes)
    return Generator(
        module,
        latent_shape=(latent_width(config["latent_width"], n_classes, label),),
        call=ClassOfLatent(n_classes, label) if n_classes else None,
        name=name,
        settings={"label": label} if n_classes else {},
        latent_words=latent_words(config["latent_width"], n_classes, label),
        last_chooses=n_classes > 0 and label is None,
    )


def _translate(state: State, config: Config) -> State:
    places = config.get("places", {})
    return {places.get(name, name): tensor for name, tensor in state.items()}


LAYOUT = Layout(
    name="dcgan",
    source="pytorch/examples, dcgan/main.py",
    marks=("main.0.weight", "main.1.running_mean"),
    config=_config,
    expected=_expected,
    translate=_translate,
    build=_build,
    adapt=_adapt,
    options={"label": None},
    recognises=_recognises,
)
