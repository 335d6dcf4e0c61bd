"""Samples that come one batch after the other: of a DataLoader, an iterator, or a function that draws them.

They are gone through once, and none is kept; an iterator of two-dimensional batches gives features.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from genmend.manifold.engine.inputs import as_features
from genmend.manifold.features.image_arrays import array_of, channels_last, check_image_type, layout, pixels_of
from genmend.manifold.features.sources.datasets import class_names, is_dataset, loaded_image, named_label
from genmend.manifold.features.sources.items import axes, parts_of
from genmend.manifold.features.sources.samples import Samples, label_text

__all__ = ["Stream", "is_stream"]


class _Entry(NamedTuple):
    """A row of features, or what returns the pixels of an image; and the label that came along."""

    row: np.ndarray | None
    pixels: Callable[[], Tensor] | None
    label: str | None


def is_stream(source: Any) -> bool:
    """Whether a source is gone through batch by batch: an iterable, but no data set; a function; a list of batches."""
    if isinstance(source, (str, bytes, Mapping)) or hasattr(source, "__array__") or hasattr(source, "tocsr"):
        return False
    if isinstance(source, (list, tuple)):
        return bool(source) and all(axes(entry) == 4 for entry in source)
    if isinstance(source, type) or is_dataset(source):
        return False
    return hasattr(source, "__iter__") or hasattr(source, "__next__") or callable(source)


class Stream:
    """What a loader, an iterator or a function gives, sample by sample.

    Parameters
    ----------
    source
        What `is_stream` takes. A function is called with a number of samples, and returns a batch of about so many, or
        an iterator of batches.
    n_samples : int, optional
        How many are taken, exactly; of a function it has to be said.
    batch_size : int
        What a function is asked for at a time.

    Attributes
    ----------
    n : int or None
        How many there will be, where that is known before.
    description : str
    """

    def __init__(self, source: Any, n_samples: int | None, batch_size: int) -> None:
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(source, torch.nn.Module) and not hasattr(source, "__iter__"):
            raise TypeError(
                f"The source is a network ({type(source).__name__}), and nothing says what it is called with; give a "
                "function that takes a number and returns so many images, with n_samples."
            )
        self._function = not hasattr(source, "__iter__") and not hasattr(source, "__next__")
        self._what = f"the {type(source).__name__}" if not self._function else f"the function {_name_of(source)}"
        if self._function and n_samples is None:
            raise ValueError(f"{self._named()} draws samples without an end; say how many: n_samples=1000.")
        self._source, self._batch_size, self._n_samples = source, batch_size, n_samples
        there = None if self._function else _length(source)
        if n_samples is not None and there is not None and there < n_samples:
            raise ValueError(self._too_few(there))
        self.n = there if n_samples is None else n_samples
        self.description = f"{self._what[4:]}" if n_samples is None else f"{n_samples} samples of {self._what}"
        self._names = class_names(getattr(source, "dataset", source))
        self._given = 0
        self._layout = ""

    def features(self, chosen: list[int] | None) -> tuple[np.ndarray, list[str], list[str] | None] | None:
        """Features (n, d) with names and labels, if that is what comes; else nothing, and nothing is lost.

        Raises
        ------
        ValueError, TypeError
            As `samples`, and for features that are not finite.
        """
        entries = self._entries()
        first = next(entries, None)
        if first is None:
            raise ValueError(f"{self._named()} gave no samples: it is empty, or has been gone through; give a new one.")
        self._rest = _chain(first, entries)
        if first.row is None:
            return None
        rows, names, labels = [], [], {}
        for index, entry in self._chosen(chosen):
            assert entry.row is not None
            rows.append(entry.row)
            names.append(str(index))
            if (label := named_label(entry.label, self._names)) is not None:
                labels[len(rows) - 1] = label
        values = as_features(np.stack(rows), self._what)
        known = Samples("array", names, _no_digest, _no_digest, "", labels=labels)  # type: ignore[arg-type]
        return values, names, known.labels_of(list(range(len(names))))

    def samples(self, chosen: list[int] | None) -> tuple[Samples, Iterator[int]]:
        """Images as samples, each of which can be loaded once, and their numbers, which have to be gone through.

        Parameters
        ----------
        chosen : list of int, optional
            The numbers of those that are wanted, ascending; without it all.

        Raises
        ------
        ValueError
            While they are gone through: for a batch of another form than the first, or fewer samples than were asked.
        """
        waiting: dict[int, Callable[[], Tensor]] = {}
        names: dict[int, str] = {}
        labels: dict[int, str] = {}

        def indices() -> Iterator[int]:
            for index, entry in self._chosen(chosen):
                assert entry.pixels is not None
                names[index] = str(index)
                waiting[index] = entry.pixels
                if (label := named_label(entry.label, self._names)) is not None:
                    labels[index] = label
                yield index

        def load(index: int) -> tuple[bytes, Tensor]:
            return b"", waiting.pop(index)()

        samples = Samples(
            "images", names, _no_digest, load, self.description, labels=labels, where="image {}".format,  # type: ignore[arg-type]
            threads=True,
        )  # fmt: skip
        return samples, indices()

    def _chosen(self, chosen: list[int] | None) -> Iterator[tuple[int, _Entry]]:
        wanted = None if chosen is None else set(chosen)
        last = None if chosen is None else chosen[-1]
        for index, entry in enumerate(self._rest):
            if wanted is None or index in wanted:
                yield index, entry
            if index == last:
                return
        if last is not None:
            raise ValueError(f"{self._named()} announces {self.n} samples and gave {self._given}.")

    def _entries(self) -> Iterator[_Entry]:
        """Sample by sample, until there are as many as were asked for."""
        for number, batch in enumerate(self._batches()):
            before = self._given
            try:
                for entry in self._taken_apart(batch):
                    self._given += 1
                    yield entry
                    if self._given == self._n_samples:
                        return
            except _BatchError as error:
                raise ValueError(f"Batch {number} of {self._what}: {error}") from error
            if self._given == before:
                raise ValueError(f"Batch {number} of {self._what} is empty; give at least one sample in each.")
        if self._n_samples is not None:
            raise ValueError(self._too_few(self._given))

    def _batches(self) -> Iterator[Any]:
        if not self._function:
            yield from self._source
            return
        assert self._n_samples is not None
        while self._given < self._n_samples:
            n = min(self._batch_size, self._n_samples - self._given)
            drawn = self._source(n) if _takes_a_number(self._source) else self._source()
            if hasattr(drawn, "__next__"):
                yield from drawn
                return
            yield drawn

    def _taken_apart(self, batch: Any) -> Iterator[_Entry]:
        try:
            parts = parts_of(batch)
            images = parts.images
            n_axes = axes(images)
            if n_axes is not None:
                yield from self._of_array(array_of(images, "it"), parts.labels)
            elif isinstance(images, (list, tuple)):
                if not images:
                    return
                if isinstance(images[0], (tuple, Mapping)) and not isinstance(images[0], str):
                    for item in images:
                        yield from self._taken_apart(item)
                    return
                labels = _labels(parts.labels, len(images))
                for entry, label in zip(images, labels, strict=True):
                    yield self._single(entry, label)
            else:
                yield self._single(images, label_text(parts.labels))
        except (ValueError, TypeError) as error:
            if isinstance(error, _BatchError):
                raise
            raise _BatchError(getattr(error, "reason", str(error))) from error

    def _of_array(self, array: np.ndarray, labels: Any) -> Iterator[_Entry]:
        if array.ndim == 2:
            self._same(f"features of {array.shape[1]} columns", array.shape)
            rows = as_features(array, "it") if len(array) else array
            yield from (_Entry(row, None, label) for row, label in zip(rows, _labels(labels, len(rows)), strict=True))
        elif array.ndim == 4 or (array.ndim == 3 and self._are_gray(array)):
            if not len(array):
                return
            check_image_type(array)
            images = array[..., None] if array.ndim == 3 else channels_last(array)
            self._same("no channels" if array.ndim == 3 else layout(array), array.shape)
            for image, label in zip(images, _labels(labels, len(images)), strict=True):
                copy = np.array(image)  # what gave the batch may write into it again
                yield _Entry(None, partial(pixels_of, copy, str(self._given)), label)
        elif array.ndim == 3:
            check_image_type(array)
            self._same(layout(array[None]), array.shape)
            image = np.array(channels_last(array[None])[0])
            yield _Entry(None, partial(pixels_of, image, str(self._given)), label_text(labels))
        else:
            raise ValueError(
                f"it has shape {array.shape}; give images (n, 3, h, w) or (n, h, w, 3), single ones, or features (n, d)"
            )

    def _are_gray(self, array: np.ndarray) -> bool:
        """Whether three axes are gray images, not one in colour: as the first batch says, else by its shape."""
        return self._layout == "no channels" or (not self._layout and not {array.shape[0], array.shape[-1]} & {1, 3, 4})

    def _single(self, entry: Any, label: str | None) -> _Entry:
        if axes(entry) == 3:
            return next(self._of_array(array_of(entry, "it"), label))
        place = f"image {self._given}"
        return _Entry(None, lambda: loaded_image(entry, place)[1], label)

    def _same(self, found: str, shape: tuple[int, ...]) -> None:
        self._layout = self._layout or found
        if found != self._layout:
            raise ValueError(f"it has shape {shape}, {found}, and others had {self._layout}; give all in one form")

    def _named(self) -> str:
        return self._what[:1].upper() + self._what[1:]

    def _too_few(self, there: int) -> str:
        return f"{self._n_samples} samples were asked for, and {self._what} has {there}; ask for at most so many."


class _BatchError(ValueError):
    """What is wrong with one batch; who catches it says which."""


def _labels(labels: Any, n: int) -> list[str | None]:
    """A label for each of n samples; none where they don't come one a sample."""
    if labels is None or isinstance(labels, (str, bytes)) or not hasattr(labels, "__len__"):
        return [label_text(labels)] if n == 1 and labels is not None else [None] * n
    several = getattr(labels, "ndim", 1) == 1 and len(labels) == n
    return [label_text(value) for value in labels] if several else [None] * n


def _length(source: Any) -> int | None:
    """How many samples a loader or a list of batches has; None where it doesn't say."""
    if isinstance(source, (list, tuple)):
        return sum(len(batch) for batch in source)
    sampler, batch_size = getattr(source, "sampler", None), getattr(source, "batch_size", None)
    if sampler is None or not isinstance(batch_size, int):
        return None
    try:
        n = len(sampler)
    except (TypeError, NotImplementedError):
        return None
    return n - n % batch_size if getattr(source, "drop_last", False) else n


def _takes_a_number(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind(1)
    except TypeError:
        return False
    except ValueError:  # a function that does not tell what it takes
        return True
    return True


def _name_of(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _chain(first: _Entry, rest: Iterable[_Entry]) -> Iterator[_Entry]:
    yield first
    yield from rest


def _no_digest(index: int) -> bytes:
    return b""
