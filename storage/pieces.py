"""Long work that is kept as it is done: stopped anywhere, even killed, a second run does only what is missing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from genmend.storage.atomic import whole_file
from genmend.storage.container import write_arrays
from genmend.storage.digests import digest, settings_key, sha256_of
from genmend.storage.progress import with_progress

__all__ = ["Work"]

# Raised when what a piece holds changes its meaning: old files are then no longer used.
_FORMAT = 1

_NAMES = "names of the arrays"  # zip's check sums do not tell that a member is missing

Arrays = Mapping[str, np.ndarray]
Kept = TypeVar("Kept")


def _save_arrays(path: Path, arrays: Arrays) -> None:
    with whole_file(path) as temporary:
        write_arrays(temporary, arrays)


@dataclass(frozen=True)
class Work:
    """Where long work keeps what it has done, whether it goes on from there, and whether it shows a progress bar.

    Every file is written whole or not at all and named by all that its content depends on, so a run that was stopped
    leaves good files only, and one with other settings uses others. Damaged files are computed again. Several
    processes may work in one folder: the worst is double work.

    Attributes
    ----------
    folder : Path or None
        Where the files lie; made when the first is written. None keeps nothing.
    resume : bool
        Whether files of earlier runs are used; they are written over where not.
    progress : bool
        Whether long steps show a bar.

    Examples
    --------
    >>> import tempfile
    >>> work = Work(tempfile.mkdtemp())
    >>> work.kept("squares", {"n": 3}, lambda: {"values": np.arange(3) ** 2})["values"]
    array([0, 1, 4])
    >>> work.kept("squares", {"n": 3}, lambda: {})["values"]  # read
    array([0, 1, 4])
    """

    folder: Path | None = None
    resume: bool = True
    progress: bool = False

    def __post_init__(self) -> None:
        if self.folder is not None:
            object.__setattr__(self, "folder", Path(self.folder))

    def inside(self, name: str) -> Work:
        """Return the same for a folder in this one."""
        return self if self.folder is None else replace(self, folder=self.folder / name)

    def kept(
        self,
        name: str,
        facts: Mapping[str, Any] | None,
        compute: Callable[[], Kept],
        *,
        save: Callable[[Path, Any], None] = _save_arrays,
        load: Callable[[Path], Any] = load_file,
    ) -> Kept:
        """Return what `compute` returns, or what an earlier run has left of it.

        Parameters
        ----------
        name
            What it is; the file is ``<name>-<key of the facts>.safetensors``.
        facts
            All that the result depends on, as JSON holds it: other facts, other file. None where the name says it all.
        compute
            Returns named arrays, or whatever `save` writes.
        save, load
            Write and read the file; of named numpy arrays unless others are given, e.g. `save_correction` and
            `load_correction`. `save` writes it whole; `load` raises ValueError for a damaged one.
        """
        if self.folder is None:
            return compute()
        key = "" if facts is None else f"-{settings_key(facts)}"
        path = self.folder / f"{name}{key}.safetensors"
        if self.resume and path.is_file():
            try:
                return load(path)
            except (SafetensorError, ValueError):
                pass  # damaged after it was written: compute it again
        result = compute()
        self.folder.mkdir(parents=True, exist_ok=True)
        save(path, result)
        return result

    def pieces(
        self,
        compute: Callable[[int, int], Arrays],
        n_rows: int,
        piece_size: int,
        *,
        inputs: Sequence[Any] = (),
        description: str = "",
    ) -> dict[str, np.ndarray]:
        """Call `compute(start, stop)` for consecutive rows, keep each result in a file, and join the results.

        The result does not depend on where an earlier run stopped.

        Parameters
        ----------
        compute
            Returns named arrays of what rows `start` to `stop` give; the same arrays for the same inputs.
        n_rows, piece_size
            Number of rows in all, and of one piece; at least 1.
        inputs
            All that the result depends on (arrays, numbers, text): other inputs, other files. See `digest`.
        description
            What the progress bar says.

        Returns
        -------
        The named arrays, joined along their first axis.
        """
        key = "" if self.folder is None else digest(_FORMAT, description, n_rows, *inputs)
        starts = range(0, n_rows, piece_size)
        found = [
            self._piece(key, start, min(start + piece_size, n_rows), compute)
            for start in with_progress(starts, description, len(starts), show=self.progress)
        ]
        return {name: np.concatenate([piece[name] for piece in found]) for name in found[0]}

    def _piece(self, key: str, start: int, stop: int, compute: Callable[[int, int], Arrays]) -> Arrays:
        if self.folder is None:
            return compute(start, stop)
        path = self.folder / f"{key}-{start}-{stop}.npz"
        piece = _read_piece(path) if self.resume else None
        if piece is None:
            piece = compute(start, stop)
            self.folder.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as temporary, temporary.open("wb") as file:
                np.savez(file, **piece, **{_NAMES: np.array(list(piece))})  # type: ignore[arg-type]  # numpy's stub takes every keyword for allow_pickle
        return piece

    def entries(self, facts: Any, keys: Sequence[str], compute: Callable[[list[str]], Sequence[Any]]) -> dict[str, Any]:
        """Return a JSON value for each key: those that a file of earlier runs holds, and the others, which are added.

        Parameters
        ----------
        facts
            All that the values depend on beside their keys, as JSON holds it; the file is named by them.
        keys
            Any text, e.g. seeds.
        compute
            Returns the values of the keys that are missing, in their order.
        """
        path = None if self.folder is None else self.folder / f"{sha256_of([json.dumps(facts)])[:24]}.json"
        known = {} if path is None else _read_entries(path)
        missing = [key for key in dict.fromkeys(keys) if key not in known or not self.resume]
        if missing:
            known.update(zip(missing, compute(missing), strict=True))
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                with whole_file(path) as temporary:
                    temporary.write_text(json.dumps(known), encoding="utf-8")
        return {key: known[key] for key in keys}


def _read_piece(path: Path) -> Arrays | None:
    """A piece, or None where there is no intact one."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            piece = dict(stored)
        names = piece.pop(_NAMES).tolist()
    except Exception:  # the format has check sums; whatever damage makes its reader raise, computing again is right
        return None
    return piece if list(piece) == names else None


def _read_entries(path: Path) -> dict[str, Any]:
    """The entries of a file; none where there is no intact one."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return entries if isinstance(entries, dict) else {}
