"""Vendi score: the effective number of different samples in one set."""

from __future__ import annotations

from typing import Any

import numpy as np

from genmend.manifold.engine.inputs import as_features

_ROWS = 4096


def vendi_score(features: Any) -> float:
    """Effective number of distinct directions among the samples, in [1, min(n, d + 1)]; higher is more diverse.

    The exponential of the entropy of the eigenvalues of K / n, where K holds the cosine similarities of all pairs. No
    reference takes part, so noise is diverse too. Features are not centred: samples that share a large offset look
    alike.

    Parameters
    ----------
    features
        (n, d) features; numpy or torch. A row of zeros has no direction: all such rows count as one direction of
        their own, so that each sample is similar to itself.

    Raises
    ------
    ValueError, TypeError
        For features that are not finite real numbers in two dimensions.

    Notes
    -----
    Source: Friedman and Dieng, "The Vendi Score", order 1, arXiv 2210.02410. The eigenvalues other than 0 are
    those of the d x d matrix of second moments as well, and the smaller of the two is taken.

    Examples
    --------
    >>> round(vendi_score([[1.0, 0.0], [0.0, 3.0], [0.0, 5.0], [2.0, 0.0]]), 6)
    2.0
    """
    rows = as_features(features, "features")
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
    return float(np.exp(-np.sum(eigenvalues * np.log(eigenvalues))))


def _directions(features: np.ndarray) -> np.ndarray:
    """(n, d + 1) float64 unit rows; the last column is the direction of rows of zeros."""
    largest = np.abs(features).max(axis=1, keepdims=True).astype(np.float64)
    zero = largest == 0
    rows = features / np.where(zero, 1, largest)  # so that squares neither overflow nor underflow
    rows /= np.where(zero, 1, np.linalg.norm(rows, axis=1, keepdims=True))
    return np.hstack([rows, zero])
