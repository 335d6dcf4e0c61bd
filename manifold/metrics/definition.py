"""Precision, recall, density, coverage and rarity by definition: slow, obvious, float64, numpy alone.

Documentation that runs, and what the tests compare the fast code with, of which nothing is used here. It holds the
table of all distances, so it is for small sets; `genmend.manifold.prdc` and `genmend.manifold.Manifold` give the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["distances", "prdc_by_definition", "radii"]


def distances(a: Any, b: Any) -> np.ndarray:
    """(m, n) Euclidean distances of the m samples of `a` to the n samples of `b`, from their differences."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return np.array([np.sqrt(((b - row) ** 2).sum(axis=1)) for row in a])


def radii(samples: Any, k: int) -> np.ndarray:
    """(n,) distance of each sample to its k-th nearest other sample; a duplicate is another sample, at distance 0."""
    table = distances(samples, samples)
    np.fill_diagonal(table, np.inf)
    return np.sort(table, axis=1)[:, k - 1]


def prdc_by_definition(reference: Any, query: Any, k: int = 3, closed: bool = True) -> dict[str, Any]:
    """Precision, recall, density, coverage, and the (m,) rarity of the queries, NaN outside.

    Parameters
    ----------
    reference, query
        (n, d) real and (m, d) generated samples, n and m at least k + 1.
    k
        Each sample has a ball that reaches to its k-th nearest other sample of the same set.
    closed
        Whether a ball contains its sphere.

    Notes
    -----
    Sources: Kynkäänniemi et al. 2019, arXiv 1904.06991, eq. 1 and 2 (balls, precision, recall); Naeem et al. 2020,
    arXiv 2002.09797, eq. 3 and 4 (density, coverage); Han et al. 2023, arXiv 2206.08549 (rarity).

    Examples
    --------
    >>> found = prdc_by_definition([[0.0], [1.0], [3.0], [7.0]], [[0.5], [2.0], [5.5], [12.0]], k=1)
    >>> [float(found[name]) for name in ("precision", "recall", "density", "coverage")]
    [0.75, 1.0, 1.25, 1.0]
    >>> found["rarity"]
    array([ 1.,  1.,  4., nan])
    """
    within = np.less_equal if closed else np.less
    table, reference_radii, query_radii = distances(query, reference), radii(reference, k), radii(query, k)
    inside = within(table, reference_radii)  # (m, n): the query lies in the ball of the reference sample
    recalled = within(table, query_radii[:, None])  # (m, n): the reference sample lies in the ball of the query
    smallest = np.where(inside, reference_radii, np.inf).min(axis=1)
    return {
        "precision": inside.any(axis=1).mean(),
        "recall": recalled.any(axis=0).mean(),
        "density": inside.sum(axis=1).mean() / k,
        "coverage": inside.any(axis=0).mean(),
        "rarity": np.where(inside.any(axis=1), smallest, np.nan),
    }
