"""Samples in memory, or in an array that is mapped from a file: images, lists of images, waves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from genmend.manifold.features.audio_files import check_wave
from genmend.manifold.features.image_arrays import array_of, channels_last, check_image_type, pixels_of
from genmend.manifold.features.sources.samples import Samples
from genmend.manifold.features.unusable import UnusableSampleError
from genmend.storage.digests import sha256_of

__all__ = ["image_list", "image_samples", "numbers", "one_image", "waves"]


def image_samples(array: np.ndarray, description: str, labels: Mapping[int, str] | None = None) -> Samples:
    """The images of an array of any accepted shape; of one that is mapped from a file only those that are looked at."""
    images = channels_last(array)
    check_image_type(array)

    def load(index: int) -> tuple[bytes, Tensor]:
        return digest(index), pixels_of(images[index], str(index))

    def digest(index: int) -> bytes:
        return _digest_of_array(images[index], "image")

    return Samples("images", numbers(len(array)), digest, load, description, labels=labels)


def one_image(entry: Any, name: str) -> Samples:
    """A single image in any form as samples of which it is the only one.

    Raises
    ------
    UnusableSampleError
        If it has no shape, or no type, of an image; and loading it, for values that are none of an image.
    """
    try:
        pixels = array_of(entry, name)
        found = image_samples(pixels[None, ..., None] if pixels.ndim == 2 else pixels[None], "an image")
    except (ValueError, TypeError) as error:
        raise UnusableSampleError(name, getattr(error, "reason", str(error))) from error

    def load(index: int) -> tuple[bytes, Tensor]:
        try:
            return found.load(index)
        except UnusableSampleError as error:
            raise UnusableSampleError(name, error.reason) from error

    return Samples("images", [name], found.digest, load, name)


def image_list(images: Sequence[Any]) -> Samples:
    """Images of sizes of their own, each turned into an array only when its turn comes."""
    return Samples(
        "images",
        numbers(len(images)),
        lambda index: one_image(images[index], f"image {index}").digest(0),
        lambda index: one_image(images[index], f"image {index}").load(0),
        f"{len(images)} images in memory",
    )


def waves(given: list[np.ndarray], sample_rate: int | None) -> Samples:
    """Recordings of one sample rate.

    Raises
    ------
    ValueError
        If no rate is given, there are none, or one has several axes.
    """
    if sample_rate is None:
        raise ValueError("The source is a list of waves: give their sample_rate in Hertz, too.")
    if not given or any(wave.ndim != 1 for wave in given):
        raise ValueError(f"Waves have shapes {[wave.shape for wave in given][:3]}; give at least one, mono (samples,).")
    rate = int(sample_rate)

    def load(index: int) -> tuple[bytes, tuple[np.ndarray, int]]:
        return digest(index), (check_wave(given[index], rate, str(index)), rate)

    def digest(index: int) -> bytes:
        return _digest_of_array(given[index], f"{rate} Hz")

    return Samples("audio", numbers(len(given)), digest, load, f"{len(given)} waves in memory")


def numbers(n: int) -> list[str]:
    """The names of samples that have none."""
    return [str(index) for index in range(n)]


def _digest_of_array(array: np.ndarray, what: str) -> bytes:
    return bytes.fromhex(sha256_of([f"{what} {array.dtype} {array.shape};", array]))
