"""Approximate nearest neighbours by faiss, on request only, each result with its measured recall."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from genmend.manifold.engine.distances import pair_distances
from genmend.manifold.engine.inputs import as_count, as_features, need_samples
from genmend.manifold.engine.radii import BLOCK_SIZE, nearest_distances
from genmend.manifold.engine.screens import screen_of
from genmend.manifold.sharded.shard_sums import merge_nearest

_BLOCK_ROWS = 65_536
_TRAINED_ON = 64  # samples for each list of an IVF index
_DEGREE, _EF_CONSTRUCTION = 16, 80


@dataclass(frozen=True)
class ApproximateNeighbors:
    """Neighbours that an index found, and how many of the true ones are among them.

    Attributes
    ----------
    distances
        (m, k) float64, ascending: exact distances of the neighbours found, so never below the true ones; inf where the
        index found fewer than k.
    indices
        (m, k) int64, rows of the reference; -1 where there is none.
    recall
        Recall@k, in [0, 1]: of the k nearest neighbours of `recall_queries` sampled queries, the fraction found, by
        comparison with an exact search (another neighbour at the same distance counts).
    recall_queries
        How many queries it was measured on.
    index
        What searched, with its settings.
    approximate
        Always True: a label for whoever passes these numbers on.
    """

    distances: np.ndarray
    indices: np.ndarray
    recall: float
    recall_queries: int
    index: str
    approximate: bool = True

    @property
    def radii(self) -> np.ndarray:
        """(m,) float64: distance to the k-th neighbour found; an upper bound of the true radius."""
        return self.distances[:, -1]

    def to_dict(self) -> dict[str, Any]:
        """For JSON, without the arrays."""
        return {
            "approximate": self.approximate,
            "index": self.index,
            "k": self.distances.shape[1],
            "recall": self.recall,
            "recall_queries": self.recall_queries,
            "missing": int((self.indices < 0).sum()),
        }


def approximate_neighbors(
    reference: Any,
    query: Any = None,
    k: int = 3,
    *,
    method: Literal["ivf", "hnsw"] = "ivf",
    n_lists: int | None = None,
    effort: int = 16,
    recall_queries: int = 500,
    seed: int = 0,
) -> ApproximateNeighbors:
    """Approximate k nearest neighbours of the query, or of each reference sample among the others.

    Good for radii of a very large reference: those found are upper bounds, and the recall says how good. Not for
    rarity, precision or density: these ask which balls contain a sample, and a large ball contains samples that have
    hundreds of nearer neighbours. Against 1,000,000 references even an *exact* search of 64 neighbours gave 2.2 % wrong
    rarities, and was a seventeenth as fast as the exact sweep of `Manifold` (`benchmarks/million.py --exact-radii`, 500
    queries, compiled engine). So take the radii from here at most (`Manifold.from_radii`), and sweep exactly.

    Parameters
    ----------
    reference, query
        (n, d) and (m, d) features; the index holds a float32 copy of the reference. Without a query the reference
        itself, each sample excluded from its own neighbours by index.
    k
        Number of neighbours.
    method
        "ivf": inverted lists, quick to build; "hnsw": a graph, slow to build, quick to search (its building with more
        than one thread is not reproducible).
    n_lists
        Lists of the IVF index; by default about 2 * sqrt(n).
    effort
        Lists visited for a query (IVF), or length of the candidate list (HNSW): more finds more, and costs more.
    recall_queries, seed
        On how many random queries the recall is measured by exact search, and the seed of their choice.

    Raises
    ------
    ValueError
        For an unknown method, fewer than k samples (k + 1 without a query), or features that are not finite.
    """
    x, k, effort = as_features(reference, "reference"), as_count(k, "k"), as_count(effort, "effort")
    itself = query is None
    y = x if itself else as_features(query, "query", x.shape[1])
    if itself:
        need_samples(len(x), k, "reference")
    elif len(x) < k:
        raise ValueError(f"reference has {len(x)} samples, which is less than k = {k}; give more, or a smaller k")
    if method not in ("ivf", "hnsw"):
        raise ValueError(f"method is {method!r}; 'ivf' and 'hnsw' are accepted")
    chosen = np.sort(np.random.default_rng(seed).permutation(len(y))[: as_count(recall_queries, "recall_queries")])

    center = x[:: max(1, len(x) // 1000)].mean(axis=0, dtype=np.float64)  # faiss cancels far from the origin
    index, described = _index(x, center, method, n_lists, effort)
    distances, indices = np.empty((len(y), k)), np.empty((len(y), k), dtype=np.int64)
    for start in range(0, len(y), _BLOCK_ROWS):
        rows = slice(start, min(start + _BLOCK_ROWS, len(y)))
        found = index.search(_centred(y[rows], center), k + itself)[1].astype(np.int64)
        if itself:
            found = _without(found, np.arange(rows.start, rows.stop))
        distances[rows], indices[rows] = _measured(x, y[rows], found)
    exact = _exact(x, y, k, chosen, itself)
    return ApproximateNeighbors(
        distances, indices, float((distances[chosen] <= exact[:, -1:]).mean()), len(chosen), described
    )


def _index(x: np.ndarray, center: np.ndarray, method: str, n_lists: int | None, effort: int) -> tuple[Any, str]:
    import faiss

    index: Any
    n, d = x.shape
    if method == "hnsw":
        index = faiss.IndexHNSWFlat(d, _DEGREE)
        index.hnsw.efConstruction, index.hnsw.efSearch = _EF_CONSTRUCTION, effort
        described = f"faiss HNSW, degree {_DEGREE}, efConstruction {_EF_CONSTRUCTION}, efSearch {effort}"
    else:
        n_lists = max(1, min(round(2 * n**0.5), n // 40)) if n_lists is None else as_count(n_lists, "n_lists")
        if n_lists > n:
            raise ValueError(f"n_lists is {n_lists}; at most the number of reference samples, {n}, is accepted")
        index = faiss.IndexIVFFlat(faiss.IndexFlatL2(d), d, n_lists)
        index.cp.min_points_per_centroid = 1  # small references: no warning on stderr
        index.train(_centred(x[:: max(1, n // (_TRAINED_ON * n_lists))], center))
        index.nprobe = effort
        described = f"faiss IVF, {n_lists} lists, {effort} visited"
    for start in range(0, n, _BLOCK_ROWS):
        index.add(_centred(x[start : start + _BLOCK_ROWS], center))
    return index, described


def _centred(rows: np.ndarray, center: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(rows - center, dtype=np.float32)


def _without(found: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Drop each row's own index, or the last neighbour where it was not found."""
    at = np.where(found == own[:, None], 0, 1)
    at[(at == 1).all(axis=1), -1] = 0
    return np.take_along_axis(found, np.argsort(1 - at, axis=1, kind="stable"), axis=1)[:, :-1]


def _measured(x: np.ndarray, y: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Exact distances of the neighbours found, and these, both ascending."""
    distances = np.full(found.shape, np.inf)
    i, column = np.nonzero(found >= 0)
    distances[i, column] = pair_distances(y, i, x, found[i, column])
    order = np.argsort(distances, axis=1, kind="stable")
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(found, order, axis=1)


def _exact(x: np.ndarray, y: np.ndarray, k: int, chosen: np.ndarray, itself: bool) -> np.ndarray:
    """(len(chosen), k) true distances, block by block of the reference so that few codes are held."""
    queries = y[chosen]
    nearest = np.full((len(chosen), k + itself), np.inf)
    for start in range(0, len(x), _BLOCK_ROWS):
        block = x[start : start + _BLOCK_ROWS]
        found = nearest_distances(
            screen_of(block), block, queries, min(k + itself, len(block)), own=None, block_size=BLOCK_SIZE
        )
        nearest = merge_nearest([nearest, found], k + itself)
    return nearest[:, int(itself) :]  # the sample itself is at distance 0, so the first
