"""How unlike normal images a sample is, learnt from such images against the generator's own samples.

A linear score of features that tells the normal images (0) from the own samples (1). Some own samples are normal, too,
so the 1 is no label of a broken one; but as long as the normal images are like the normal ones among the samples, the
score ranks as one trained on labels would (Elkan and Noto, "Learning classifiers from only positive and unlabeled
data", KDD 2008). Distance to the normal images alone is a worse ranking where they are few or diverse: what is odd and
what is plain blurred lie about as far from them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from genmend.gans.detection.soft_logistic import LinearScore, fit_soft_logistic

__all__ = ["fit_unlike_normal", "unseen_unlike_normal"]

REGULARISATION, N_FOLDS = 1e-3, 5


def fit_unlike_normal(normal: NDArray[np.floating], own: NDArray[np.floating]) -> LinearScore:
    """Fit on features of normal images (m, d) and of own samples (n, d), each set with half of the weight."""
    often = max(1, round(len(own) / len(normal)))
    features = np.concatenate([np.repeat(normal, often, axis=0), own])
    shares = np.repeat([0.0, 1.0], [often * len(normal), len(own)])
    return fit_soft_logistic(features, shares, regularisation=REGULARISATION)


def unseen_unlike_normal(
    normal: NDArray[np.floating], own: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Score each normal image (m,) and each own sample (n,) by a model that saw neither it nor a copy of it."""
    scores = [np.empty(len(normal)), np.empty(len(own))]
    folds = [np.arange(len(part)) % N_FOLDS for part in (normal, own)]
    for fold in range(N_FOLDS):
        model = fit_unlike_normal(normal[folds[0] != fold], own[folds[1] != fold])
        for part, of_part, score in zip((normal, own), folds, scores, strict=True):
            score[of_part == fold] = model(part[of_part == fold])
    return scores[0], scores[1]
