"""Images in memory, or in an array that is mapped from a file: whatever the order of its axes and its type.

Channels first or last, gray, colour or with an opacity; uint8, uint16, truth values, or floats in [0, 1].
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from genmend.manifold.engine.inputs import is_tensor, tensor_values
from genmend.manifold.features.image_files import on_white, rgb_of
from genmend.manifold.features.unusable import UnusableSampleError

__all__ = ["array_of", "channels_last", "check_image_type", "is_picture", "layout", "pixels_of"]

_LARGEST = {"u1": 255, "u2": 65535, "b1": 1}  # what full brightness is, by the type's kind and size
_CHANNELS = ((1, 3), (4,))  # an image of four rows in three colours is likelier than one of four channels


def is_picture(entry: Any) -> bool:
    """Whether it is one of Pillow's images."""
    return hasattr(entry, "getbands")


def array_of(entry: Any, name: str) -> np.ndarray:
    """One wave or image: an array, a tensor, numbers, or a picture of Pillow's (transparency laid on white)."""
    if is_picture(entry):
        return rgb_of(entry)
    return tensor_values(entry, name) if is_tensor(entry) else np.asarray(entry)


def check_image_type(array: np.ndarray) -> None:
    """Raise ValueError for a type of which nothing says what is black and what is white."""
    if array.dtype.kind != "f" and _type_of(array) not in _LARGEST:
        raise ValueError(f"Images have dtype {array.dtype}; give floats in [0, 1], uint8, uint16 or bool.")


def channels_last(array: np.ndarray) -> np.ndarray:
    """A view (n, h, w, channels) of images in any of the accepted shapes.

    Raises
    ------
    ValueError
        For another shape, among them that of a single image and those of which it can't be told.
    """
    shape = array.shape
    if array.ndim == 3 and len(array):
        if shape[0] in (3, 4) or shape[-1] in (3, 4):
            raise ValueError(
                f"The array has shape {shape}, one image in colour or several in gray: give image[None] for the one, "
                "images[:, None] for the others."
            )
        return array[..., None]
    if array.ndim == 4 and len(array):
        if shape[2] == shape[3] == 1 and shape[1] not in (1, 3, 4):
            raise ValueError(f"The array has shape {shape}, as features of a pooling layer: give them as (n, d).")
        if shape[1] == shape[-1] == 3 != shape[2]:
            raise ValueError(
                f"The array has shape {shape}, whose channels may be first or last: give wider images, or without the "
                "axis, one by one, as (h, w) each."
            )
        for channels in _CHANNELS:
            if shape[1] in channels:
                return array.transpose(0, 2, 3, 1)
            if shape[-1] in channels:
                return array
    raise ValueError(
        f"The array has shape {shape}; give images (n, 3, h, w), (n, h, w, 3) or, gray, (n, h, w) (a single one "
        "as image[None]), or features (n, d), and at least one."
    )


def layout(array: np.ndarray) -> str:
    """In words where the channels of images are: "channels first", "channels last" or "no channels".

    Raises
    ------
    ValueError
        As `channels_last`.
    """
    moved = channels_last(array)
    if array.ndim == 3:
        return "no channels"
    return "channels last" if moved is array else "channels first"


def pixels_of(image: np.ndarray, name: str) -> Tensor:
    """One image (h, w, channels) as a tensor (3, h, w) in [0, 1]; transparency is laid on white."""
    largest = _LARGEST.get(_type_of(image))
    if largest is not None:
        image = image.astype(np.float32) / largest
    elif not (image.min() >= -1e-3 and image.max() <= 1 + 1e-3):  # also where NaN is among them
        low, high = float(image.min()), float(image.max())
        if np.isnan(low):
            raise UnusableSampleError(f"image {name}", "its values are NaN in places; floats in [0, 1] are accepted")
        remedy = "; (images + 1) / 2, if they go from -1 to 1" if -1.001 <= low < 0 and high <= 1.001 else ""
        remedy = "; images / 255, if they go from 0 to 255" if low >= 0 and 1 < high <= 255 else remedy
        raise UnusableSampleError(
            f"image {name}", f"its values go from {low:g} to {high:g}; floats in [0, 1] are accepted{remedy}"
        )
    if image.shape[2] == 4:
        image = on_white(image.astype(np.float32))
    # A copy, for one mapped from a file cannot be written to, of which torch warns.
    tensor = torch.from_numpy(np.array(image.transpose(2, 0, 1), dtype=np.float32, order="C"))
    return tensor.expand(3, -1, -1)


def _type_of(array: np.ndarray) -> str:
    return f"{array.dtype.kind}{array.dtype.itemsize}"
