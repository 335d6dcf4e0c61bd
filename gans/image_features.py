"""Images of many samples a few at a time, and their features: nothing of the size of all images is ever held."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TypedDict, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genmend.activations import record
from genmend.gans.generator import Generator, in_single
from genmend.manifold.features import extract
from genmend.storage.progress import with_progress

__all__ = ["AT_ONCE", "Watching", "image_batches", "image_features"]

AT_ONCE = 16  # images held, and looked at by an extractor, at once


class Watching(TypedDict, total=False):
    """Layers to look at in the passes that make the images, and what looks at their outputs, pass by pass."""

    layers: Sequence[str]
    seen: Callable[[Mapping[str, Tensor]], None]


@torch.no_grad()
def image_batches(
    generator: Generator,
    latents: Tensor,
    what: str = "images",
    progress: bool = False,
    *,
    layers: Sequence[str] = (),
    seen: Callable[[Mapping[str, Tensor]], None] | None = None,
) -> Iterator[Tensor]:
    """Yield the samples' images (up to 16, 3, h, w) in 0..1 on the CPU, in their order.

    The generator runs in its own batches, whatever the 16; `what` is the progress bar's text. `seen` gets what
    `layers` put out in each of them, in the order of the samples, so that one pass serves both.
    """
    checked = generator.checked_latents(latents)
    waiting: list[Tensor] = []
    batches = checked.split(generator.batch_size)
    for number, batch in enumerate(with_progress(batches, what, len(batches), show=progress)):
        # Not of no layers: a compiled generator runs uncompiled while it is recorded.
        recording: AbstractContextManager[dict[str, Tensor]]
        recording = record(generator.module, layers) if layers else nullcontext({})
        with recording as outputs:
            waiting += generator.generate(batch).split(1)
        if seen is not None:
            seen(in_single(outputs))
        while len(waiting) >= AT_ONCE or (waiting and number == len(batches) - 1):
            yield torch.cat(waiting[:AT_ONCE])
            del waiting[:AT_ONCE]


def image_features(
    generator: Generator,
    latents: Tensor,
    extractor: Callable[[Tensor], Tensor],
    *,
    progress: bool = False,
    **watching: Unpack[Watching],
) -> NDArray[np.float32]:
    """Features (n, d) of the samples' images, as `genmend.manifold.features.extract` of all of them has them.

    The last arguments are those of `image_batches`.

    Raises
    ------
    ValueError
        If the latents don't fit, or the extractor returns something else than one finite vector per image.
    """
    batches = image_batches(generator, latents, "features", progress, **watching)
    features, done = np.empty((0, 0), np.float32), 0
    for images in batches:
        found = extract(extractor, images)
        # In one array from the start: small ones kept between large passing ones leave holes that nothing fills.
        if not done:
            features = np.empty((len(latents), found.shape[1]), np.float32)
        features[done : done + len(found)] = found
        done += len(found)
    return features
