"""How far totals would move had other samples been drawn: intervals from subsamples of both sets.

A total depends on every sample twice: as one of those it averages over, and through the balls, which move with their
neighbours. Drawing per-sample values again would hold the balls fixed and give intervals that are too narrow. So
all is computed anew on subsamples without replacement, with radii of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from genmend.manifold.metrics.calibration import calibrated_clipped_coverage

__all__ = ["INTERVAL_WORDS", "other_draws", "subsample_intervals", "subsample_sizes", "subsampled_totals"]

LEVEL = 0.95
# The share of each set in a subsample. Small ones have wider balls and, in many dimensions, fewer hubs, which makes
# intervals too narrow; large ones overlap, which makes them too wide (see `subsample_intervals`).
SHARE, LARGEST_SHARE = 0.3, 0.5
_QUANTILES = 201  # of a normal distribution, over which a function's mean is taken
LEAST_NEIGHBORHOODS = 10  # samples of a subsample for each neighbour, where the set has them

INTERVAL_WORDS = (
    "95 % intervals of the mean over other samples as many as these: from {n} subsamples without replacement, "
    "{reference} reference and {query} query samples each, with balls of their own"
)

Totals = Mapping[Any, Mapping[str, float]]


def subsample_sizes(n: int, m: int, k: int) -> tuple[int, int]:
    """Samples of a subsample of n reference and of m query samples: the same share of both, each more than k.

    0, 0 where a set is too small to leave any out.
    """
    wanted = [max(SHARE, min(LARGEST_SHARE, LEAST_NEIGHBORHOODS * k / size), (k + 1) / size) for size in (n, m)]
    sizes = [max(k + 1, round(max(wanted) * size)) for size in (n, m)]
    return (sizes[0], sizes[1]) if sizes[0] < n and sizes[1] < m else (0, 0)


def subsampled_totals(
    compute: Callable[[np.ndarray, np.ndarray], Totals],
    sizes: tuple[int, int],
    of_subsamples: tuple[int, int],
    n_subsamples: int,
    seed: int,
) -> list[Totals]:
    """Totals of random subsamples of both sets, by k and name; none where a set is too small to leave any out.

    The rows drawn of one set depend on its size and the seed alone: two queries are compared with the same parts of a
    reference, and, where they are equally many, by the same rows.

    Parameters
    ----------
    compute
        Gives the totals for the rows of the reference and of the query that it is called with, ascending.
    sizes, of_subsamples
        Numbers of reference and query samples: of all, and of a subsample (`subsample_sizes`).
    n_subsamples
        At least 2.
    seed
        Of the draws.
    """
    if not all(of_subsamples):
        return []
    rngs = [np.random.default_rng([seed, side]) for side in range(2)]
    found = []
    for _ in range(n_subsamples):
        rows = [
            np.sort(rng.choice(size, b, replace=False)) for rng, size, b in zip(rngs, sizes, of_subsamples, strict=True)
        ]
        found.append(compute(*rows))
    return found


def subsample_intervals(
    totals: Totals, replicates: Sequence[Totals], sizes: tuple[int, int], of_subsamples: tuple[int, int]
) -> dict[Any, dict[str, tuple[float, float]]]:
    """95 % intervals of the mean of each total over draws of both sets, by k and name; NaN where undefined.

    Parameters
    ----------
    totals
        By k and name: of all samples.
    replicates
        The same of subsamples, as `subsampled_totals` gives them.
    sizes, of_subsamples
        Numbers of reference and query samples: of all, and of a subsample.

    Notes
    -----
    With b of n samples the variance of a mean over subsamples is that over sets of b, less the share b / n that the
    subsamples have in common; so sd_n = sd_b sqrt(b / (n - b)), and the interval is total +- t sd_n with Student's t.
    For a total in which samples act together by k-th order terms, as neighbours do, the factor is too large by up to
    (1 - r^k) / (1 - r) in variance, r = b / n, and it grows with n in many dimensions: at r = 0.3 the two nearly
    cancel. experiments/images/interval_coverage.py counts how often the intervals hold: 93 to 99 % for sets of one
    distribution, 89 to 92 % for density and coverage of a query that crowds the reference's middle.
    Sources: Politis and Romano 1994, "Large sample confidence regions based on subsamples under minimal assumptions";
    the correction for what is left out: Shao and Wu 1989, "A general theory for jackknife variance estimation"
    (delete-d jackknife).
    """
    if not replicates:
        return {k: {name: (np.nan, np.nan) for name in at if name not in _NOT_ESTIMATED} for k, at in totals.items()}
    factor, quantile = _factor(sizes, of_subsamples), _quantile_of_t(len(replicates) - 1)
    found: dict[Any, dict[str, tuple[float, float]]] = {}
    for k, at in totals.items():
        ends = found[k] = {
            name: _interval(name, total, np.array([one[k][name] for one in replicates]), factor * quantile)
            for name, total in at.items()
            if name not in _NOT_ESTIMATED
        }
        for name, (of, function) in _functions(sizes, k).items():
            if name in ends:
                values = np.array([one[k][of] for one in replicates])
                ends[name] = _interval_of_function(at[name], at[of], values, factor, quantile, function)
    return found


def other_draws(
    totals: Totals, replicates: Sequence[Totals], sizes: tuple[int, int], of_subsamples: tuple[int, int]
) -> dict[Any, dict[str, np.ndarray]]:
    """(n_subsamples,) values of each total, by k and name, that scatter as those of other draws of these sizes would.

    What a subsample has beyond the mean of all of them, shrunk to the full size, round the total. Those of two queries
    belong to the same draws of the reference: their differences scatter as the difference would.
    """
    found: dict[Any, dict[str, np.ndarray]] = {}
    for k, at in totals.items() if replicates else ():
        here = found[k] = {}
        for name, total in at.items():
            if name not in _NOT_ESTIMATED:
                values = np.array([one[k][name] for one in replicates])
                with np.errstate(invalid="ignore"):
                    here[name] = total + _factor(sizes, of_subsamples) * (values - values.mean())
        for name, (of, function) in _functions(sizes, k).items():
            if name in here and np.isfinite(here[of]).all():
                here[name] = function(here[of])
    return found


def _factor(sizes: tuple[int, int], of_subsamples: tuple[int, int]) -> float:
    share = of_subsamples[0] / sizes[0]
    return float(np.sqrt(share / (1 - share)))


# What the others are compared with.
_NOT_ESTIMATED = frozenset({"expected_precision", "expected_coverage"})
# In feature units: they scale with the radii, which are wider in a subsample, so their ratios are what scatters alike.
_SCALES = frozenset({"rarity_mean", "rarity_median", "rarity_top10"})
_SHARES = frozenset(
    {
        "precision", "recall", "coverage", "realism_share", "rarity_percentile_mean", "clipped_coverage_raw",
        "symmetric_precision", "symmetric_recall", "p_precision", "p_recall",
    }
)  # fmt: skip


def _interval(name: str, total: float, replicates: np.ndarray, factor: float) -> tuple[float, float]:
    if np.isnan(total) or np.isnan(replicates).any():
        return float("nan"), float("nan")
    if np.isinf(total) or np.isinf(replicates).any():  # both ends are known only where nothing varies
        return (total, total) if (replicates == total).all() else (float("nan"), float("nan"))
    if name in _SCALES and total > 0 and (replicates > 0).all():
        half = factor * float(np.std(np.log(replicates), ddof=1))
        return float(total * np.exp(-half)), float(total * np.exp(half))
    half = factor * float(np.std(replicates, ddof=1))
    low, high = max(total - half, 0.0), total + half
    return float(low), float(min(high, 1.0) if name in _SHARES else high)


def _functions(sizes: tuple[int, int], k: int) -> dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]]:
    """Totals that are a rising function of another one and end at 1: that one, and the function."""
    return {
        "clipped_density": ("clipped_density_unclipped", lambda values: np.minimum(values, 1)),
        "clipped_coverage": ("clipped_coverage_raw", lambda raw: calibrated_clipped_coverage(raw, *sizes, k)),
    }


def _interval_of_function(
    total: float,
    of: float,
    replicates: np.ndarray,
    factor: float,
    quantile: float,
    function: Callable[[np.ndarray], np.ndarray],
) -> tuple[float, float]:
    """The interval of the mean of `function` of a total, `of` here.

    That mean lies below the function of the mean where the function ends at 1. It rises with it, so its ends are the
    means of the function of normal variables round the ends of the other's interval.
    """
    if not (np.isfinite(of) and np.isfinite(replicates).all()):
        return float("nan"), float("nan")
    from scipy.special import ndtri

    deviation = factor * float(np.std(replicates, ddof=1))
    round_the_end = deviation * ndtri((np.arange(_QUANTILES) + 0.5) / _QUANTILES)
    low, high = (float(np.mean(function(of + sign * quantile * deviation + round_the_end))) for sign in (-1, 1))
    return min(low, total), max(high, total)


def _quantile_of_t(degrees: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + LEVEL) / 2))
