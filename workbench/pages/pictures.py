"""Pictures of images: galleries, and heat maps laid over them; folders of PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from genmend.gans import Corrected, Generator
from genmend.gans.image_features import image_batches
from genmend.manifold.figures.image_grid import image_grid, png, to_pixels
from genmend.storage.atomic import whole_file
from genmend.storage.digests import sha256_of
from genmend.storage.leftovers import remove_others
from genmend.workbench.pages.blocks import Comparison, Picture, Thumbnails

__all__ = [
    "SMALL",
    "ImageFolders",
    "before_after",
    "gallery",
    "heat_overlay",
    "mask_overlay",
    "shown_images",
    "shrunk",
    "thumbnails",
    "write_images",
]

_ORANGE = (1.0, 0.55, 0.1)
LARGEST_SHOWN = 256  # pixels of an image on a page
SMALL = 64  # pixels of an image that is shown twice as large
LARGEST_THUMBNAIL = 160  # of one of many
MOST_ACROSS, SMALLEST = 900, 96  # pixels of a row of images, and of one


def heat_overlay(images: Tensor, heat: Tensor) -> Tensor:
    """Grey images with heat maps (n, h, w) in colour over them, all on one scale: 0 to the largest value of all."""
    grey = images.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    share = heat / heat.max().clamp(min=1e-12)
    coloured = images.new_tensor(colormaps["inferno"](share.numpy())[..., :3]).permute(0, 3, 1, 2)
    return (0.45 * grey + 0.65 * coloured).clamp(0, 1).float()


def mask_overlay(images: Tensor, masks: Tensor) -> Tensor:
    """Images with masks (n, h, w) over them: from grey and dim at 0 to their own colours under orange at 1."""
    size = (images.shape[2], images.shape[3])
    shares = functional.interpolate(masks[:, None].float(), size, mode="bilinear", align_corners=False, antialias=True)
    dim = 0.5 * images.mean(1, keepdim=True)
    marked = 0.6 * images + 0.4 * images.new_tensor(_ORANGE)[:, None, None]
    return (dim + shares.clamp(0, 1) * (marked - dim)).clamp(0, 1)


def shrunk(images: Tensor, largest: int = LARGEST_SHOWN) -> Tensor:
    """Images (n, 3, h, w) whose longer side is at most `largest` pixels; smaller ones as they are."""
    side = max(images.shape[2:])
    if side <= largest:
        return images
    size = [max(1, round(length * largest / side)) for length in images.shape[2:]]
    return functional.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True).clamp(0, 1)


def shown_images(generator: Generator, latents: Tensor) -> Tensor:
    """The samples' images (n, 3, h, w), shrunk as a page needs them."""
    return torch.cat([shrunk(images) for images in image_batches(generator, latents)])


def write_images(folder: Path, names: Sequence[str], generator: Generator, latents: Tensor | NDArray[Any]) -> Tensor:
    """Write each sample's image under its name, whole or not at all; return them as a page needs them."""
    waiting, shown = iter(names), []
    for images in image_batches(generator, generator.checked_latents(latents)):
        for pixels in to_pixels(images):
            with whole_file(folder / next(waiting)) as temporary:
                temporary.write_bytes(png(pixels))
        shown.append(shrunk(images))
    return torch.cat(shown)


def gallery(images: Tensor, columns: int = 12, scale: int = 1) -> bytes:
    """Images (n, 3, h, w) in reading order, `columns` to a row, shrunk where large; white fills up the last row."""
    images = shrunk(images)
    columns = min(columns, len(images))
    missing = -len(images) % columns
    filled = torch.cat([images, images.new_ones(missing, *images.shape[1:])])
    return image_grid(filled.split(columns), scale)


def thumbnails(caption: str, images: Tensor, labels: Sequence[str]) -> Thumbnails:
    """Images (n, 3, h, w), each with a line under it; large ones are shrunk."""
    pixels = to_pixels(shrunk(images, LARGEST_THUMBNAIL))
    return Thumbnails(caption, [Picture(label, png(one)) for label, one in zip(labels, pixels, strict=True)])


def before_after(caption: str, before: Tensor, after: Tensor) -> Comparison:
    """Images (n, 3, h, w) before and after in two grids under a slider, small ones enlarged."""
    height, width = before.shape[2:]
    n_rows = -(-len(before) // max(1, MOST_ACROSS // max(width, SMALLEST)))
    columns = -(-len(before) // n_rows)  # rows of equal length
    scale = max(1, -(-SMALLEST // max(height, width)))
    pictures = [
        Picture(name, gallery(images, columns, scale), density=max(1.0, columns * width * scale / MOST_ACROSS))
        for name, images in (("Before.", before), ("After.", after))
    ]
    return Comparison(caption, *pictures)


class ImageFolders:
    """The folders ``before/`` and ``after/`` of a run's images, a PNG a row: ``00000.png``, ``00001.png``, ...

    The uncorrected images of the rows that were added last are at hand unrounded, `N_AT_HAND` of the changed ones with
    the highest gate scores, for the page that shows them.
    """

    N_AT_HAND = 12

    def __init__(self, out: Path) -> None:
        self.out = out
        self._at_hand: dict[int, tuple[float, Tensor]] = {}

    def digest(self, rows: range) -> str:
        """SHA-256 of the files of these rows, whichever run has written them; empty where one is missing."""
        try:
            return sha256_of(self._file(name, row).read_bytes() for name in ("before", "after") for row in rows)
        except FileNotFoundError:
            return ""

    def _file(self, name: str, row: int) -> Path:
        return self.out / name / f"{row:05d}.png"

    def add(self, rows: range, done: Corrected) -> None:
        """Write the images of these rows, each file whole or not at all."""
        for name, images in (("before", done.before), ("after", done.images)):
            (self.out / name).mkdir(parents=True, exist_ok=True)
            for row, pixels in zip(rows, to_pixels(images), strict=True):
                with whole_file(self._file(name, row)) as temporary:
                    Image.fromarray(pixels).save(temporary, format="PNG")
        for place in np.flatnonzero(done.changed):
            self._at_hand[rows[place]] = float(done.gate_before[place]), done.before[place].clone()
        highest = sorted(self._at_hand, key=lambda row: (-self._at_hand[row][0], row))[: self.N_AT_HAND]
        self._at_hand = {row: self._at_hand[row] for row in highest}

    def remove_others(self, n: int) -> None:
        """Remove the images of rows from `n` on, which an earlier run with more samples has written."""
        for name in ("before", "after"):
            remove_others(self.out / name, "[0-9]*.png", {self._file(name, row).name for row in range(n)})

    def before(self, rows: NDArray[np.int64], generator: Generator, latents: Tensor) -> Tensor:
        """The uncorrected images (n, 3, h, w) of these rows, generated from `latents` where they are not at hand."""
        if all(int(row) in self._at_hand for row in rows):
            return torch.stack([self._at_hand[int(row)][1] for row in rows])
        return generator.generate(latents)

    def after(self, rows: NDArray[np.int64]) -> Tensor:
        """The corrected images (n, 3, h, w) in 0..1 of these rows, as they were written."""
        pixels = np.stack([np.asarray(Image.open(self._file("after", row))) for row in rows])
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
