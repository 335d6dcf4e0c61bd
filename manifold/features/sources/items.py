"""What data sets and loaders give, taken apart: the image, or the images, and the class.

An item or a batch may be an image or images alone, ``(images, labels, ...)``, or a mapping with names for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from genmend.manifold.engine.inputs import is_tensor
from genmend.manifold.features.image_arrays import is_picture

__all__ = ["Parts", "is_encoded", "is_image", "parts_of"]

IMAGE_KEYS = ("image", "img", "images", "pixel_values", "pixels", "jpg", "jpeg", "png", "webp", "x", "features")
LABEL_KEYS = ("label", "labels", "cls", "class", "class_name", "target", "targets", "y", "fine_label", "category")


class Parts(NamedTuple):
    """An image, or images; a label, or labels, None where there are none; and by what names they go in a mapping."""

    images: Any
    labels: Any = None
    label_key: str = ""


def is_encoded(entry: Any) -> bool:
    """Whether it is an image as the bytes of its file, alone or with a path, as Hugging Face data sets have it."""
    return isinstance(entry, bytes) or (isinstance(entry, Mapping) and isinstance(entry.get("bytes"), bytes))


def is_image(entry: Any) -> bool:
    """Whether it is a single image, or may be one: a picture, its bytes, or an array of two or three axes."""
    return is_picture(entry) or is_encoded(entry) or axes(entry) in (2, 3)


def axes(entry: Any) -> int | None:
    """The number of axes of an array or tensor; None of anything else."""
    return int(entry.ndim) if is_tensor(entry) or isinstance(entry, np.ndarray) else None


def parts_of(given: Any) -> Parts:
    """Take an item or a batch apart.

    Raises
    ------
    ValueError
        If it is a mapping in which several values, or none, may be the images.
    """
    if isinstance(given, Mapping) and not is_encoded(given):
        return _of_mapping(given)
    if isinstance(given, tuple) or (isinstance(given, list) and given and not _are_images(given)):
        label = given[1] if len(given) > 1 and not is_image(given[1]) else None
        return Parts(given[0], label) if len(given) else Parts(given)
    return Parts(given)


def _are_images(entries: Sequence[Any]) -> bool:
    """Whether a list is one of images or items, not of images and their labels: those come as an array of four axes."""
    first = entries[0]
    if axes(first) in (2, 4) or isinstance(first, list):
        return False
    return (is_image(first) and all(map(is_image, entries))) or isinstance(first, (tuple, Mapping))


def _of_mapping(given: Mapping[str, Any]) -> Parts:
    known = [key for key in IMAGE_KEYS if key in given]
    likely = [key for key, value in given.items() if is_image(value) or axes(value) == 4 or _holds_images(value)]
    key = known[0] if known else likely[0] if len(likely) == 1 else ""
    if not key:
        what = f"{', '.join(map(str, likely))} may be images" if likely else "none looks like images"
        raise ValueError(f"it has {', '.join(map(str, list(given)[:8])) or 'no keys'}, of which {what}; call them "
                         f"'image'")  # fmt: skip
    label = next((name for name in LABEL_KEYS if name in given and name != key), "")
    return Parts(given[key], given[label] if label else None, label)


def _holds_images(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and is_image(value[0])
