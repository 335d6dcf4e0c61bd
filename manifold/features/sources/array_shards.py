"""Images in several files of arrays, as samplers write batches: each file is opened where one of its images is needed.

And the classes that lie beside an array in its file.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path

import numpy as np
from torch import Tensor

from genmend.manifold.features.feature_arrays import named_array, open_array
from genmend.manifold.features.image_arrays import layout
from genmend.manifold.features.sources.memory import image_samples
from genmend.manifold.features.sources.samples import Samples, label_text
from genmend.manifold.features.unusable import UnusableSampleError
from genmend.storage.numpy_files import npz_names, open_npz

__all__ = ["array_labels", "image_shards"]

# The second array without a name is that of the classes where the first holds the samples (guided-diffusion), and the
# names of common scripts.
_LABELS = ("arr_1", "labels", "label", "y", "classes", "class", "cls", "targets")


def array_labels(source: str | os.PathLike[str], n: int) -> list[str] | None:
    """The class of each of n samples, where an .npz file has an array of that many whole numbers or texts beside them.

    Raises
    ------
    ValueError
        If it is damaged.
    """
    path, chosen = named_array(source)
    if path.suffix.lower() != ".npz":
        return None
    names = npz_names(path)
    for name in _LABELS:
        if name in names and name != chosen:
            array = open_npz(path, name)
            if array.ndim == 1 and len(array) == n and array.dtype.kind in "iubUS":
                return [str(label_text(value) or "") for value in array]
    return None


def image_shards(sources: Sequence[str | os.PathLike[str]], description: str) -> Samples:
    """The images of files of arrays, in their order, as one set.

    An array that is stored as it is stays on disk; of compressed ones two at a time are held.

    Raises
    ------
    ValueError, TypeError
        If a file is damaged, holds no images, or others than the first: features, or channels at another place.
    """
    mapped: dict[int, Samples] = {}
    lengths: list[int] = []
    labels: dict[int, str] = {}
    first = ""
    for number, source in enumerate(sources):
        array = open_array(source)
        if array.ndim not in (3, 4):
            raise ValueError(f"{source} has shape {array.shape}, and {sources[0]} holds images; give files of one set.")
        try:
            of_file = layout(array)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error
        first = first or of_file
        if of_file != first:
            raise ValueError(f"{source} holds images with {of_file}, and {sources[0]} with {first}; give files of one "
                             f"set.")  # fmt: skip
        if isinstance(array, np.memmap):
            mapped[number] = image_samples(array, description)
        of_classes = array_labels(source, len(array)) or []
        labels |= dict(enumerate(of_classes, sum(lengths)))
        lengths.append(len(array))
    starts = [0, *accumulate(lengths)]

    @lru_cache(2)
    def unpacked(number: int) -> Samples:
        return image_samples(open_array(sources[number]), description)

    def found(index: int) -> tuple[Samples, int]:
        number = bisect_right(starts, index) - 1
        return mapped.get(number) or unpacked(number), index - starts[number]

    def place(index: int) -> str:
        number = bisect_right(starts, index) - 1
        return f"{sources[number]}, image {index - starts[number]}"

    def load(index: int) -> tuple[bytes, Tensor]:
        samples, row = found(index)
        try:
            return samples.load(row)
        except UnusableSampleError as error:
            raise UnusableSampleError(place(index), error.reason) from error

    def digest(index: int) -> bytes:
        samples, row = found(index)
        return samples.digest(row)

    names = [f"{Path(source).name}:{row}" for source, n in zip(sources, lengths, strict=True) for row in range(n)]
    return Samples("images", names, digest, load, description, labels=labels, where=place)
