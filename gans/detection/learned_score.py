"""Linear scores that need no label of a sample: taught by suspicion among own samples, or by images that are normal.

*By suspicion*: the samples that other scores put at the top are told from those they put at the bottom by a logistic
regression on the features; the ones between are left out. The regression finds the directions in which broken samples
differ and forgets what else is unusual, so it detects better than the scores that taught it (self-training; figures in
experiments/faces/defaults.py), and needs nothing but the image. It is learnt twice: first on neurons of the generator's
early layers, then on the image, taught by what the neurons say. Two views of a sample teach each other better than one
does itself (co-training: Blum and Mitchell, COLT 1998).

*By normal images*: these (0) are told from the own samples (1). Some own samples are normal, too, so the 1 is no label
of a broken one; but as long as the normal images are like the normal ones among the samples, the score ranks as one
trained on labels would (Elkan and Noto, "Learning classifiers from only positive and unlabeled data", KDD 2008).
Distance to the normal images alone is a worse ranking where they are few or diverse: what is odd and what is plain
blurred lie about as far from them.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm, rankdata, spearmanr
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from torch import Tensor

from genmend.gans.detection.soft_logistic import LinearScore, fit_on_rows, fit_soft_logistic
from genmend.gans.generator import Generator, early_layers, recorded_batches

__all__ = [
    "SUSPECTS",
    "agreement",
    "early_activity",
    "fit_learned_score",
    "fit_unlike_normal",
    "suspicion",
    "unseen_unlike_normal",
]

SUSPECTS, TRUSTED = 0.2, 0.6  # shares of the own samples: the most suspicious, and the least
_REGULARISATION, _N_FOLDS, FEWEST_SUSPECTS = 1e-3, 5, 2
_MOST_NEURONS = 8_192  # that are looked at; all 24,576 of the face generator's two early layers detect no better


def suspicion(*parts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of the parts' normal scores, (n,): ranks as quantiles of N(0, 1), so that no part's tail outweighs another.

    A part whose values are all alike says nothing and is left out.
    """
    telling = [part for part in parts if part.std() > 0]
    if not telling:
        return np.zeros(len(parts[0]))
    scores: NDArray[np.float64] = np.mean([norm.ppf((rankdata(p) - 0.5) / len(p)) for p in telling], axis=0)
    return scores


def agreement(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Spearman's correlation of two scores (n,) of the same samples; 0 where they disagree or one is constant."""
    if one.std() == 0 or other.std() == 0:
        return 0.0
    return max(0.0, float(spearmanr(one, other).statistic))


def early_activity(generator: Generator, latents: Tensor, *, progress: bool = False) -> NDArray[np.float32]:
    """Positive part of neurons in the `early_layers`, (n, d): 8,192 at most, evenly spaced, as many of each layer."""
    layers = early_layers(generator.layers)
    most, activity, done = _MOST_NEURONS // len(layers), np.empty((0, 0), np.float32), 0
    for outputs in recorded_batches(generator, latents, layers, "neurons", progress):
        columns = []
        for layer in layers:
            values = outputs[layer].flatten(1)
            n = values.shape[1]
            picked = torch.linspace(0, n - 1, min(n, most), dtype=torch.float64, device=values.device).long()
            columns.append(values[:, picked].clamp(min=0).float().nan_to_num().cpu())
        found = torch.cat(columns, dim=1).numpy()
        # In one array from the start: pieces and what they are joined to would be held at once.
        if not done:
            activity = np.empty((len(latents), found.shape[1]), np.float32)
        activity[done : done + len(found)] = found
        done += len(found)
    return activity


def fit_learned_score(
    features: NDArray[np.floating], suspicious: NDArray[np.float64], seed: int = 0
) -> tuple[LinearScore, NDArray[np.float64], float] | None:
    """Learn what the most suspicious samples have in common.

    Parameters
    ----------
    features : (n, d)
    suspicious : (n,)
        Higher = more likely broken.
    seed : int
        Of the folds.

    Returns
    -------
    score : LinearScore
        Fitted on all.
    own : ndarray (n,)
        The score of each sample by a model that did not see it: those of a model's own training set are too far apart.
    auroc : float in [0, 1]
        How well `own` tells the most suspicious from the least.

    None where too few samples stand out to learn from.
    """
    top = suspicious > np.quantile(suspicious, 1 - SUSPECTS)
    kept = np.flatnonzero(top | (suspicious <= np.quantile(suspicious, TRUSTED)))
    n_folds = min(_N_FOLDS, int(top.sum()))
    if n_folds < FEWEST_SUSPECTS:
        return None
    between = np.setdiff1d(np.arange(len(top)), kept)
    shares, own = top.astype(np.float64), np.empty(len(top))
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(kept, top[kept])
    for fold, (training, held_out) in enumerate(folds):
        rows = np.concatenate([kept[held_out], between[fold::n_folds]])
        model = fit_on_rows(features, kept[training], shares[kept[training]], _REGULARISATION)
        own[rows] = model(features[rows])
    score = fit_on_rows(features, kept, shares[kept], _REGULARISATION)
    return score, own, float(roc_auc_score(top[kept], own[kept]))


def fit_unlike_normal(normal: NDArray[np.floating], own: NDArray[np.floating]) -> LinearScore:
    """Fit on features of normal images (m, d) and of own samples (n, d), each set with half of the weight."""
    often = max(1, round(len(own) / len(normal)))
    features = np.concatenate([np.repeat(normal, often, axis=0), own])
    shares = np.repeat([0.0, 1.0], [often * len(normal), len(own)])
    return fit_soft_logistic(features, shares, regularisation=_REGULARISATION)


def unseen_unlike_normal(
    normal: NDArray[np.floating], own: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Score each normal image (m,) and each own sample (n,) by a model that saw neither it nor a copy of it."""
    scores = [np.empty(len(normal)), np.empty(len(own))]
    folds = [np.arange(len(part)) % _N_FOLDS for part in (normal, own)]
    for fold in range(_N_FOLDS):
        model = fit_unlike_normal(normal[folds[0] != fold], own[folds[1] != fold])
        for part, of_part, score in zip((normal, own), folds, scores, strict=True):
            score[of_part == fold] = model(part[of_part == fold])
    return scores[0], scores[1]
