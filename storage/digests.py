"""SHA-256 of files, arrays, JSON and whatever is made of them: names of caches, and marks by which files are known.

Every digest that is stored in a file or names one is made here, and its value for the same content never changes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

__all__ = ["digest", "settings_key", "sha256_of", "sha256_of_array", "sha256_of_file", "sha256_of_json"]

_HASHED_BYTES = 1 << 24


def sha256_of(parts: Iterable[Any]) -> str:
    """Return the SHA-256 of parts one after the other, in hexadecimal (64 digits).

    Parameters
    ----------
    parts
        Text (as UTF-8), bytes, and arrays or tensors of any shape and dtype, of which the values count, not the dtype
        or the shape; tell those as text where they matter. Arrays are read in blocks of rows, so memory-mapped files
        stay on disk.
    """
    state = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            state.update(part.encode())
        elif isinstance(part, bytes | bytearray | memoryview):
            state.update(part)
        elif hasattr(part, "detach"):
            import torch

            values = part.detach().cpu().contiguous().reshape(-1)
            state.update(values.view(torch.uint8).numpy().data)  # as bytes, for numpy has no bfloat16
        elif not part.shape:
            state.update(np.asarray(part).tobytes())
        else:
            row_bytes = max(1, int(np.prod(part.shape[1:])) * part.dtype.itemsize)
            step = max(1, _HASHED_BYTES // row_bytes)
            for start in range(0, len(part), step):
                state.update(np.ascontiguousarray(part[start : start + step]).data)
    return state.hexdigest()


def sha256_of_array(values: Any) -> str:
    """Return the SHA-256, in hexadecimal, of the values of an array or tensor, in their order."""
    return sha256_of([values])


def sha256_of_file(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_json(value: Any) -> str:
    """Return the SHA-256, in hexadecimal, of a value as JSON with sorted keys."""
    return sha256_of([json.dumps(value, sort_keys=True)])


def settings_key(settings: Mapping[str, Any]) -> str:
    """Return a short name (16 hex digits) for these settings, which must be JSON: other settings, other name."""
    return sha256_of_json(settings)[:16]


def digest(*parts: Any) -> str:
    """Return a name (32 hex digits) for arrays, numbers and text: equal for equal type, shape and values only.

    Array-likes are read in blocks of rows, so memory-mapped files stay on disk.
    """

    def described() -> Iterable[Any]:
        for part in parts:
            if hasattr(part, "shape"):
                yield f"array {part.shape} {part.dtype.str};"
                yield part
            else:
                yield f"{type(part).__name__} {part!r};"

    return sha256_of(described())[:32]
