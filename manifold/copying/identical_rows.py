"""Which rows of feature sets are identical, found by sums and digests rather than by comparing all pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b

import numpy as np

__all__ = ["first_of_identical", "row_keys"]

_ROWS = 512


def row_keys(sets: Sequence[np.ndarray]) -> list[list[float | bytes]]:
    """For the rows of each set what only equal rows share: their sum or, where others have that too, a digest.

    An array and its copy in half the precision are equal: all is compared in float32 where one of the sets is.
    """
    dtype = np.float32 if any(z.dtype == np.float32 for z in sets) else np.float64
    with np.errstate(over="ignore"):
        sums = [np.concatenate([np.ascontiguousarray(part, dtype).sum(axis=1) for part in _parts(z)]) for z in sets]
    values, counts = np.unique(np.concatenate(sums), return_counts=True)
    keys: list[list[float | bytes]] = [one.tolist() for one in sums]
    for of_set, one, z in zip(keys, sums, sets, strict=True):
        for i in np.flatnonzero(np.isin(one, values[counts > 1]) | ~np.isfinite(one)):
            # + 0: -0 is 0
            of_set[i] = blake2b((z[i].astype(dtype) + 0).tobytes(), digest_size=16).digest()
    return keys


def first_of_identical(keys: Sequence[float | bytes]) -> np.ndarray:
    """Ascending rows: of those with one key the first."""
    first: dict[float | bytes, int] = {}
    for row, key in enumerate(keys):
        first.setdefault(key, row)
    return np.fromiter(first.values(), dtype=np.int64, count=len(first))


def _parts(features: np.ndarray) -> Iterator[np.ndarray]:
    return (features[start : start + _ROWS] for start in range(0, len(features), _ROWS))
