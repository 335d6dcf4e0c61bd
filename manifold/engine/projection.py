"""A few directions in which features are spread most: where two samples are far apart there, they are far apart.

For orthonormal directions p and the length r of what they leave out, |p_x - p_y|^2 + (r_x - r_y)^2 <= |x - y|^2. So r
is one more coordinate, and the compiled engine screens whole tiles by codes of (p, r). That pays where similar samples
stand side by side; hence the order by clusters. Any directions and any order are valid; they only cost time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

N_DIRECTIONS = 63  # and what they leave out: 64 values, which codes come in multiples of
_N_CLUSTERS = 150
_SAMPLED_ROWS = 2048
_CLUSTERED_ROWS = 8192
_ROWS = 1024
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
    def of(cls, reference: np.ndarray, center: np.ndarray, scale: float, clustered: bool = True) -> Projection:
        """Find directions, and clusters unless nothing is to be ordered by them, from rows of `reference` (n, d)."""
        rng = np.random.default_rng(0)
        some = reference[_some(len(reference), _SAMPLED_ROWS, rng)] - center
        some = (some * scale).astype(np.float32)
        projection = cls(center, scale, _leading_directions(some, rng), np.empty((0, 0), dtype=np.float32))
        if not clustered:
            return projection
        import faiss

        points, _ = projection.project(reference[_some(len(reference), _CLUSTERED_ROWS, rng)])
        n_clusters = min(_N_CLUSTERS, len(points))
        means: Any = faiss.Kmeans(points.shape[1], n_clusters, niter=4, seed=1, min_points_per_centroid=1)
        means.train(points)
        clusters = means.centroids[np.argsort(means.centroids[:, 0])]
        return cls(center, scale, projection.basis, np.ascontiguousarray(clusters))

    def project(self, features: np.ndarray) -> tuple[np.ndarray, float]:
        """(n, m + 1) float32 projections, and by what share of its length one of them may be off."""
        found = np.empty((len(features), self.basis.shape[1] + 1), dtype=np.float32)
        for start in range(0, len(features), _ROWS):
            rows = slice(start, start + _ROWS)
            centred = features[rows].astype(np.float64)
            centred -= self.center
            centred *= self.scale
            part = centred @ self.basis
            squared = np.einsum("nd,nd->n", centred, centred) - np.einsum("nd,nd->n", part, part)
            with np.errstate(over="ignore"):  # infinitely far: such rows are always measured
                found[rows, :-1] = part
                found[rows, -1] = np.sqrt(np.maximum(squared, 0))
        # float64 sums of d products may be off by d units; the square root of a difference that cancels, by the root.
        return found, 2 * np.sqrt(features.shape[1] * 2.0**-50) + 2.0**-20

    def order(self, projected: np.ndarray) -> np.ndarray:
        """(n,) int64 row numbers, cluster after cluster."""
        import faiss

        index = faiss.IndexFlatL2(self.clusters.shape[1])
        index.add(self.clusters)
        nearest = np.empty(len(projected), dtype=np.int32)
        for start in range(0, len(projected), _ROWS):
            rows = slice(start, start + _ROWS)
            finite = np.nan_to_num(projected[rows], posinf=0, neginf=0)
            nearest[rows] = index.search(finite, 1)[1][:, 0]
        return np.argsort(nearest, kind="stable")


def _leading_directions(centred: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(d, m) by a randomised range finder with two power steps (Halko et al., arXiv 0909.4061, alg. 4.4)."""
    range_ = rng.standard_normal((centred.shape[1], N_DIRECTIONS), dtype=np.float32)
    for _ in range(3):
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
