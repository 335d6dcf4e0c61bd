"""Results as files: CSV, JSON and arrays, each written whole or not at all."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genmend.storage.atomic import whole_file

__all__ = ["without_nan", "write_csv", "write_json", "write_npz"]


def write_csv(path: str | os.PathLike[str], columns: Mapping[str, NDArray[Any]]) -> None:
    """Columns of equal length under their names, after the row's `index`; floats in full, NaN as an empty cell."""
    lists = [_cells(np.asarray(values)) for values in columns.values()]
    with whole_file(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["index", *columns])
        writer.writerows([index, *row] for index, row in enumerate(zip(*lists, strict=True)))


def write_json(path: str | os.PathLike[str], values: Mapping[str, Any]) -> None:
    """One JSON object, indented; NaN is refused."""
    text = json.dumps(values, indent=1, allow_nan=False)
    with whole_file(path) as temporary:
        temporary.write_text(text + "\n")


def write_npz(path: str | os.PathLike[str], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Arrays under their names, for `numpy.load`."""
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def without_nan(value: Any) -> Any:
    """JSON has no NaN: what was not measured is null."""
    if isinstance(value, Mapping):
        return {key: without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _cells(values: NDArray[Any]) -> list[Any]:
    if values.dtype.kind == "f":
        return ["" if np.isnan(value) else repr(float(value)) for value in values]
    return [int(value) if values.dtype.kind in "biu" else value for value in values]
