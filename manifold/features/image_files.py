"""Reading one image file: any bytes give an image or an error that names the file, never more memory than a limit."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genmend.manifold.features.unusable import UnusableSampleError

__all__ = ["IMAGE_SUFFIXES", "decode_image", "image_bytes", "read_image", "rgb_of"]

FORMATS = ("PNG", "JPEG", "WEBP")
# What counts as an image in a folder; a format that is not read is an error there, not silently left out.
IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".heic", ".jxl"}
)
MOST_PIXELS = 64_000_000
MOST_BYTES = 1 << 28


def read_image(path: str | Path) -> Tensor:
    """Read a PNG, JPEG or WEBP file as a float32 tensor (3, h, w) in [0, 1].

    It is turned as its EXIF orientation says; transparency is laid on white; palettes, gray and CMYK become RGB; 16-bit
    gray keeps its 16 bits (Pillow reads 16-bit colour as 8-bit). Of an animation the first frame is taken. Colour
    profiles are ignored.

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
                image.load()  # only this finds a file that ends too early
                pixels = rgb_of(ImageOps.exif_transpose(image))
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
    """(h, w, 3) float32 in [0, 1] of a Pillow image of any mode."""
    if image.mode.startswith("I;16"):
        gray = np.asarray(image).astype(np.float32) / 65535
        return np.repeat(gray[..., None], 3, axis=2)
    if not image.has_transparency_data:
        return np.asarray(image.convert("RGB"), dtype=np.float32) / 255
    layers = np.asarray(image.convert("RGBA"), dtype=np.float32) / 255
    opacity = layers[..., 3:]
    return layers[..., :3] * opacity + (1 - opacity)
