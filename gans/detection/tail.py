"""How many samples are broken, and above which score, from the scores of unlabelled samples alone.

Normal samples make the bulk of the scores. The half of it that lies below the mode holds next to no broken sample, so
mirrored about the mode it says how normal samples are spread above it too: the *null*. What there is beyond it is the
tail that chance does not explain. This is the empirical null of Efron, "Large-scale simultaneous hypothesis testing",
JASA 2004, with its centre at the mode and its width from the lower half, because broken samples lie on one side only.
It is right where most samples are normal and normal scores are about symmetric; a skewed but healthy set has a tail
too, so the pictures have the last word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.stats import norm

__all__ = ["FALSE_SHARE", "Tail", "tail_of"]

FALSE_SHARE = 0.05  # of the samples just at the threshold; chosen on folds of the labels, experiments/faces/defaults.py
DOUBT = 0.2  # from where on samples are not taken for normal either: what a correction aims at has to be clear of doubt
MOST = 0.2  # of the samples that are flagged where the null leaves it open how many are broken
FEWEST = 30  # samples; fewer have no shape
_BINS, _RESAMPLES, _FAR = 512, 200, 2.5


@dataclass(frozen=True)
class Tail:
    """The null of n scores and what lies beyond it.

    Attributes
    ----------
    n : int
    mode, spread : float
        Centre and standard deviation of the normal samples' scores.
    normal_share : float in [0, 1]
        Share of all samples that the null holds.
    broken_share_interval : (float, float)
        95 % bootstrap interval of 1 - `normal_share`.
    excess, excess_by_chance : float
        Share of the samples beyond 2.5 spreads above the mode, less the share as far below it; and what 99 % of as
        many N(0, 1) scores stay below.
    """

    n: int
    mode: float
    spread: float
    normal_share: float
    broken_share_interval: tuple[float, float]
    excess: float
    excess_by_chance: float

    @property
    def broken_share(self) -> float:
        """Share of all samples that the null does not explain."""
        return 1 - self.normal_share

    @property
    def is_heavier(self) -> bool:
        """Whether the upper tail is heavier than chance makes it."""
        return self.excess > self.excess_by_chance

    def normal_above(self, threshold: float) -> float:
        """Share of all samples that is normal and scores above the threshold."""
        return float(self.normal_share * norm.sf(threshold, self.mode, self.spread))

    def to_dict(self) -> dict[str, Any]:
        """For JSON, and for `of`."""
        return asdict(self) | {"broken_share_interval": list(self.broken_share_interval)}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Return the one that `to_dict` told."""
        low, high = values["broken_share_interval"]
        return cls(**{**values, "broken_share_interval": (float(low), float(high))})

    def threshold(self, scores: NDArray[np.float64], false_share: float = FALSE_SHARE) -> float:
        """The lowest score from which on at most `false_share` of the samples there are normal.

        The highest of `scores`, which flags none of them, where the tail is no heavier than chance.
        """
        highest = float(scores.max())
        if not self.is_heavier:
            return highest
        centres, density = _density(scores)
        null = self.normal_share * norm.pdf(centres, self.mode, self.spread)
        too_many = np.flatnonzero((centres > self.mode) & (null > false_share * density) & (centres < highest))
        # The null ends before the scores do: only the first run of bins, those next to the mode, is its own.
        run = np.flatnonzero(np.diff(too_many) > 1)
        last = too_many[run[0]] if len(run) else too_many[-1] if len(too_many) else np.argmax(centres > self.mode)
        return min(float(centres[last]), highest)

    def default_threshold(self, scores: NDArray[np.float64]) -> float:
        """The threshold of `FALSE_SHARE`, or a lower one that flags as many samples as may be broken, up to a fifth.

        Where normal samples differ much from each other the null is wide and holds broken ones too, so that the
        threshold alone would leave most of them (experiments/faces/portraits.py). Then the upper end of the interval
        of the broken share counts. A sample that no correction makes more normal stays as it is anyway.
        """
        threshold = self.threshold(scores)
        if not self.is_heavier:
            return threshold
        return min(threshold, float(np.quantile(scores, 1 - min(MOST, self.broken_share_interval[1]))))


def tail_of(scores: NDArray[np.float64], seed: int = 0) -> Tail:
    """Estimate the null of the scores (n,), with a bootstrap of its share.

    With fewer than 30 scores, or all alike, everything is taken for normal.
    """
    if len(scores) < FEWEST or scores.std() == 0:
        return Tail(len(scores), float(np.median(scores)), float(scores.std()) or 1.0, 1.0, (0.0, 0.0), 0.0, 0.0)
    mode, spread, share = _null(scores)
    rng = np.random.default_rng(seed)
    shares = [1 - _null(rng.choice(scores, len(scores)))[2] for _ in range(_RESAMPLES)]
    low, high = np.quantile(shares, (0.025, 0.975))
    by_chance = np.quantile([_excess(rng.standard_normal(len(scores))) for _ in range(_RESAMPLES)], 0.99)
    return Tail(len(scores), mode, spread, share, (float(low), float(high)), _excess(scores), float(by_chance))


def _excess(scores: NDArray[np.float64]) -> float:
    """Share beyond 2.5 spreads above the mode, less the share as far below it."""
    mode, spread, _ = _null(scores)
    return float((scores > mode + _FAR * spread).mean() - (scores < mode - _FAR * spread).mean())


def _null(scores: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mode, spread below it, and twice the share below it."""
    centres, density = _density(scores)
    mode = float(centres[np.argmax(density)])
    below = scores[scores <= mode]
    if len(below) < 2:  # the mode is the lowest score: nothing to mirror
        return mode, float(scores.std()), 1.0
    return mode, float(np.sqrt(((below - mode) ** 2).mean())), min(1.0, 2 * len(below) / len(scores))


def _density(scores: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres of bins, and the density there by a Gaussian kernel: a fifth wider than Silverman's rule of thumb."""
    iqr = float(np.subtract(*np.quantile(scores, [0.75, 0.25])))
    width = 1.1 * min(float(scores.std()), (iqr or float(scores.std())) / 1.34) * len(scores) ** -0.2
    edges = np.linspace(scores.min() - 3 * width, scores.max() + 3 * width, _BINS + 1)
    counts, _ = np.histogram(scores, edges)
    step = edges[1] - edges[0]
    density = gaussian_filter1d(counts.astype(np.float64), width / step, mode="constant") / (len(scores) * step)
    return (edges[:-1] + edges[1:]) / 2, density
