"""Which samples something or somebody flagged, from the files that say so."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from genmend.storage.numpy_files import read_numbers

__all__ = ["read_flagged"]

_RATERS = ("rater_a", "rater_b")
_ACCEPTED = (
    "give an output folder of genmend detect, a folder of labels with labels.csv, a .csv with a column flagged (1 or "
    "0) or rater_a (0, 1, 2), or a .npy array of truth values"
)


def read_flagged(path: Path, n: int) -> np.ndarray:
    """Truth values ``(n,)``: a detector's flags, or samples that raters call clearly broken (more than half of 2).

    Parameters
    ----------
    path
        An output folder of ``genmend detect``, a folder of labels, or one of their files; or a .npy file.
    n
        Samples that there are.

    Raises
    ------
    ValueError
        If it holds nothing of the kind, or flags of another number of samples.
    FileNotFoundError
        If a folder has neither ``scores.csv`` nor ``labels.csv``.
    """
    if path.is_dir():
        files = [path / name for name in ("scores.csv", "labels.csv") if (path / name).is_file()]
        if not files:
            raise FileNotFoundError(f"{path} has neither scores.csv nor labels.csv; {_ACCEPTED}.")
        path = files[0]
    flagged = _of_array(path) if path.suffix == ".npy" else _of_table(path)
    if len(flagged) != n:
        raise ValueError(f"{path} flags {len(flagged)} samples, but there are {n}; give those that it was made of.")
    return flagged


def _of_array(path: Path) -> np.ndarray:
    values = read_numbers(path)
    if values.ndim != 1 or not np.isin(values, (0, 1)).all():
        raise ValueError(f"{path} holds {values.dtype} of shape {values.shape}; {_ACCEPTED}.")
    return values.astype(bool)


def _of_table(path: Path) -> np.ndarray:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no table; {_ACCEPTED}.") from None
    columns = (
        ["flagged"] if rows and "flagged" in rows[0] else [rater for rater in _RATERS if rows and rater in rows[0]]
    )
    if not columns:
        raise ValueError(f"{path} has no column flagged or rater_a; {_ACCEPTED}.")
    most = 1 if columns == ["flagged"] else 2
    try:
        values = np.array([[float(row[column]) for column in columns] for row in rows])
    except (TypeError, ValueError):
        values = np.array([np.nan])
    if not ((values >= 0) & (values <= most)).all():
        raise ValueError(f"{path} has other values than 0 to {most} in {' and '.join(columns)}; {_ACCEPTED}.")
    flagged: np.ndarray = values.mean(1) > most / 2
    return flagged
