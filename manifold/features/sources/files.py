"""Samples that are files: images or recordings of a folder or a list."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from genmend.manifold.features.audio_files import AUDIO_SUFFIXES, read_audio
from genmend.manifold.features.image_files import IMAGE_SUFFIXES, decode_image, image_bytes
from genmend.manifold.features.sources.samples import Samples
from genmend.manifold.features.unusable import UnusableSampleError
from genmend.storage.digests import sha256_of, sha256_of_file

__all__ = ["SAMPLE_SUFFIXES", "encoded_image", "sample_files"]

SAMPLE_SUFFIXES = AUDIO_SUFFIXES | IMAGE_SUFFIXES
_HASHED_BYTES = 1 << 32


def sample_files(paths: list[Path], names: list[str], description: str) -> Samples:
    """Files of images, or of recordings, as samples.

    Raises
    ------
    ValueError
        If they are of both kinds.
    """
    endings = {path.suffix.lower() for path in paths}
    if endings & AUDIO_SUFFIXES and endings & IMAGE_SUFFIXES:
        raise ValueError(f"{description} holds both images and audio ({', '.join(sorted(endings))}); give one kind.")
    load: Callable[[int], tuple[bytes, Any]]
    if endings <= AUDIO_SUFFIXES:
        kind, load = "audio", lambda i: _recording(paths[i])
    else:
        kind, load = "images", lambda i: encoded_image(image_bytes(paths[i]), paths[i])
    return Samples(kind, names, lambda i: _digest_of_file(paths[i]), load, description, paths, threads=True)


def encoded_image(content: bytes, place: str | Path) -> tuple[bytes, Tensor]:
    """The digest of an encoded image, and the image: what is decoded is what was hashed."""
    return bytes.fromhex(sha256_of([content])), decode_image(content, place)


def _recording(path: Path) -> tuple[bytes, tuple[np.ndarray, int]]:
    return _digest_of_file(path), read_audio(path)


def _digest_of_file(path: Path) -> bytes:
    try:
        if path.stat().st_size > _HASHED_BYTES:
            raise UnusableSampleError(path, f"it is larger than {_HASHED_BYTES >> 30} GB")
        return bytes.fromhex(sha256_of_file(path))
    except OSError as error:
        raise UnusableSampleError(path, f"{error.strerror or error}; give a file that can be read") from error
