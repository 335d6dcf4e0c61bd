"""From samples to rows of features, one by one or in batches; what can't be used is handed to `fail`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genmend.manifold.features.audio_extractor import SAMPLE_RATE, resample, vector_of
from genmend.manifold.features.extractor_device import extractor_device
from genmend.manifold.features.image_extractor import ImageExtractor, vectors_of
from genmend.manifold.features.in_order import in_order
from genmend.manifold.features.sources import Samples

__all__ = ["audio_rows", "image_rows"]

# The index of a sample, the digest of its content, its features (d,).
Row = tuple[int, bytes, NDArray[np.float32]]
Fail = Callable[[int, Exception], None]
_NOT_FINITE = "its features are not finite"


def image_rows(
    samples: Samples,
    indices: Iterable[int],
    extractor: Callable[[Tensor], Tensor],
    fail: Fail,
    batch_size: int,
    device: str | torch.device,
) -> Iterator[Row]:
    """Features of images of any sizes: an `ImageExtractor` makes them equal; others get batches of one size.

    Where onnxruntime runs the network, every image goes its way alone, decoded, resized and run by one thread, as many
    at once as torch has threads. Else files are decoded ahead of the batches.
    """
    if isinstance(extractor, ImageExtractor) and extractor.runs_by_onnx:
        yield from _rows_by_onnx(samples, indices, extractor, fail)
        return
    prepare, network = _two_steps(extractor, device)
    batch: list[tuple[int, bytes, Tensor]] = []
    for index, loaded in in_order(samples.load, indices, torch.get_num_threads() if samples.threads else 1):
        try:
            digest, image = loaded()
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


def _rows_by_onnx(samples: Samples, indices: Iterable[int], extractor: ImageExtractor, fail: Fail) -> Iterator[Row]:
    reading = Lock()  # of what is in memory: a picture that stands twice in a list must not be decoded twice at once

    def features(index: int) -> tuple[bytes, NDArray[np.float32]]:
        with nullcontext() if samples.threads else reading:
            digest, image = samples.load(index)
        row = vectors_of(extractor.vectors(extractor.prepare(image[None])), 1)[0]
        if not np.isfinite(row).all():
            raise ValueError(_NOT_FINITE)
        return digest, row

    for index, found in in_order(features, indices, torch.get_num_threads()):
        try:
            digest, row = found()
        except ValueError as error:
            fail(index, error)
            continue
        yield index, digest, row


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
            fail(index, ValueError(_NOT_FINITE))


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
