"""Who computes precision, recall, density and coverage (or a part of them) in the benchmark, and on what data."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np

# Precision, recall, density, coverage; None for what a contender does not compute.
Metrics = tuple[float | None, ...]


def features(seed: int, n: int, d: int, clusters: int = 50) -> np.ndarray:
    """(n, d) float32: clusters in 30 dimensions through a random ReLU network, as features of deep networks look."""
    rng, weights = np.random.default_rng(seed), np.random.default_rng(0)
    centers = 2 * weights.standard_normal((50, 30))[:clusters]
    first, second = weights.standard_normal((30, 256)) / 5, weights.standard_normal((256, d)) / 16
    latent = centers[rng.integers(0, clusters, n)] + rng.standard_normal((n, 30))
    return np.maximum(np.maximum(latent @ first, 0) @ second, 0).astype(np.float32)


def isotropic(seed: int, n: int, d: int) -> np.ndarray:
    """(n, d) float32 normal in all directions: nothing can be pruned."""
    return np.random.default_rng(seed).standard_normal((n, d), dtype=np.float32)


DATA = {"clustered": features, "one-cluster": partial(features, clusters=1), "isotropic": isotropic}


def ours(x: np.ndarray, y: np.ndarray, k: int, engine: str = "") -> Metrics:
    """Exact, and with all per-sample arrays. "torch" and "numpy": as where there is no compiled engine."""
    from genmend.manifold import prdc

    with _only(engine):
        at = prdc(x, y, k, closed=False)[k]
    return at.precision, at.recall, at.density, at.coverage


@contextlib.contextmanager
def _only(engine: str) -> Iterator[None]:
    """Have manifold use this engine, and its own distances where that is not the compiled one."""
    from genmend.manifold.engine import distances

    before, routine = os.environ.get("GENMEND_ENGINE"), distances._routine
    if engine:
        os.environ["GENMEND_ENGINE"] = engine
    if engine in ("torch", "numpy"):
        distances._routine = lambda: distances.numpy_pair_distances
    try:
        yield
    finally:
        distances._routine = routine
        os.environ.pop("GENMEND_ENGINE", None)
        if before is not None:
            os.environ["GENMEND_ENGINE"] = before


def prdc_package(x: np.ndarray, y: np.ndarray, k: int) -> Metrics:
    """The authors' package, muted."""
    from prdc import compute_prdc

    with contextlib.redirect_stdout(io.StringIO()):
        found = compute_prdc(x, y, k)
    return tuple(float(found[name]) for name in ("precision", "recall", "density", "coverage"))


def torch_fidelity(x: np.ndarray, y: np.ndarray, k: int) -> Metrics:
    """Its precision and recall, in the form that saves memory; closed balls."""
    import torch
    from torch_fidelity.metric_prc import calculate_precision_recall_part

    precision, recall = calculate_precision_recall_part(torch.from_numpy(y), torch.from_numpy(x), k)
    return precision, recall, None, None


def dense_rarity(x: np.ndarray, y: np.ndarray, k: int) -> Metrics:
    """Rarity as research code computes it: whole float64 tables of distances, rows sorted, a loop over samples."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    radii = np.sort(_table(x, x), axis=1)[:, k]
    table = _table(y, x)
    nearest = np.argsort(table, axis=1)
    inside = table < radii
    rarity = []
    for row in range(len(y)):
        balls = [j for j in nearest[row] if inside[row, j]] if inside[row].any() else []
        rarity.append(min(radii[balls]) if balls else 0.0)
    return float((np.asarray(rarity) > 0).mean()), None, None, None


def _table(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    squared = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * (a @ b.T)
    return np.sqrt(np.maximum(squared, 0))


def scikit_learn(x: np.ndarray, y: np.ndarray, k: int) -> Metrics:
    """The best of it: brute-force neighbours for the radii, distances in blocks for the rest."""
    from sklearn.metrics import pairwise_distances_chunked
    from sklearn.neighbors import NearestNeighbors

    radii = [NearestNeighbors(n_neighbors=k, algorithm="brute").fit(s).kneighbors()[0][:, -1] for s in (x, y)]
    return _blockwise(pairwise_distances_chunked(y, x, working_memory=64), radii[0], radii[1], k)


def faiss_flat(x: np.ndarray, y: np.ndarray, k: int) -> Metrics:
    """Radii by exact search of k + 1 neighbours, the rest by its blocks of all squared distances."""
    import faiss

    def distances(queries: np.ndarray, base: np.ndarray) -> np.ndarray:
        return np.sqrt(np.maximum(faiss.pairwise_distances(queries, base), 0))

    radii = [np.sqrt(faiss.knn(s, s, k + 1)[0][:, -1]) for s in (x, y)]
    return _blockwise((distances(y[top : top + 1024], x) for top in range(0, len(y), 1024)), radii[0], radii[1], k)


def _blockwise(blocks: Iterable[np.ndarray], radii: np.ndarray, query_radii: np.ndarray, k: int) -> Metrics:
    """Open balls, as the prdc package has them, from blocks of query rows against all of the reference."""
    count, covered, recalled, top = [], np.zeros(len(radii), bool), np.zeros(len(radii), bool), 0
    for block in blocks:
        inside = block < radii
        count.append(inside.sum(axis=1))
        covered |= inside.any(axis=0)
        recalled |= (block < query_radii[top : top + len(block), None]).any(axis=0)
        top += len(block)
    counts = np.concatenate(count)
    return float((counts > 0).mean()), float(recalled.mean()), float(counts.mean() / k), float(covered.mean())


CONTENDERS: dict[str, Callable[[np.ndarray, np.ndarray, int], Metrics]] = {
    "ours": ours,
    "ours, pure torch": partial(ours, engine="torch"),
    "ours, numpy": partial(ours, engine="numpy"),
    "prdc": prdc_package,
    "dense rarity": dense_rarity,
    "torch-fidelity": torch_fidelity,
    "scikit-learn": scikit_learn,
    "faiss": faiss_flat,
}
# Tables of all pairs: more samples do not fit the memory of an ordinary machine (or sort for minutes).
MOST_SAMPLES = {"prdc": 20_000, "dense rarity": 5_000, "torch-fidelity": 20_000}
