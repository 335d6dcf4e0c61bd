"""C_T: whether generated samples lie closer to the training samples than held-out samples of the same source do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from genmend.manifold.engine.inputs import as_count, as_features
from genmend.manifold.engine.nearest import nearest_samples
from genmend.manifold.engine.radii import BLOCK_SIZE
from genmend.manifold.engine.screens import screen_of

__all__ = ["Cells", "copying_in_cells", "data_copying"]

N_CELLS, N_COMPONENTS = 3, 64
# A cell counts where more query samples than this fall into it.
LEAST_OF_QUERY = 20


@dataclass(frozen=True)
class Cells:
    """C_T and what it is the mean of.

    Attributes
    ----------
    c_t
        Mean of `scores` by the share of the test set in each cell; far below 0 where samples are copied, far above 0
        where they lie farther from the training samples than held-out ones do. NaN where no cell counts.
    scores
        (n_cells,) z-score of each cell; NaN for one that does not count.
    deviation
        Standard deviation of `c_t` for a query that is another test set: below -2 of them is rarely chance.
    n_train, n_test, n_query
        (n_cells,) samples of each set in each cell.
    """

    c_t: float
    scores: np.ndarray
    deviation: float
    n_train: np.ndarray
    n_test: np.ndarray
    n_query: np.ndarray


def data_copying(train: Any, test: Any, query: Any, *, n_cells: int = N_CELLS, seed: int = 0) -> Cells:
    """The data-copying test of three sets of features, as dgm-eval makes it.

    Features of more than 64 columns are projected on the first 64 principal components of the training set, which
    k-means then divides into cells. In each cell a Mann-Whitney test compares how far test and query samples are from
    the nearest training sample of that cell.

    Parameters
    ----------
    train, test, query
        (l, d), (n, d) and (m, d) features: what the generator was trained on, other samples of that source, and
        generated ones; numpy or torch.
    n_cells
        Cells of k-means; at most l.
    seed
        Of k-means and of the projection.

    Raises
    ------
    ValueError, TypeError
        For different widths, fewer training samples than cells, or features that are not finite real numbers.

    Notes
    -----
    Sources: Meehan, Chaudhuri and Dasgupta 2020, "A non-parametric test to detect data-copying in generative models",
    arXiv 2004.05675; the cells, the projection and the least number of query samples in a cell (more than 20) as in
    dgm-eval, `dgm_eval/metrics/ct.py`. A cell without test samples has no weight; there it raises an error.
    """
    x = as_features(train, "train")
    t, y = (as_features(given, name, x.shape[1]) for given, name in ((test, "test"), (query, "query")))
    if as_count(n_cells, "n_cells") > len(x):
        raise ValueError(f"n_cells is {n_cells}, but train has {len(x)} samples; ask for at most as many")
    kind = np.result_type(x, t, y)
    sets = _projected([one.astype(kind, copy=False) for one in (x, t, y)], seed)
    from sklearn.cluster import KMeans

    cells = KMeans(n_clusters=n_cells, n_init=10, random_state=seed).fit(sets[0])
    return copying_in_cells(*sets, *(cells.predict(one) for one in sets), n_cells=n_cells)


def copying_in_cells(
    train: np.ndarray,
    test: np.ndarray,
    query: np.ndarray,
    train_cells: np.ndarray,
    test_cells: np.ndarray,
    query_cells: np.ndarray,
    *,
    n_cells: int,
) -> Cells:
    """The same for checked features and the cell, from 0, of each sample."""
    counts = [np.bincount(of, minlength=n_cells) for of in (train_cells, test_cells, query_cells)]
    scores, weights = np.full(n_cells, np.nan), np.zeros(n_cells)
    for cell in range(n_cells):
        n_train, n_test, n_query = (int(one[cell]) for one in counts)
        if n_query <= LEAST_OF_QUERY or not n_train * n_test:
            continue
        here = train[train_cells == cell]
        screen = screen_of(here)
        held_out, generated = (
            nearest_samples(screen, here, of[cells == cell], 1, BLOCK_SIZE)[0][:, 0]
            for of, cells in ((test, test_cells), (query, query_cells))
        )
        scores[cell], weights[cell] = _z_score(generated, held_out), n_test / len(test)
    counted = weights > 0
    if not counted.any():
        return Cells(float("nan"), scores, float("nan"), *counts)
    weights = weights[counted] / weights[counted].sum()
    return Cells(float(weights @ scores[counted]), scores, float(np.sqrt(np.sum(weights**2))), *counts)


def _z_score(generated: np.ndarray, held_out: np.ndarray) -> float:
    """Mann-Whitney U, pairs whose generated sample is the farther one, as a z-score with the authors' correction."""
    from scipy.stats import rankdata

    m, n = len(generated), len(held_out)
    u = rankdata(np.concatenate([generated, held_out]))[:m].sum() - m * (m + 1) / 2
    return float((u - (n * m / 2 - 0.5)) / np.sqrt(n * m * (n + m + 1) / 12))


def _projected(sets: list[np.ndarray], seed: int) -> list[np.ndarray]:
    if sets[0].shape[1] <= N_COMPONENTS:
        return sets
    from sklearn.decomposition import PCA

    projection = PCA(n_components=min(N_COMPONENTS, len(sets[0])), random_state=seed).fit(sets[0])
    return [projection.transform(one) for one in sets]
