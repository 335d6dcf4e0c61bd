"""Data sets that give an item by its number: those of torch, torchvision and Hugging Face, or a list of items."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from genmend.manifold.features.sources.files import encoded_image
from genmend.manifold.features.sources.items import Parts, is_encoded, parts_of
from genmend.manifold.features.sources.memory import numbers, one_image
from genmend.manifold.features.sources.samples import Samples, label_text
from genmend.manifold.features.unusable import UnusableSampleError

__all__ = ["class_names", "dataset_samples", "is_dataset", "loaded_image", "named_label"]


def is_dataset(source: Any) -> bool:
    """Whether a source has a length and items by number, of which each is an image, with or without a label."""
    if isinstance(source, (str, bytes, Mapping)) or hasattr(source, "__array__"):
        return False
    if isinstance(source, Sequence):
        return bool(source) and isinstance(source[0], (tuple, Mapping))
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(source, torch.utils.data.IterableDataset):
        return False
    return hasattr(source, "__len__") and hasattr(source, "__getitem__") and not callable(source)


def dataset_samples(source: Any) -> Samples:
    """The images of a data set; its labels where it tells them at once, else as the items are loaded.

    Raises
    ------
    ValueError
        If it is empty.
    """
    n, name = len(source), type(source).__name__
    if not n:
        raise ValueError(f"The {name} is empty; give at least one image.")
    names = class_names(source)
    labels = _labels_at_once(source, n, names)

    def item(index: int) -> Parts:
        try:
            found = parts_of(source[index])
        except Exception as error:  # of the user's code, or of what the item is
            own = isinstance(error, ValueError) and str(error).startswith("it has ")
            reason = str(error) if own else f"the data set raised {type(error).__name__}: {error}"
            raise UnusableSampleError(f"item {index}", reason) from error
        if index not in labels and (text := named_label(found.labels, names)) is not None:
            labels[index] = text
        return found

    def load(index: int) -> tuple[bytes, Tensor]:
        return loaded_image(item(index).images, f"item {index}")

    return Samples(
        "images",
        numbers(n),
        lambda index: load(index)[0],
        load,
        f"a {name} of {n} items",
        labels=labels,
        where=lambda index: f"item {index}",
    )


def loaded_image(entry: Any, place: str) -> tuple[bytes, Tensor]:
    """The digest and pixels of one image, encoded or not."""
    if isinstance(entry, (str, os.PathLike)):
        raise UnusableSampleError(
            place, f"it is a text ({str(entry)[:60]!r}), no image; files are given as a list of paths"
        )
    if is_encoded(entry):
        return encoded_image(entry["bytes"] if isinstance(entry, Mapping) else entry, place)
    digest, image = one_image(entry, place).load(0)
    return digest, image


def class_names(source: Any) -> list[str]:
    """The names of the classes by number, as the libraries keep them: torchvision, then Hugging Face."""
    classes = getattr(source, "classes", None)
    if isinstance(classes, Sequence) and not isinstance(classes, str):
        return list(map(str, classes))
    features = getattr(source, "features", None)
    if isinstance(features, Mapping):
        named = [one.names for one in features.values() if isinstance(getattr(one, "names", None), Sequence)]
        return list(map(str, named[0])) if len(named) == 1 else []
    return []


def _labels_at_once(source: Any, n: int, names: list[str]) -> dict[int, str]:
    """The labels of a data set that has them in one piece, so that no image is read for them."""
    targets = getattr(source, "targets", None)
    if targets is None and "label" in (getattr(source, "column_names", None) or ()):
        targets = source["label"]
    try:
        if targets is None or len(targets) != n:
            return {}
        found = {index: named_label(value, names) for index, value in enumerate(targets)}
    except (TypeError, ValueError, KeyError):
        return {}
    return {index: text for index, text in found.items() if text is not None}


def named_label(value: Any, names: list[str]) -> str | None:
    """A label as text, the name of its class where it is a number and the classes have names; None for no label."""
    text = label_text(value)
    if text is None or text == "-1":  # which stands for none
        return None
    return names[int(text)] if text.isdecimal() and int(text) < len(names) else text
