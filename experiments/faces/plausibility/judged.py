"""Judges that steered nothing: still flagged, plausible, diverse, and still the same picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from sklearn.model_selection import StratifiedKFold
from torch import Tensor

from experiments.faces.correction import cosine, fit_judge
from experiments.faces.labelled import LabelledFaces
from experiments.faces.plausibility.mended import Mended, angles
from experiments.intervals import mean_with_interval
from genmend.gans.detection.soft_logistic import cross_validated_scores

N_FOLDS = 5


def judged_rows(
    mended: Mapping[str, Mended],
    samples: LabelledFaces,
    labelled_features: np.ndarray,
    extractor: Callable[[Tensor], Tensor],
    seed: int,
    steering_diversity: Mapping[str, float],
) -> list[dict]:
    """One row a method; every sample is judged by the fold that did not see it.

    `steering_diversity`: of each method in the features that steer the stop rule, over that of clean samples.
    """
    broken = np.flatnonzero(samples.artifact)
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed)
    parts = list(folds.split(labelled_features, np.round(samples.share * 4)))
    judges = [_judge(labelled_features[training], samples, training) for training, _ in parts]
    clean = labelled_features[samples.normal]
    first = next(iter(mended.values()))
    original = extractor(first.images).numpy()
    rows = []
    for method, done in mended.items():
        features = extractor(done.images).numpy()
        flagged, plausible = np.zeros(len(broken), dtype=bool), np.zeros(len(broken), dtype=bool)
        for (_, test), (score, threshold, limit) in zip(parts, judges, strict=True):
            own = np.isin(broken, test)
            scores = score(features[own])
            flagged[own], plausible[own] = scores > threshold, scores <= limit
        rows.append(
            {
                "method": method,
                **_share("flagged", flagged, seed),
                **_share("plausible", plausible, seed),
                "diversity": spread(features) / spread(clean),
                "steering_diversity": steering_diversity[method],
                "cosine": float(cosine(features, original).mean()),
                "angle": float(angles(first.latents, done.latents).mean()),
                "given_up": done.n_given_up / len(broken),
            }
        )
    return rows


def spread(features: np.ndarray) -> float:
    """Mean Euclidean distance over all pairs."""
    squared = (features**2).sum(1)
    distances = np.sqrt(np.maximum(squared[:, None] + squared[None] - 2 * features @ features.T, 0))
    return float(distances[np.triu_indices(len(features), 1)].mean())


def _judge(features: np.ndarray, samples: LabelledFaces, rows: np.ndarray):
    """A score, the threshold of 5 % false alarms, and the score below which a sample is called plausible.

    As many training samples lie below the latter as the raters call normal.
    """
    judge = fit_judge(features, samples.share[rows], samples.normal[rows])
    unseen = cross_validated_scores(features, samples.share[rows], regularisation=judge.score.regularisation)
    return judge.score, judge.threshold, float(np.quantile(unseen, samples.normal[rows].mean()))


def _share(name: str, hits: np.ndarray, seed: int) -> dict:
    value, low, high = mean_with_interval(hits, seed)
    return {name: float(value), f"{name}_interval": [float(low), float(high)]}
