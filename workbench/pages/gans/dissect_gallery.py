"""Galleries of units: the images that excite each most, dark where the unit is off, its edge drawn."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from genmend.activations import record
from genmend.gans import Generator
from genmend.manifold.figures.image_grid import to_pixels
from genmend.workbench.pages.pictures import shrunk

__all__ = ["compact_png", "outline", "unit_rows", "unit_tiles"]

UNITS_AT_ONCE = 32
DIMMED = 0.35
EDGE_COLOUR = (1.0, 0.85, 0.1)
LARGEST_SIDE = 96
_LARGEST_OUTLINED = 4 * LARGEST_SIDE  # the edge is drawn before an image is shrunk
COLOURS = 128


def unit_rows(
    generator: Generator,
    layer: str,
    samples: NDArray[np.integer],
    thresholds: NDArray[np.floating],
    units: Sequence[int],
    seed: int,
) -> Iterator[tuple[int, bytes]]:
    """Yield (unit, PNG of its top samples in a row) for the named units.

    Parameters
    ----------
    samples : ndarray (u, k)
        Indices into ``latents(n, seed)``.
    thresholds : ndarray (u,)
        Above which the unit is on; finite.
    """
    for unit, tiles in unit_tiles(generator, layer, samples, thresholds, units, seed):
        yield unit, compact_png(tiles)


def unit_tiles(
    generator: Generator,
    layer: str,
    samples: NDArray[np.integer],
    thresholds: NDArray[np.floating],
    units: Sequence[int],
    seed: int,
) -> Iterator[tuple[int, Tensor]]:
    """Yield (unit, its top samples (k, 3, h, w) in 0..1) as `unit_rows` draws them."""
    for start in range(0, len(units), UNITS_AT_ONCE):
        block = list(units[start : start + UNITS_AT_ONCE])
        wanted, place = np.unique(samples[block], return_inverse=True)
        latents = torch.cat([generator.latents(1, seed, int(sample)) for sample in wanted])
        images, maps = _images_and_maps(generator, layer, latents, block)
        for number, (unit, rows) in enumerate(zip(block, place.reshape(len(block), -1), strict=True)):
            large = functional.interpolate(
                maps[rows, number][:, None], images.shape[2:], mode="bilinear", align_corners=False
            )
            yield unit, shrunk(outline(images[rows], large[:, 0] > thresholds[unit]), LARGEST_SIDE)


def outline(images: Tensor, masks: Tensor) -> Tensor:
    """Images (n, 3, h, w), dark outside the masks (n, h, w), whose inner edge is yellow."""
    shrunk = -functional.max_pool2d(-masks[:, None].float(), 3, 1, 1)
    edge = masks[:, None] & (shrunk == 0)
    dark = torch.where(masks[:, None], images, images * DIMMED)
    return torch.where(edge, images.new_tensor(EDGE_COLOUR).view(1, 3, 1, 1), dark)


def compact_png(images: Tensor, gap: int = 2) -> bytes:
    """A row of images as one PNG of 128 colours, with white gaps."""
    padded = np.pad(to_pixels(images), ((0, 0), (0, 0), (gap, gap), (0, 0)), constant_values=255)
    buffer = io.BytesIO()
    row = Image.fromarray(np.concatenate(list(padded), axis=1))
    row.quantize(COLOURS, dither=Image.Dither.NONE).save(buffer, format="PNG")
    return buffer.getvalue()


def _images_and_maps(generator: Generator, layer: str, latents: Tensor, units: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Images, shrunk where they are much larger than a gallery needs, and the maps of these units alone."""
    images, maps = [], []
    for batch in latents.split(generator.batch_size):
        with torch.no_grad(), record(generator.module, [layer]) as outputs:
            images.append(shrunk(generator.generate(batch), _LARGEST_OUTLINED))
        maps.append(outputs[layer][:, units].cpu())
    return torch.cat(images), torch.cat(maps)
