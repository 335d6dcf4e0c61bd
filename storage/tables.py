"""Results as files: CSV, JSON and arrays, each written whole or not at all; JSON is also read here."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genmend.storage.atomic import whole_file

__all__ = ["parse_json", "read_json", "without_nan", "write_csv", "write_json", "write_npy", "write_npz"]


def write_csv(path: str | os.PathLike[str], columns: Mapping[str, NDArray[Any]]) -> None:
    """Write columns of equal length under their names, after an `index`; floats in full, NaN as an empty cell."""
    lists = [_cells(np.asarray(values)) for values in columns.values()]
    with whole_file(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["index", *columns])
        writer.writerows([index, *row] for index, row in enumerate(zip(*lists, strict=True)))


def write_json(path: str | os.PathLike[str], values: Mapping[str, Any]) -> None:
    """Write one JSON object, indented; raise ValueError for NaN and infinity, which JSON does not have."""
    text = json.dumps(values, indent=1, allow_nan=False)
    with whole_file(path) as temporary:
        temporary.write_text(text + "\n")


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read one JSON object; raise ValueError for anything else, NaN and infinity among it."""
    return parse_json(Path(path).read_text(encoding="utf-8"))


def parse_json(text: str) -> dict[str, Any]:
    """Parse one JSON object; raise ValueError for anything else, NaN and infinity among it."""

    def refused(constant: str) -> float:
        raise ValueError(f"it holds {constant}, which is no JSON")

    value = json.loads(text, parse_constant=refused)
    if not isinstance(value, dict):
        raise ValueError(f"it is a {type(value).__name__}, but a JSON object is needed")
    return value


def write_npy(path: str | os.PathLike[str], array: NDArray[Any]) -> None:
    """Write one array, for `numpy.load`."""
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.save(file, array)


def write_npz(path: str | os.PathLike[str], arrays: Mapping[str, Any], *, compressed: bool = False) -> None:
    """Arrays, or what numpy makes arrays of, under their names, for `numpy.load`."""
    save = np.savez_compressed if compressed else np.savez
    with whole_file(path) as temporary, temporary.open("wb") as file:
        save(file, **arrays)


def without_nan(value: Any) -> Any:
    """Return the value with null in place of NaN and infinity, which JSON does not have: not measured."""
    if isinstance(value, Mapping):
        return {key: without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _cells(values: NDArray[Any]) -> list[Any]:
    if values.dtype.kind == "f":
        return ["" if np.isnan(value) else repr(float(value)) for value in values]
    return [int(value) if values.dtype.kind in "biu" else value for value in values]
