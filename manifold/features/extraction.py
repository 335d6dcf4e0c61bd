"""From samples to rows of features, one by one or in batches; what can't be used is handed to `fail`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genmend.manifold.features.audio_extractor import SAMPLE_RATE, resample, vector_of
from genmend.manifold.features.extractor_device import extractor_device
from genmend.manifold.features.image_extractor import ImageExtractor, vectors_of
from genmend.manifold.features.sources import Samples

__all__ = ["audio_rows", "image_rows"]

# The index of a sample, the digest of its content, its features (d,).
Row = tuple[int, bytes, NDArray[np.float32]]
Fail = Callable[[int, Exception], None]


def image_rows(
    samples: Samples,
    indices: Iterable[int],
    extractor: Callable[[Tensor], Tensor],
    fail: Fail,
    batch_size: int,
    device: str | torch.device,
) -> Iterator[Row]:
    """Features of images of any sizes: an `ImageExtractor` makes them equal; others get batches of one size."""
    prepare, network = _two_steps(extractor, device)
    batch: list[tuple[int, bytes, Tensor]] = []
    for index in indices:
        try:
            digest, image = samples.load(index)
            prepared = prepare(image)
        except ValueError as error:
            fail(index, error)
            continue
        if batch and batch[0][2].shape != prepared.shape:
            yield from _forward(network, batch, fail)
            batch = []
        batch.append((index, digest, prepared))
        if len(batch) == batch_size:
            yield from _forward(network, batch, fail)
            batch = []
    if batch:
        yield from _forward(network, batch, fail)


def _two_steps(
    extractor: Callable[[Tensor], Tensor], device: str | torch.device
) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """What is done to each image (3, h, w), and what to a batch of the results."""
    if not isinstance(extractor, ImageExtractor):
        place = extractor_device(extractor) or device
        return lambda image: image.to(place), extractor
    return lambda image: extractor.prepare(image[None].to(extractor.mean.device))[0], extractor.vectors


def _forward(network: Callable[[Tensor], Tensor], batch: list[tuple[int, bytes, Tensor]], fail: Fail) -> Iterator[Row]:
    with torch.no_grad():
        features = network(torch.stack([image for _, _, image in batch]))
    for (index, digest, _), row in zip(batch, vectors_of(features, len(batch)), strict=True):
        if np.isfinite(row).all():
            yield index, digest, row
        else:
            fail(index, ValueError("its features are not finite"))


def audio_rows(
    samples: Samples, indices: Iterable[int], extractor: Callable[[NDArray[np.float32]], Any], fail: Fail
) -> Iterator[Row]:
    """Features of recordings of any lengths and sample rates."""
    wanted = getattr(extractor, "sample_rate", SAMPLE_RATE)
    for index in indices:
        try:
            digest, (wave, rate) = samples.load(index)
            row = vector_of(extractor(resample(wave, rate, wanted)), samples.names[index])
        except ValueError as error:
            fail(index, error)
            continue
        yield index, digest, row
