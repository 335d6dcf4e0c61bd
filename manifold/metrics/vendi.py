"""Vendi score: the effective number of different samples in one set."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np

from genmend.manifold.engine.inputs import as_features

_ROWS = 4096
_ROUNDING = 1e-12  # of the largest eigenvalue
N_SUBSETS, SUBSET_SIZE = 10, 1000


def vendi_score(features: Any, q: float = 1.0) -> float:
    """Effective number of distinct directions among the samples, in [1, min(n, d + 1)]; higher is more diverse.

    The exponential of the entropy of the eigenvalues of K / n, where K holds the cosine similarities of all pairs. No
    reference takes part, so noise is diverse too. Features are not centred: samples that share a large offset look
    alike.

    Parameters
    ----------
    features
        (n, d) features; numpy or torch. A row of zeros has no direction: all such rows count as one direction of
        their own, so that each sample is similar to itself.
    q
        Order, from 0 to infinity: below 1 rare kinds of samples count more, above it common ones. 0 counts directions,
        infinity looks at the commonest alone; the score falls with q.

    Raises
    ------
    ValueError, TypeError
        For features that are not finite real numbers in two dimensions, or an order below 0.

    Notes
    -----
    Sources: Friedman and Dieng, "The Vendi Score", arXiv 2210.02410; orders other than 1: Pasarkar and Dieng, "Cousins
    of the Vendi Score", arXiv 2310.12952, the exponential of Renyi's entropy of order q. The eigenvalues other than 0
    are those of the d x d matrix of second moments as well, and the smaller of the two is taken.

    Examples
    --------
    >>> round(vendi_score([[1.0, 0.0], [0.0, 3.0], [0.0, 5.0], [2.0, 0.0]]), 6)
    2.0
    """
    rows = as_features(features, "features")
    if not isinstance(q, Real) or isinstance(q, bool) or not q >= 0:
        raise ValueError(f"q is {q!r}; a number of at least 0 is accepted, infinity included, 1 is usual")
    n, d = rows.shape
    if n <= d:
        directions = _directions(rows)
        similarity = directions @ directions.T
    else:
        similarity = np.zeros((d + 1, d + 1))
        for start in range(0, n, _ROWS):
            directions = _directions(rows[start : start + _ROWS])
            similarity += directions.T @ directions
    eigenvalues = np.linalg.eigvalsh(similarity / n)
    eigenvalues = eigenvalues[eigenvalues > 0]  # rounding leaves some of the zeros slightly off it
    if q == 1:
        return float(np.exp(-np.sum(eigenvalues * np.log(eigenvalues))))
    if np.isinf(q):
        return float(1 / eigenvalues.max())
    if q < 1:  # those that are rounding alone would count
        eigenvalues = eigenvalues[eigenvalues > _ROUNDING * eigenvalues.max()]
    return float(np.sum(eigenvalues ** float(q)) ** (1 / (1 - float(q))))


def vendi_influence(features: np.ndarray) -> np.ndarray:
    """(n,) how much the logarithm of the score would rise if samples like each were more: it falls for common ones.

    The derivative of the entropy -tr(S log S) of the second moments S towards the sample u: -u' log(S) u - entropy.
    """
    directions = _directions(features)
    eigenvalues, vectors = np.linalg.eigh(directions.T @ directions / len(directions))
    seen = eigenvalues > _ROUNDING * eigenvalues.max()
    logarithms = np.log(eigenvalues[seen])
    entropy = -float(np.sum(eigenvalues[seen] * logarithms))
    found: np.ndarray = -((directions @ vectors[:, seen]) ** 2 @ logarithms) - entropy
    return found


def vendi_over_subsets(reference: Any, query: Any, *, seed: int = 0) -> dict[str, float]:
    """Mean and standard deviation of the score over 10 random subsets, as large of the query as of the reference.

    The score grows with the number of samples, so these can be compared where the two sets differ in size. A subset
    holds 1,000 samples without replacement, or half the smaller set where that is less; NaN for sets of one sample.
    """
    sets = {"vendi_reference": as_features(reference, "reference"), "vendi": as_features(query, "query")}
    size = min(SUBSET_SIZE, min(map(len, sets.values())) // 2)
    rng = np.random.default_rng(seed)
    found = {}
    for name, rows in sets.items():
        scores = [
            vendi_score(rows[rng.choice(len(rows), size, replace=False)]) for _ in range(N_SUBSETS if size else 0)
        ]
        found[f"{name}_subsets_mean"] = float(np.mean(scores)) if scores else float("nan")
        found[f"{name}_subsets_std"] = float(np.std(scores)) if scores else float("nan")
    return found


def _directions(features: np.ndarray) -> np.ndarray:
    """(n, d + 1) float64 unit rows; the last column is the direction of rows of zeros."""
    largest = np.abs(features).max(axis=1, keepdims=True).astype(np.float64)
    zero = largest == 0
    rows = features / np.where(zero, 1, largest)  # so that squares neither overflow nor underflow
    rows /= np.where(zero, 1, np.linalg.norm(rows, axis=1, keepdims=True))
    return np.hstack([rows, zero])
