"""Exact distances in numpy: what decides where there is no compiled engine."""

from __future__ import annotations

import numpy as np

__all__ = ["numpy_pair_distances"]

# Differences of this many float64 values (1 MB) stay in the second-level cache.
_CHUNK_VALUES = 1 << 17


def numpy_pair_distances(rows: np.ndarray, i: np.ndarray, columns: np.ndarray, j: np.ndarray) -> np.ndarray:
    """`pair_distances` in numpy: used where there is no compiled engine, and checked against it where there is."""
    squared = np.empty(len(i))
    chunk = max(16, _CHUNK_VALUES // rows.shape[1])
    for start in range(0, len(i), chunk):
        part = slice(start, start + chunk)
        difference = rows[i[part]].astype(np.float64)
        difference -= columns[j[part]]
        difference *= difference
        # Not einsum: its order of summation, so the last bit, depends on the number of pairs.
        np.add.reduce(difference, axis=1, out=squared[part])
    return np.sqrt(squared, out=squared)
