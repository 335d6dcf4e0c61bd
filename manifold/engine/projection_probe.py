"""Whether screening by projections pays, judged by the distances among a few rows before anything is encoded.

A projection rules out a pair for a small part of what a tile of all values costs; a pair that it leaves is looked at by
itself, for more. So it pays where it leaves few. How many, 192 rows tell: with G their products, the leading
eigenvectors of the part of 128 rows span the directions in which these are spread most, and the other 64 rows, of which
the directions know nothing, have their projections from G alone. A radius is taken to be the distance to the nearest
of the rows: the fifth neighbour among 1,000 samples is about as near.
"""

from __future__ import annotations

import numpy as np

from genmend.manifold.engine.projection import N_DIRECTIONS

__all__ = ["projection_pays", "share_left"]

_KNOWN, _OTHERS = 128, 64
_LEAST_SHARE = 1e-6  # of the largest eigenvalue: below it a direction is rounding
_BIAS = 0.8  # directions of so few rows leave a quarter more than those of the reference's rows
# In products of two values of 16 bits. By `benchmarks/projection_cost.py`, where the choices that follow lose next to
# nothing at 1,000 to 5,000 rows of 512 to 2,048 values; int8-amx by its rate alone, for want of such a machine.
_PAIR_COST, _SETUP_COST = 260, 250  # of a pair left, besides its values; of encoding, by the rows and values
_TILE_COST = {"int8-amx": 0.1, "int8-vnni": 0.27, "int8-avxvnni": 0.27}  # of a value of a pair in a tile
_TILE_COST_ELSEWHERE = 0.38


def projection_pays(features: np.ndarray, center: np.ndarray, scale: float, kernel: str) -> bool:
    """Whether a projection saves `kernel` work on the pairs of features (n, d) with each other and with as many others.

    `center` and `scale` are those of `numpy_screen.middle_and_scale`. Takes about 1 % of a sweep of 2,000 x 2,048.
    """
    n, d = features.shape
    saved = (_TILE_COST.get(kernel, _TILE_COST_ELSEWHERE) - _SETUP_COST / n) * d
    return saved > 0 and _BIAS * share_left(features, center, scale) * (d + _PAIR_COST) < saved


def share_left(features: np.ndarray, center: np.ndarray, scale: float) -> float:
    """Share in [0, 1] of the pairs of features (n, d), n at least 192, that directions of 128 rows cannot rule out."""
    some = np.random.default_rng(0).choice(len(features), _KNOWN + _OTHERS, replace=False)
    centred = ((features[some] - center) * scale).astype(np.float32)
    products = (centred @ centred.T).astype(np.float64)
    squared = np.diag(products)
    values, vectors = np.linalg.eigh(products[:_KNOWN, :_KNOWN])
    values, vectors = values[-N_DIRECTIONS:], vectors[:, -N_DIRECTIONS:]
    kept = values > _LEAST_SHARE * values[-1]
    projected = products[_KNOWN:, :_KNOWN] @ (vectors[:, kept] / np.sqrt(values[kept]))
    rest = np.sqrt(np.maximum(squared[_KNOWN:] - np.square(projected).sum(axis=1), 0))
    bounds = _squared_distances(projected @ projected.T) + np.square(rest[:, None] - rest)
    distances = squared[_KNOWN:, None] + squared - 2 * products[_KNOWN:]
    distances[np.arange(_OTHERS), _KNOWN + np.arange(_OTHERS)] = np.inf
    pairs = ~np.eye(_OTHERS, dtype=bool)
    return float((bounds <= distances.min(axis=1)[:, None])[pairs].mean())


def _squared_distances(products: np.ndarray) -> np.ndarray:
    squared = np.diag(products)
    return squared[:, None] + squared - 2 * products
