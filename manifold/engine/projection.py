"""A few directions in which features are spread most: where two samples are far apart there, they are far apart.

For orthonormal directions p and the length r of what they leave out, |p_x - p_y|^2 + (r_x - r_y)^2 <= |x - y|^2. So r
is one more coordinate, and the compiled engine screens whole tiles by codes of (p, r). That pays where similar samples
stand side by side; hence the order by clusters. Any directions and any order are valid; they only cost time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

N_DIRECTIONS = 63  # and what they leave out: 64 values, which codes come in multiples of
_N_CLUSTERS, _LLOYD_STEPS = 150, 2
_MOST_SAMPLED, _SAMPLED_SHARE = 1024, 4  # as few rows as still give directions of the whole: a quarter
_POWER_STEPS = 1
_ROWS = 128  # at a time: so many stay in the cache
_LEAST_SHARE = 1e-9  # of the largest eigenvalue: below it a direction is rounding


@dataclass(frozen=True)
class Projection:
    """Directions and clusters of a reference, in units of its screen (centred and scaled).

    Attributes
    ----------
    center, scale
        Of the screen.
    basis
        (d, m) float64, orthonormal columns, m at most N_DIRECTIONS.
    clusters
        (c, m + 1) float32, ordered by their first coordinate.
    """

    center: np.ndarray
    scale: float
    basis: np.ndarray
    clusters: np.ndarray

    @classmethod
    def of(cls, reference: np.ndarray, center: np.ndarray, scale: float) -> Projection:
        """Find directions and clusters from some rows of `reference` (n, d)."""
        rng = np.random.default_rng(0)
        some = reference[
            _some(len(reference), min(_MOST_SAMPLED, len(reference) // _SAMPLED_SHARE + N_DIRECTIONS), rng)
        ]
        centred = np.empty(some.shape, dtype=np.float32)
        for start in range(0, len(some), _ROWS):
            rows = slice(start, start + _ROWS)
            centred[rows] = (some[rows] - center) * scale
        projection = cls(center, scale, _leading_directions(centred, rng), np.empty((0, 0), dtype=np.float32))
        points, _ = projection.project(some)
        return cls(center, scale, projection.basis, _clusters(points[np.isfinite(points).all(axis=1)], rng))

    def project(self, features: np.ndarray) -> tuple[np.ndarray, float]:
        """(n, m + 1) float32 projections, and by what share of its length one of them may be off."""
        found = np.empty((len(features), self.basis.shape[1] + 1), dtype=np.float32)
        buffer = np.empty((min(_ROWS, len(features)), features.shape[1]))
        with np.errstate(over="ignore"):  # infinitely far: such rows are always measured
            for start in range(0, len(features), _ROWS):
                rows = slice(start, start + _ROWS)
                centred = np.subtract(features[rows], self.center, out=buffer[: len(features[rows])])
                centred *= self.scale
                part = centred @ self.basis
                squared = np.einsum("nd,nd->n", centred, centred) - np.einsum("nd,nd->n", part, part)
                found[rows, :-1] = part
                found[rows, -1] = np.sqrt(np.maximum(squared, 0))
        # float64 sums of d products may be off by d units; the square root of a difference that cancels, by the root.
        return found, 2 * np.sqrt(features.shape[1] * 2.0**-50) + 2.0**-20

    def order(self, projected: np.ndarray) -> np.ndarray:
        """(n,) int64 row numbers, cluster after cluster."""
        return np.argsort(_nearest(projected, self.clusters), kind="stable")


def _clusters(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(c, m) float32 means of (n, m) points by a few steps of Lloyd's algorithm, ordered by their first coordinate."""
    means = points[_some(len(points), _N_CLUSTERS, rng)]
    for _ in range(_LLOYD_STEPS):
        nearest = _nearest(points, means)
        members = np.argsort(nearest, kind="stable")
        _, first = np.unique(nearest[members], return_index=True)
        means = np.add.reduceat(points[members], first) / np.diff(first, append=len(members))[:, None]
    return np.ascontiguousarray(means[np.argsort(means[:, 0])], dtype=np.float32)


def _nearest(points: np.ndarray, means: np.ndarray) -> np.ndarray:
    """(n,) which mean is nearest to each point; any where float32 overflows."""
    found = np.empty(len(points), dtype=np.int16)
    half = np.square(means).sum(axis=1) / 2
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(points), _ROWS):
            rows = slice(start, start + _ROWS)
            found[rows] = (points[rows] @ means.T - half).argmax(axis=1)
    return found


def _leading_directions(centred: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(d, m) by a randomised range finder with a power step (Halko et al., arXiv 0909.4061, alg. 4.4)."""
    range_ = rng.standard_normal((centred.shape[1], N_DIRECTIONS), dtype=np.float32)
    for _ in range(_POWER_STEPS + 1):
        range_ = centred.T @ _orthonormal(centred @ range_).astype(np.float32)
    return _orthonormal(_orthonormal(range_))  # twice: what the first leaves is squared away


def _orthonormal(columns: np.ndarray) -> np.ndarray:
    """(n, at most m) float64 orthonormal columns that span the (n, m) ones; much faster than a QR decomposition."""
    wide = columns.astype(np.float64)
    values, vectors = np.linalg.eigh(wide.T @ wide)
    kept = values > _LEAST_SHARE * values[-1]
    return wide @ (vectors[:, kept] / np.sqrt(values[kept]))


def _some(n: int, most: int, rng: np.random.Generator) -> np.ndarray:
    return np.sort(rng.choice(n, most, replace=False)) if n > most else np.arange(n)
