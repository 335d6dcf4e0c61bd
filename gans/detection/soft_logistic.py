"""Logistic regression on soft labels, folded into one weight vector: the supervised detector, the gate, and the judge.

Two raters who judge 0 (normal), 1 (borderline) or 2 (artifact) give each sample a share of artifact in [0, 1]; a sample
of share p counts p times as artifact and 1 - p times as normal. That uses the borderline samples that hard labels drop.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold

__all__ = ["LinearScore", "cross_validated_scores", "fit_on_rows", "fit_soft_logistic"]

REGULARISATIONS = (1e-3, 3e-3, 1e-2)
_ROWS_AT_ONCE, _COLUMNS_AT_ONCE = 128, 512


@dataclass(frozen=True)
class LinearScore:
    """``features @ weights + bias``: the log-odds of being an artifact; higher = more broken.

    `regularisation` is the C of scikit-learn's LogisticRegression that it was fitted with.
    """

    weights: NDArray[np.float64]
    bias: float
    regularisation: float

    def __call__(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Scores (n,) of features (n, d)."""
        scores: NDArray[np.float64] = features.astype(np.float64) @ self.weights + self.bias
        return scores


def fit_soft_logistic(
    features: NDArray[np.floating],
    shares: NDArray[np.floating],
    *,
    regularisation: float | None = None,
    regularisations: Sequence[float] = REGULARISATIONS,
    seed: int = 0,
) -> LinearScore:
    """Fit on standardised features and fold the standardisation into the weights.

    Parameters
    ----------
    features : ndarray (n, d)
        One row per sample, as they come.
    shares : ndarray (n,)
        Share of artifact in [0, 1] of each sample.
    regularisation : float, optional
        scikit-learn's C. Where None it is chosen among `regularisations` by 5-fold cross-validated log-loss.
    regularisations : sequence of float
        What to choose from.
    seed : int
        Of the folds.

    Raises
    ------
    ValueError
        If the lengths differ, a share is outside [0, 1], or one of the two sides is absent.
    """
    shares = _checked_shares(features, shares)
    if regularisation is None:
        losses = [
            _soft_loss(cross_validated_scores(features, shares, regularisation=c, seed=seed), shares)
            for c in regularisations
        ]
        regularisation = regularisations[int(np.argmin(losses))]
    return fit_on_rows(features, np.arange(len(features)), shares, regularisation)


def fit_on_rows(
    features: NDArray[np.floating], rows: NDArray[np.integer], shares: NDArray[np.floating], regularisation: float
) -> LinearScore:
    """What `fit_soft_logistic` does, on these rows of features (n, d), with the share of each row.

    Nothing of their size is held beside the one standardised array in float64 that scikit-learn wants.
    """
    shares = _checked_shares(rows, shares)
    mean, std = _mean_and_deviation(features, rows)
    std[std == 0] = 1
    # A sample of hard label stands on one side only.
    positive, negative = np.flatnonzero(shares > 0), np.flatnonzero(shares < 1)
    standing = rows[np.concatenate([positive, negative])]
    standardised = np.empty((len(standing), features.shape[1]))
    for start in range(0, len(standing), _ROWS_AT_ONCE):
        part = standardised[start : start + _ROWS_AT_ONCE]
        np.subtract(features[standing[start : start + _ROWS_AT_ONCE]], mean, out=part)
        part /= std
    model = LogisticRegression(C=regularisation, max_iter=2000)
    model.fit(
        standardised,
        np.repeat([1, 0], [len(positive), len(negative)]),
        sample_weight=np.concatenate([shares[positive], 1 - shares[negative]]),
    )
    weights = model.coef_[0] / std
    return LinearScore(weights, float(model.intercept_[0] - mean @ weights), float(regularisation))


def _mean_and_deviation(
    features: NDArray[np.floating], rows: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each column (d,), over these rows; numpy alone would hold twice all of them in float64."""
    mean, deviation = np.empty(features.shape[1]), np.empty(features.shape[1])
    for start in range(0, features.shape[1], _COLUMNS_AT_ONCE):
        columns = slice(start, start + _COLUMNS_AT_ONCE)
        values = features[:, columns].take(rows, axis=0)
        mean[columns] = values.mean(axis=0, dtype=np.float64)
        deviation[columns] = values.std(axis=0, dtype=np.float64)
    return mean, deviation


def cross_validated_scores(
    features: NDArray[np.floating],
    shares: NDArray[np.floating],
    *,
    regularisation: float | None = None,
    n_folds: int = 5,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Score each sample by a model that did not see it: (n,). Folds are stratified by the share."""
    shares = _checked_shares(features, shares)
    scores = np.empty(len(shares))
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # Of borderline labels there may be fewer than folds: these need not be in each.
        warnings.filterwarnings("ignore", message="The least populated class")
        split = list(folds.split(features, np.round(shares * 4)))
    for training, held_out in split:
        model = fit_soft_logistic(features[training], shares[training], regularisation=regularisation, seed=seed)
        scores[held_out] = model(features[held_out])
    return scores


def _soft_loss(scores: NDArray[np.float64], shares: NDArray[np.float64]) -> float:
    probabilities: NDArray[np.float64] = expit(scores)
    return float(
        log_loss(
            np.repeat([1, 0], len(shares)),
            np.concatenate([probabilities, probabilities]),
            sample_weight=np.concatenate([shares, 1 - shares]),
        )
    )


def _checked_shares(features: NDArray[np.generic], shares: NDArray[np.floating]) -> NDArray[np.float64]:
    checked: NDArray[np.float64] = np.asarray(shares, dtype=np.float64)
    if checked.shape != (len(features),):
        raise ValueError(f"There are {len(features)} samples and shares of shape {checked.shape}; give one per sample.")
    if not ((checked >= 0) & (checked <= 1)).all():
        raise ValueError("A share lies outside [0, 1]; give 0 for normal, 1 for artifact, 0.5 for borderline.")
    if not checked.sum() or checked.sum() == len(checked):
        raise ValueError(
            "All samples of a fold carry the same label; give both normal ones and artifacts, a dozen of each or more."
        )
    return checked
