"""Images of many samples a few at a time, and their features: nothing of the size of all images is ever held."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genmend.gans.generator import Generator
from genmend.manifold.features import extract
from genmend.storage.progress import with_progress

__all__ = ["AT_ONCE", "image_batches", "image_features"]

AT_ONCE = 16  # images held, and looked at by an extractor, at once


@torch.no_grad()
def image_batches(
    generator: Generator, latents: Tensor, what: str = "images", progress: bool = False
) -> Iterator[Tensor]:
    """Yield the samples' images (up to 16, 3, h, w) in 0..1 on the CPU, in their order.

    The generator runs in its own batches, whatever the 16; `what` is the progress bar's text.
    """
    checked = generator.checked_latents(latents)
    waiting: list[Tensor] = []
    batches = checked.split(generator.batch_size)
    for number, batch in enumerate(with_progress(batches, what, len(batches), show=progress)):
        waiting += generator.generate(batch).split(1)
        while len(waiting) >= AT_ONCE or (waiting and number == len(batches) - 1):
            yield torch.cat(waiting[:AT_ONCE])
            del waiting[:AT_ONCE]


def image_features(
    generator: Generator, latents: Tensor, extractor: Callable[[Tensor], Tensor], *, progress: bool = False
) -> NDArray[np.float32]:
    """Features (n, d) of the samples' images, as `genmend.manifold.features.extract` of all of them has them.

    Raises
    ------
    ValueError
        If the latents don't fit, or the extractor returns something else than one finite vector per image.
    """
    parts = [extract(extractor, images) for images in image_batches(generator, latents, "features", progress)]
    return np.concatenate(parts)
