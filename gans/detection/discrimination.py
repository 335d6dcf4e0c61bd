"""How well a score tells broken samples from normal ones: AUROC with its interval, ROC and precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score, roc_curve

from genmend.manifold.metrics.bootstrap import percentile_interval

__all__ = ["Discrimination", "discrimination"]

N_RESAMPLES, MOST_POINTS = 2_000, 200


@dataclass(frozen=True)
class Discrimination:
    """What a score is worth against labels.

    Attributes
    ----------
    auroc : float
        Share of the pairs of a broken and a normal sample of which the broken one scores higher.
    interval : (float, float)
        95 %, by a bootstrap inside each kind.
    n_normal, n_broken : int
    thresholds, false_alarms, hits, precision : ndarray (m,)
        The curve, from strict to lax: above `thresholds` lie these shares of the normal and of the broken samples, and
        of all samples above it this share is broken, at the labels' own mix of the two.
    """

    auroc: float
    interval: tuple[float, float]
    n_normal: int
    n_broken: int
    thresholds: NDArray[np.float64]
    false_alarms: NDArray[np.float64]
    hits: NDArray[np.float64]
    precision: NDArray[np.float64]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON's view."""
        return {
            "auroc": self.auroc,
            "interval": list(self.interval),
            "n_normal": self.n_normal,
            "n_broken": self.n_broken,
            "curve": {
                name: getattr(self, name).tolist() for name in ("thresholds", "false_alarms", "hits", "precision")
            },
        }


def discrimination(scores: NDArray[np.floating], broken: NDArray[np.bool_], *, seed: int = 0) -> Discrimination:
    """Measure a score, higher = more broken, against labels.

    Parameters
    ----------
    scores : ndarray (n,)
    broken : ndarray (n,)
        Both kinds have to be there.
    seed : int
        Of the 2,000 resamples.
    """
    false_alarms, hits, thresholds = roc_curve(broken, scores)
    kept = np.unique(np.linspace(1, len(hits) - 1, min(MOST_POINTS, len(hits) - 1)).round().astype(int))
    false_alarms, hits, thresholds = false_alarms[kept], hits[kept], thresholds[kept]
    n_broken, n_normal = int(broken.sum()), int((~broken).sum())
    found, wrong = hits * n_broken, false_alarms * n_normal
    return Discrimination(
        float(roc_auc_score(broken, scores)),
        _interval(scores, broken, seed),
        n_normal,
        n_broken,
        thresholds,
        false_alarms,
        hits,
        found / (found + wrong),
    )


def _interval(scores: NDArray[np.floating], broken: NDArray[np.bool_], seed: int) -> tuple[float, float]:
    """Percentile interval; each resample weights the samples, so that nothing is sorted again."""
    normal, high = np.sort(scores[~broken]), scores[broken]
    below, up_to = np.searchsorted(normal, high, "left"), np.searchsorted(normal, high, "right")
    rng, drawn = np.random.default_rng(seed), np.empty(N_RESAMPLES)
    for number in range(N_RESAMPLES):
        counts = np.bincount(rng.integers(len(normal), size=len(normal)), minlength=len(normal))
        passed = np.concatenate([[0], np.cumsum(counts)])
        chosen = rng.integers(len(high), size=len(high))
        drawn[number] = (passed[below[chosen]] + passed[up_to[chosen]]).mean() / (2 * len(normal))
    return percentile_interval(drawn)
