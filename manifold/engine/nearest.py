"""The nearest samples, and the nearest balls: faiss proposes some, the exact sweep proves that none is missing.

faiss searches in float32, so what it finds is a proposal only: the exact distance of the worst one bounds how far the
nearest can be, and `near_pairs` finds everything within that bound. A poor proposal costs time, never correctness.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from genmend.manifold.engine.distances import pair_distances
from genmend.manifold.engine.inputs import as_count, as_features, like
from genmend.manifold.engine.radii import BLOCK_SIZE
from genmend.manifold.engine.screens import AnyScreen, screen_of
from genmend.manifold.engine.sweep import near_pairs

_SOME_ROWS = 127  # behind the centre and the scale of what faiss sees
_REACH = 1e9  # in that scale; float32 does not overflow when it is squared
_ADDED_ROWS = 8192  # centred at a time, in float64
_WORTH_THREADS = 100_000_000  # multiplications, some ten milliseconds
_BALL_CANDIDATES = 8
_COMMON_BALLS = 0.9  # share of the balls, by radius, that share one search radius
_ROUND_UP = 1 + 2.0**-40  # more than the roundings of a sum of radius and gap


@dataclass(frozen=True)
class Neighbors:
    """The nearest reference samples of m queries, nearest first; of equally near ones the first.

    Attributes
    ----------
    distances
        (m, n) float64, in feature units, ascending; lower is nearer.
    indices
        (m, n) int64, rows of the reference.
    """

    distances: Any
    indices: Any


def nearest_neighbors(reference: Any, query: Any, n: int = 1, *, block_size: int = BLOCK_SIZE) -> Neighbors:
    """The n nearest reference samples of each query: those that a float64 brute-force search finds.

    Parameters
    ----------
    reference, query
        (N, d) and (m, d) features; numpy, or torch tensors (computed on the CPU). A query that is also a reference
        sample finds itself, at distance 0.
    n
        Number of neighbours, at most N.
    block_size
        Rows and columns of the tiles compared at a time; never changes a result.

    Raises
    ------
    ValueError, TypeError
        For n above N, different widths, or features that are not finite real numbers.

    Examples
    --------
    >>> nearest_neighbors([[0.0], [1.0], [3.0], [7.0]], [[2.0], [6.0]]).indices
    array([[1],
           [3]])
    """
    x = as_features(reference, "reference")
    y, n, block = as_features(query, "query", x.shape[1]), as_count(n, "n"), as_count(block_size, "block_size")
    if n > len(x):
        raise ValueError(f"n is {n}, but the reference has {len(x)} samples; ask for at most as many")
    distances, indices = nearest_samples(screen_of(x), x, y, n, block)
    return Neighbors(like(distances, query), like(indices, query))


def nearest_samples(
    screen: AnyScreen, reference: np.ndarray, query: np.ndarray, n: int, block_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """(m, n) distances and indices for a reference's screen, checked features, and n at most the reference's length."""
    reach = np.full(len(query), np.inf)  # without proposals everything is measured
    proposed = _proposals(reference, query, n)
    if proposed is not None:
        reach = _distances(query, reference, proposed).max(axis=1)
    best = _Least(len(query), n)
    no_balls = np.zeros(len(reference))
    for i, j, distances in near_pairs(screen, reference, query, no_balls, reach, block_size=block_size):
        best.add(i, j, distances)
    return best.values, best.indices


def nearest_balls(
    screen: AnyScreen, reference: np.ndarray, radii: np.ndarray, query: np.ndarray, block_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """(m,) least distance - radius over all balls, and the ball that attains it, of equal ones the first.

    The gap is how far a query outside is from the union of the balls. Where the largest radius is much larger than
    most, or the gaps are, nearly all pairs are measured exactly.
    """
    reach = np.full(len(query), np.inf)
    own_reach = np.zeros(len(reference))
    proposed = _proposals(reference, query, min(_BALL_CANDIDATES, len(reference)))
    if proposed is not None:
        # A ball wins only if distance <= gap + radius. The few largest are searched for by their own radius, so that
        # they do not widen the search for all the others.
        gap = np.maximum(0, (_distances(query, reference, proposed) - radii[proposed]).min(axis=1))
        common = np.quantile(radii, _COMMON_BALLS, method="inverted_cdf")
        reach = (gap + common) * _ROUND_UP
        own_reach = np.where(radii > common, (gap.max() + radii) * _ROUND_UP, 0)
    best = _Least(len(query), 1)
    for i, j, distances in near_pairs(screen, reference, query, own_reach, reach, block_size=block_size):
        best.add(i, j, distances - radii[j])
    return best.values[:, 0], best.indices[:, 0]


class _Least:
    """The n least values found so far for each query, of equal ones those of the first indices."""

    def __init__(self, n_query: int, n: int) -> None:
        self.values = np.full((n_query, n), np.inf)
        self.indices = np.full((n_query, n), -1)

    def add(self, i: np.ndarray, j: np.ndarray, values: np.ndarray) -> None:
        """Merge `values[p]` of query `i[p]` and index `j[p]`; no pair may come twice."""
        n = self.values.shape[1]
        useful = values <= self.values[i, -1]
        i, j, values = i[useful], j[useful], values[useful]
        rows = np.unique(i)
        i = np.concatenate([np.repeat(rows, n), i])
        j = np.concatenate([self.indices[rows].ravel(), j])
        values = np.concatenate([self.values[rows].ravel(), values])
        order = np.lexsort((j, values, i))
        # Every row has at least n entries, of which its first n stay.
        first = np.searchsorted(i[order], rows)
        kept = order[first[:, None] + np.arange(n)]
        self.values[rows], self.indices[rows] = values[kept], j[kept]


def _proposals(reference: np.ndarray, query: np.ndarray, n: int) -> np.ndarray | None:
    """(m, n) rows of the reference, each at most once in a row, that are probably the nearest; None without faiss."""
    try:
        import faiss
    except ImportError:
        return None
    some = reference[:: -(-len(reference) // _SOME_ROWS)].astype(np.float64)
    center = np.median(some, axis=0)  # float32 cancels far from the origin (faiss FAQ)
    scale = 1 / max(np.median(np.abs(some - center).max(axis=1)), 1e-100)

    def centred(features: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):  # what overflows is clipped
            return np.clip((features - center) * scale, -_REACH, _REACH).astype(np.float32)

    index: Any = faiss.IndexFlatL2(reference.shape[1])
    found = np.empty((len(query), n), dtype=np.int64)
    with _own_threads(faiss, len(query) * reference.size):
        for start in range(0, len(reference), _ADDED_ROWS):
            index.add(centred(reference[start : start + _ADDED_ROWS]))
        for start in range(0, len(query), _ADDED_ROWS):
            found[start : start + _ADDED_ROWS] = index.search(centred(query[start : start + _ADDED_ROWS]), n)[1]
    found[(found < 0).any(axis=1)] = np.arange(n)  # faiss's sign for nothing found; any proposal will do
    return found


@contextmanager
def _own_threads(faiss: Any, multiplications: int) -> Iterator[None]:
    """One thread for faiss where more are no help, or a danger; afterwards as many as before.

    faiss brings an OpenMP of its own, whose threads wait on the cores that the engine's want next: on two cores a small
    search took ten times as long with two. On macOS two teams of threads crash.
    """
    before = faiss.omp_get_max_threads()
    if multiplications < _WORTH_THREADS or sys.platform == "darwin":
        faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _distances(query: np.ndarray, reference: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Exact distances of each query to its row of `indices`."""
    i = np.repeat(np.arange(len(query)), indices.shape[1])
    return pair_distances(query, i, reference, indices.ravel()).reshape(indices.shape)
