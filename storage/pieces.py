"""Long computations in pieces on disk: stopped anywhere, a second run does only what is missing."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Tensor

from genmend.storage.atomic import atomic_write, whole_file

if TYPE_CHECKING:
    pass

__all__ = ["checkpointed", "digest", "in_pieces", "settings_key", "tensor_digest"]

# Raised when what a piece holds changes its meaning: old files are then no longer used.
_FORMAT = 1

_HASHED_BYTES = 1 << 24

_NAMES = "names of the arrays"  # zip's check sums do not tell that a member is missing

Arrays = Mapping[str, np.ndarray]


def in_pieces(
    function: Callable[[int, int], Arrays],
    n_rows: int,
    folder: str | os.PathLike[str] | None,
    piece_size: int,
    *,
    inputs: Sequence[Any] = (),
    description: str = "",
) -> dict[str, np.ndarray]:
    """Call `function(start, stop)` for consecutive rows, keep each result in a file, and join the results.

    Every piece is written whole or not at all, so a run that was stopped at any moment, even killed, leaves good pieces
    only; the next run with the same inputs reads them and computes the others. The result does not depend on where it
    stopped. Damaged files are computed again. Several processes may fill one folder: the worst is double work.

    Parameters
    ----------
    function
        Returns named arrays of what rows `start` to `stop` give; the same arrays for the same inputs.
    n_rows, piece_size
        Number of rows in all, and of one piece; at least 1.
    folder
        Where the pieces lie; made if it is missing. `None` keeps nothing.
    inputs
        All that the result depends on (arrays, numbers, text): other inputs use other files. See `digest`.
    description
        What the progress bar says; there is one on a terminal only.

    Returns
    -------
    The named arrays, joined along their first axis.
    """
    from tqdm import tqdm

    place = None if folder is None else Path(folder)
    if place is not None:
        place.mkdir(parents=True, exist_ok=True)
    key = "" if place is None else digest(_FORMAT, description, n_rows, *inputs)
    found: list[Arrays] = []
    for start in tqdm(range(0, n_rows, piece_size), desc=description, disable=None):
        stop = min(start + piece_size, n_rows)
        path = None if place is None else place / f"{key}-{start}-{stop}.npz"
        piece = None if path is None else _read(path)
        if piece is None:
            piece = function(start, stop)
            if path is not None:
                with whole_file(path) as file:
                    np.savez(file, **piece, **{_NAMES: np.array(list(piece))})  # type: ignore[arg-type]  # numpy's stub takes every keyword for allow_pickle
        found.append(piece)
    return {name: np.concatenate([piece[name] for piece in found]) for name in found[0]}


def digest(*parts: Any) -> str:
    """A name (32 hex digits) for arrays, numbers and text: equal for equal type, shape and values only.

    Array-likes are read in blocks of rows, so memory-mapped files stay on disk.
    """
    state = hashlib.sha256()
    for part in parts:
        if not hasattr(part, "shape"):
            state.update(f"{type(part).__name__} {part!r};".encode())
            continue
        state.update(f"array {part.shape} {part.dtype.str};".encode())
        row_bytes = max(1, int(np.prod(part.shape[1:])) * part.dtype.itemsize)
        step = max(1, _HASHED_BYTES // row_bytes)
        for start in range(0, len(part), step):
            state.update(np.ascontiguousarray(part[start : start + step]).data)
    return state.hexdigest()[:32]


def _read(path: Path) -> Arrays | None:
    """A piece, or None where there is no intact one."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            piece = dict(stored)
        names = piece.pop(_NAMES).tolist()
    except Exception:  # the format has check sums; whatever damage makes its reader raise, computing again is right
        return None
    return piece if list(piece) == names else None


def settings_key(settings: Mapping[str, Any]) -> str:
    """A short name for exactly these settings: other settings, other files."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def tensor_digest(values: Tensor) -> str:
    """SHA-256 of the values, in their order."""
    return hashlib.sha256(values.detach().cpu().contiguous().numpy().tobytes()).hexdigest()


def checkpointed(folder: Path, name: str, resume: bool, compute: Callable[[], Arrays]) -> Arrays:
    """The arrays that `compute` returns, or ``folder/name.safetensors`` where an earlier run left it whole."""
    path = folder / f"{name}.safetensors"
    if resume and path.is_file():
        try:
            return load_file(path)
        except SafetensorError:
            pass  # damaged after it was written: compute it again
    arrays = compute()
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        save_file({key: np.ascontiguousarray(values) for key, values in arrays.items()}, temporary)
    return arrays
