"""Features in text tables: .csv and .tsv files, with or without a header and a column of names."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np

from genmend.manifold.engine.inputs import as_features

__all__ = ["TABLE_SUFFIXES", "is_table", "read_table"]

TABLE_SUFFIXES = (".csv", ".tsv")
_SEPARATORS = ",;\t"
# Heads of a first column that says which sample it is; "" is that of pandas' index.
_NAME_HEADS = frozenset({"", "index", "id", "name", "names", "file", "filename", "path", "image", "label"})
MOST_BYTES = 1 << 31


def is_table(source: Any) -> bool:
    """Whether a source is the path of a table, by its ending."""
    return isinstance(source, (str, os.PathLike)) and Path(source).suffix.lower() in TABLE_SUFFIXES


def read_table(path: Path) -> tuple[np.ndarray, list[str]]:
    """Features (n, d) float64 of a table, and the names of its rows, their numbers where it gives none.

    The columns are separated by comma, semicolon or tab, whichever the first line has most of. A first line that is no
    numbers is a header. The first column is names where its head says so (index, id, name, file, ... or nothing), or
    where its cells are no numbers.

    Raises
    ------
    ValueError
        If a line has another number of cells, a cell is missing or no finite number (decimal point), there is no row,
        it is no text, or larger than 2 GB; the message names file, line and column.
    FileNotFoundError, OSError
        If there is no such file, or it cannot be read.
    """
    if not path.exists():
        raise FileNotFoundError(f"There is no {path}; give a .npy, .npz, .safetensors or .csv file.")
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{path} is larger than {MOST_BYTES >> 30} GB; save features as .npy")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            start = file.readline()
            file.seek(0)
            separator = max(_SEPARATORS, key=start.count)
            lines = [line for line in csv.reader(file, delimiter=separator) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no text table ({error}); save features as .csv or .npy") from error
    head: list[str] = []
    if lines and not any(_is_number(cell) for cell in lines[0][1:] or lines[0]):
        head, lines = lines[0], lines[1:]
    if not lines:
        raise ValueError(f"{path} has no rows of numbers; give a line a sample")
    named = len(lines[0]) > 1 and (
        (bool(head) and head[0].strip().lower() in _NAME_HEADS) or not _is_number(lines[0][0].strip() or "0")
    )
    width = len(head or lines[0])
    rows, names = [], []
    for number, line in enumerate(lines):
        place = f"{path}, line {number + 1 + bool(head)}"
        if len(line) != width:
            raise ValueError(f"{place} has {len(line)} cells and the first has {width}; give every line as many")
        rows.append([_number(cell, f"{place}, column {head[c] if head else c + 1}") for c, cell in enumerate(line)
                     if c or not named])  # fmt: skip
        names.append(line[0] if named else str(number))
    return as_features(np.array(rows), str(path)), names


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _number(cell: str, place: str) -> float:
    try:
        return float(cell)
    except ValueError:
        what = f"holds {cell.strip()[:40]!r}" if cell.strip() else "is empty"
        raise ValueError(f"{place} {what}; a number with a decimal point is accepted") from None
