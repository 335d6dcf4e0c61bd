"""Reading one image file: any bytes give an image or an error that names the file, never more memory than a limit."""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genmend.manifold.features.unusable import UnusableSampleError

__all__ = ["FORMATS", "IMAGE_SUFFIXES", "decode_image", "image_bytes", "on_white", "read_image", "rgb_of"]

_log = logging.getLogger(__name__)

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "AVIF")
# What counts as an image in a folder; a format that is not read is an error there, not silently left out.
IMAGE_SUFFIXES = frozenset(
    {
        ".png",
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".webp",
        ".bmp",
        ".dib",
        ".gif",
        ".tif",
        ".tiff",
        ".avif",
        ".heic",
        ".jxl",
    }
)
MOST_PIXELS = 64_000_000
MOST_BYTES = 1 << 28


def read_image(path: str | Path) -> Tensor:
    """Read a PNG, JPEG, WEBP, BMP, GIF, TIFF or AVIF file as a float32 tensor (3, h, w) in [0, 1].

    It is turned as its EXIF orientation says (as it is stored, with a message in the log, where its EXIF is damaged);
    transparency is laid on white; palettes, gray and CMYK become RGB; 16-bit gray keeps its 16 bits (Pillow reads
    16-bit colour as 8-bit). Of an animation, and of a file of several pages, the first is taken. Colour profiles are
    ignored.

    Raises
    ------
    UnusableSampleError
        If the file is missing, damaged, of another format, larger than 256 MB or declares more than 64 megapixels. A
        ValueError; its attributes are `path` and `reason`.
    """
    return decode_image(image_bytes(path), path)


def image_bytes(path: str | Path) -> bytes:
    """The content of a file of at most 256 MB."""
    try:
        with open(path, "rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UnusableSampleError(path, f"{error.strerror or error}; give a file that can be read") from error
    if len(content) > MOST_BYTES:
        raise UnusableSampleError(path, f"it is larger than {MOST_BYTES >> 20} MB; give a smaller image")
    return content


def decode_image(content: bytes, path: str | Path) -> Tensor:
    """The same for bytes that were read before; `path` is what an error calls them."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            # Pillow warns of large images; our own limit, which is lower, is an error.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise UnusableSampleError(path, _too_large(image.width, image.height))
                if image.format == "TIFF" and getattr(image, "n_frames", 1) > 1:
                    _log.warning("%s has %d pages: the first is used", path, image.n_frames)  # type: ignore[attr-defined]
                image.load()  # only this finds a file that ends too early
                try:
                    turned = ImageOps.exif_transpose(image)
                except Exception as error:  # whatever damaged EXIF makes its reader raise, the pixels are whole
                    _log.warning("%s is read as it is stored: its EXIF is damaged (%s)", path, error)
                    turned = image
                pixels = rgb_of(turned)
    except UnusableSampleError:
        raise
    except UnidentifiedImageError as error:  # its message is of the memory address of the bytes
        what = "it is empty" if not content else f"it is no {', '.join(FORMATS)} image"
        raise UnusableSampleError(path, f"{what}; give one of those formats, or leave it out") from error
    except Exception as error:  # whatever a decoder does on hostile bytes, the caller gets one kind of error
        raise UnusableSampleError(
            path, f"it is no whole {', '.join(FORMATS)} image ({str(error) or type(error).__name__})"
        ) from error
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def _too_large(width: int, height: int) -> str:
    return f"it declares {width} x {height} pixels, and {MOST_PIXELS // 10**6} megapixels are the most"


def rgb_of(image: Any) -> np.ndarray:
    """(h, w, 3) float32 in [0, 1] of a Pillow image of any mode.

    Raises
    ------
    ValueError
        For 32-bit values beyond 0 to 65,535, and for floats beyond 0 to 255.
    """
    if image.mode.startswith("I"):  # 16 bits, also where Pillow holds them in 32
        return _gray(np.asarray(image), 65535)
    if image.mode == "F":  # Pillow's own floats go to 255, those of others to 1
        values = np.asarray(image)
        return _gray(values, 1 if values.max() <= 1 else 255)
    if not image.has_transparency_data:
        return np.asarray(image.convert("RGB"), dtype=np.float32) / 255
    return on_white(np.asarray(image.convert("RGBA"), dtype=np.float32) / 255)


def on_white(layers: np.ndarray) -> np.ndarray:
    """(..., 3) colours of (..., 4) ones with an opacity, in [0, 1], laid on white."""
    opacity = layers[..., 3:]
    flat: np.ndarray = layers[..., :3] * opacity + (1 - opacity)
    return flat


def _gray(values: np.ndarray, largest: int) -> np.ndarray:
    if not (values.min() >= 0 and values.max() <= largest):  # also where NaN is among them
        raise ValueError(f"its values go from {values.min():g} to {values.max():g}, and 0 to {largest} are accepted")
    return np.repeat((values.astype(np.float32) / largest)[..., None], 3, axis=2)
