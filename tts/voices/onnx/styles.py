"""Style vectors of a voice such as Kokoro: packs with a row for each length of a sentence."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genmend.tts.voices.onnx.graph import VoiceFileError

__all__ = ["find_styles", "read_style", "style_names"]

_ENDINGS = (".npz", ".npy", ".bin")


def find_styles(folder: Path) -> Path | None:
    """The packs beside a voice: a file voices*.npz or voices*.bin, or the folder voices; None where there is none."""
    for pattern in ("voices*.npz", "voices*.bin", "voices*.npy"):
        found = sorted(folder.glob(pattern))
        if found:
            return found[0]
    packs = folder / "voices"
    return packs if packs.is_dir() else None


def style_names(source: Path, known: Sequence[str] = ()) -> list[str]:
    """The packs that a file or a folder holds; `known` are those of a file of numbers alone, in its order."""
    if source.is_dir():
        return sorted(path.stem for path in source.iterdir() if path.suffix in _ENDINGS)
    if zipfile.is_zipfile(source):
        with np.load(source) as packs:
            return list(packs.files)
    return list(known) or [source.stem]


def read_style(source: Path, name: str, size: int, known: Sequence[str] = ()) -> NDArray[np.float32]:
    """Read one pack: (rows, size), row n - 1 for sentences of n symbols.

    Parameters
    ----------
    source
        An .npz of several, an .npy of one, a .bin of float32 values of one or of all in `known`, or a folder of these.
    name
        One of `style_names`.
    size
        Of the vector that the graph takes.

    Raises
    ------
    VoiceFileError
        If the file cannot be read, holds something else, or numbers that are not finite.
    """
    if source.is_dir():
        source = next(path for path in sorted(source.iterdir()) if path.stem == name and path.suffix in _ENDINGS)
        known = ()
    try:
        values = _values(source, name)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise VoiceFileError(f"{source} cannot be read as style vectors ({error}): get it again.") from error
    if values.dtype.kind != "f" or values.size == 0 or values.size % (size * max(len(known), 1)):
        raise VoiceFileError(
            f"{source} holds {values.size:,} numbers, and style vectors have {size} each: it is cut off, or of another "
            "voice; get it again."
        )
    rows = values.reshape(-1, size)
    if known:
        n = len(rows) // len(known)
        rows = rows[known.index(name) * n :][:n]
    if not np.isfinite(rows).all():
        raise VoiceFileError(f"{source} holds NaN or infinity in the style {name!r}: get it again, or take another.")
    return rows.astype(np.float32)


def _values(source: Path, name: str) -> np.ndarray:
    if zipfile.is_zipfile(source):
        with np.load(source) as packs:
            return np.asarray(packs[name])
    if source.suffix == ".bin":
        return np.fromfile(source, "<f4")
    return np.asarray(np.load(source))
