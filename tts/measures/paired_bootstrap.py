"""Did a change help: the difference over the same sentences, with how far it would scatter over others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from genmend.manifold.metrics.bootstrap import percentile_interval, resampled_means

__all__ = ["PairedDifference", "paired_bootstrap"]


@dataclass(frozen=True)
class PairedDifference:
    """After minus before, over the same sentences.

    Attributes
    ----------
    before, after : float
        (Weighted) means.
    difference : float
        after - before.
    low, high : float
        95 % interval of the difference.
    better, worse, same : int
        Sentences whose value improved, got worse, or stayed.
    """

    before: float
    after: float
    difference: float
    low: float
    high: float
    better: int
    worse: int
    same: int

    @property
    def n(self) -> int:
        """Sentences."""
        return self.better + self.worse + self.same

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"n": self.n, **asdict(self)}


def paired_bootstrap(
    before: Sequence[float] | np.ndarray,
    after: Sequence[float] | np.ndarray,
    *,
    weights: Sequence[float] | np.ndarray | None = None,
    lower_is_better: bool = True,
    n_resamples: int = 10_000,
    seed: int = 0,
) -> PairedDifference:
    """Estimate the difference of two means and its 95 % interval: pairs are drawn again (percentile method).

    Parameters
    ----------
    before, after
        (n,) one value for each sentence, e.g. its phoneme error rate, in the same order; at least 2.
    weights
        (n,) above 0, e.g. how many phonemes each sentence has: the difference is then that of the rates over all
        phonemes, errors / phonemes. All alike by default.
    lower_is_better
        For an error rate True, for a naturalness False: what `better` counts.
    seed
        Of the draws; the same seed gives the same interval.

    Raises
    ------
    ValueError
        If the lengths differ, there are fewer than 2 sentences, values are not finite, or weights not above 0.
    """
    was, now = _values("before", before), _values("after", after)
    heavy = np.ones(len(was)) if weights is None else _values("weights", weights)
    if not len(was) == len(now) == len(heavy) >= 2:
        raise ValueError(
            f"There are {len(was)} values before, {len(now)} after and {len(heavy)} weights; "
            f"give at least 2 of each, one for each sentence in the same order."
        )
    if not (heavy > 0).all():
        raise ValueError(f"weights go down to {heavy.min():g}, and above 0 is accepted; leave such sentences out.")
    change = now - was
    means = resampled_means(np.stack([heavy * change, heavy], axis=1), n_resamples, np.random.default_rng(seed))
    low, high = percentile_interval(means[:, 0] / means[:, 1])
    improved = change < 0 if lower_is_better else change > 0
    same = int((change == 0).sum())
    better = int(improved.sum())
    return PairedDifference(
        before=float(np.average(was, weights=heavy)),
        after=float(np.average(now, weights=heavy)),
        difference=float(np.average(change, weights=heavy)),
        low=low,
        high=high,
        better=better,
        worse=len(change) - better - same,
        same=same,
    )


def _values(name: str, given: Sequence[float] | np.ndarray) -> np.ndarray:
    values = np.asarray(given, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError(f"{name} has shape {values.shape} or numbers that are not finite; give one for each sentence.")
    return values
