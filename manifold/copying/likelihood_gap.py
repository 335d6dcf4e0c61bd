"""The generalisation gap of FLD: are training samples likelier than held-out ones under the generated samples?

The density is a mixture of isotropic Gaussians, one at each generated sample. Their variances are fitted to the
training samples by 50 steps of Adam, so that a Gaussian at a copy becomes very narrow.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from genmend.manifold.engine.inputs import as_features

__all__ = ["likelihood_gap"]

MOST_OF_QUERY = 10_000
_STEPS, _RATE, _DECAY, _SQUARE_DECAY, _TINY = 50, 0.5, 0.9, 0.999, 1e-8
_LEAST_LOG, _LARGEST_LOG = -40.0, 20.0  # of a variance
_ADDED = 1e-3  # to the squared distances that the variances start from
_BACKGROUND = (1 - 0.1) ** 2  # of the squared distance from the middle of the training set
_CANCELLED = 1e-6
_ROWS = 512


def likelihood_gap(train: Any, test: Any, query: Any, *, seed: int = 0) -> float:
    """FLD's generalisation gap: 100 times the difference of nats per feature, training minus test; 0 is best.

    Far below 0 the training samples are likelier than held-out ones: the generator has memorised.

    Parameters
    ----------
    train, test, query
        (l, d), (n, d) and (m, d) features, l and m at least 1, n at least 2; numpy or torch. Of more than 10,000 query
        samples as many are drawn.
    seed
        Of that draw.

    Returns
    -------
    float
        NaN where no feature of the test set varies.

    Raises
    ------
    ValueError, TypeError
        For different widths, a test set of one sample, or features that are not finite real numbers.

    Notes
    -----
    Source: Jiralerspong et al. 2023, "Feature Likelihood Divergence", arXiv 2302.04440, and its code,
    github.com/marcojira/fld, `fld/metrics/FLD.py` ("gap") and `fld/MoG.py`: features in units of the test set's mean
    and deviation, the start, the steps and the background component. Here in float64, there in float32; all training
    samples make one step, there 10,000 at a time; features that do not vary over the test set are left out, there they
    make the result undefined. Takes 50 times l m exponentials.
    """
    x = as_features(train, "train")
    t, y = (as_features(given, name, x.shape[1]) for given, name in ((test, "test"), (query, "query")))
    if len(t) < 2:
        raise ValueError("test has 1 sample, and one sample has no spread; give at least 2")
    if len(y) > MOST_OF_QUERY:
        y = y[np.random.default_rng(seed).choice(len(y), MOST_OF_QUERY, replace=False)]
    middle, deviation = t.mean(axis=0, dtype=np.float64), t.std(axis=0, ddof=1, dtype=np.float64)
    varies = deviation > 0
    if not varies.any():
        return float("nan")
    x, t, y = ((one[:, varies] - middle[varies]) / deviation[varies] for one in (x, t, y))
    logs = _fitted(x, y)
    nats = [-float(np.mean(_log_likelihoods(one, y, logs))) / x.shape[1] for one in (x, t)]
    return 100 * (nats[0] - nats[1])


def _fitted(x: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """(m,) logarithms of the variances under which `x` is likely, by Adam's steps from the distances to it."""
    n, d = x.shape
    background = _BACKGROUND * np.square(x - x.mean(axis=0)).sum(axis=1)
    least = np.full(len(centers), np.inf)
    for rows in _blocks(n):
        np.minimum(least, _squared_distances(x[rows], centers).min(axis=0), out=least)
    # The last entry is the variance of the background.
    logs = np.append(np.log((least + _ADDED) / d), 0.0)
    mean, square = np.zeros_like(logs), np.zeros_like(logs)
    for step in range(1, _STEPS + 1):
        slope = np.zeros_like(logs)
        for rows in _blocks(n):
            squared = np.column_stack([_squared_distances(x[rows], centers), background[rows]])
            shares, _ = _shares(squared, logs, d)
            slope += np.sum(shares * (squared / np.exp(logs) - d), axis=0)
        slope *= -0.5 / (n * d)
        mean = _DECAY * mean + (1 - _DECAY) * slope
        square = _SQUARE_DECAY * square + (1 - _SQUARE_DECAY) * slope**2
        corrected = np.sqrt(square / (1 - _SQUARE_DECAY**step)) + _TINY
        logs -= _RATE * mean / (1 - _DECAY**step) / corrected
        logs[:-1] = np.clip(logs[:-1], _LEAST_LOG, _LARGEST_LOG)
    return logs[:-1]


def _shares(squared: np.ndarray, logs: np.ndarray, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each component in the likelihood of each row, and the logarithms of the likelihoods.

    The last component, the background, has weight 1; the others share as much.
    """
    terms = -0.5 * (squared / np.exp(logs) + d * (logs + np.log(2 * np.pi)))
    terms[:, :-1] -= np.log(squared.shape[1] - 1)
    largest = terms.max(axis=1, keepdims=True)
    shares = np.exp(terms - largest)
    total = shares.sum(axis=1, keepdims=True)
    return shares / total, (largest + np.log(total))[:, 0]


def _log_likelihoods(x: np.ndarray, centers: np.ndarray, logs: np.ndarray) -> np.ndarray:
    """(n,) under the Gaussians alone, without a background."""
    found = np.empty(len(x))
    d, weight = x.shape[1], np.log(len(centers))
    for rows in _blocks(len(x)):
        terms = -0.5 * (_squared_distances(x[rows], centers) / np.exp(logs) + d * (logs + np.log(2 * np.pi))) - weight
        largest = terms.max(axis=1)
        found[rows] = largest + np.log(np.exp(terms - largest[:, None]).sum(axis=1))
    return found


def _squared_distances(x: np.ndarray, centers: np.ndarray) -> np.ndarray:
    norms = np.square(x).sum(axis=1)[:, None] + np.square(centers).sum(axis=1)
    squared = norms - 2 * x @ centers.T
    i, j = np.nonzero(squared < _CANCELLED * norms)  # of copies: little is left of the digits
    squared[i, j] = np.square(x[i] - centers[j]).sum(axis=1)
    return squared


def _blocks(n: int) -> list[slice]:
    return [slice(start, min(start + _ROWS, n)) for start in range(0, n, _ROWS)]
