"""Exact distances: the arbiter of every decision the screen leaves open."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from genmend.manifold.engine.exact import numpy_pair_distances


def pair_distances(rows: np.ndarray, i: np.ndarray, columns: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Euclidean distance of `rows[i[p]]` and `columns[j[p]]` for every p, by direct differences in float64.

    The features are read as they came, neither centred nor rounded, so an offset they share costs no accuracy.
    Swapping the two sets changes no bit, equal rows are at distance 0, and no result depends on the other pairs
    of the call: a radius and a later query of the same pair tie exactly.

    Parameters
    ----------
    rows, columns
        (m, d) and (n, d), float32 or float64.
    i, j
        (p,) row indices into `rows` and `columns`.

    Returns
    -------
    (p,) float64, in feature units.
    """
    return _routine()(rows, i, columns, j)


@cache
def _routine() -> Callable[..., np.ndarray]:
    from genmend.manifold.engine.native_screen import native_kernels, native_pair_distances

    return native_pair_distances if native_kernels() else numpy_pair_distances
