"""DCGAN: transposed convolutions, batch normalisation, ReLU (Radford, Metz, Chintala; arXiv 1511.06434).

The layout is that of the PyTorch examples (pytorch/examples, dcgan/main.py) and of many descendants: one Sequential.
Checked on two real files: the weights of the packages gan-face-generate 1.1.1 and omniart-eye-generator 0.1.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    """

    def __init__(
        self,
        latent_width: int = 100,
        widths: tuple[int, ...] = (512, 256, 128, 64),
        channels: int = 3,
        n_classes: int = 0,
        dropout: float | None = None,
    ) -> None:
        super().__init__()
        self.latent_width, self.n_classes = latent_width, n_classes
        stages: list[nn.Module] = []
        for step, (before, after) in enumerate(
            zip((latent_width + n_classes, *widths), (*widths, channels), strict=True)
        ):
            stride, padding = (1, 0) if step == 0 else (2, 1)
            stages.append(nn.ConvTranspose2d(before, after, 4, stride, padding, bias=False))
            stages += [nn.BatchNorm2d(after), nn.ReLU()] if step < len(widths) else [nn.Tanh()]
            if step == 0 and dropout is not None:
                stages.append(nn.Dropout(dropout))
        self.main = nn.Sequential(*stages)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images in -1..1."""
        joined = latents if labels is None else torch.cat([latents, labels], dim=1)
        images: Tensor = self.main(joined[:, :, None, None])
        return images


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
    convolutions = _convolutions(shapes)
    n_classes = int(stored.get("n_classes", 0))
    return {
        "latent_width": convolutions[0][0] - n_classes,
        "widths": [shape[1] for shape in convolutions[:-1]],
        "channels": convolutions[-1][1],
        "n_classes": n_classes,
        # Without dropout the second convolution is number 3.
        "dropout": None if len(shapes.get("main.3.weight", ())) == 4 else 0.0,
    }


def _build(config: Config) -> DCGAN:
    return DCGAN(**(config | {"widths": tuple(config["widths"])})).eval()


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
    return dict(state)


LAYOUT = Layout(
    name="dcgan",
    source="pytorch/examples, dcgan/main.py",
    marks=("main.0.weight", "main.1.running_mean"),
    config=_config,
    expected=lambda config: model_layout(_build(config)),
    translate=_translate,
    build=_build,
    adapt=_adapt,
    options={"label": None},
)
