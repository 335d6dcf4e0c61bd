"""How far totals would move had other samples been drawn: intervals from halves of both sets.

A total depends on every sample twice: as one of those it averages over, and through the balls, which move with their
neighbours. Drawing per-sample values again would hold the balls fixed and give intervals that are too narrow; drawing
samples with replacement would fill the balls with copies. So all is computed anew on random halves without
replacement, with radii of their own. The two halves of a split have no sample in common, so that their totals are as
independent as those of two other draws half as large.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from genmend.manifold.metrics.calibration import calibrated_clipped_coverage

__all__ = ["INTERVAL_WORDS", "other_draws", "subsample_intervals", "subsample_sizes", "subsampled_totals"]

LEVEL = 0.95
_QUANTILES = 201  # of a normal distribution, over which a function's mean is taken
# Deviations of halves, times this: in clusters, and in many dimensions, a total of n samples scatters a little more
# than two of its halves say, density most of all, whose hubs grow with n. From simulations; see `subsample_intervals`.
_LARGER, _LARGER_OF_DENSITY = 1.04, 1.08
_FEW = 10  # samples that miss: with fewer a share is too near its end for a normal law

INTERVAL_WORDS = (
    "95 % intervals of the mean over other samples as many as these: from {n} random halves of both sets, {reference} "
    "reference and {query} query samples each, with balls of their own"
)

Totals = Mapping[Any, Mapping[str, float]]


def subsample_sizes(n: int, m: int, k: int) -> tuple[int, int]:
    """Samples of a half of n reference and of m query samples; 0, 0 where one would have no more than k."""
    return (n // 2, m // 2) if min(n, m) // 2 > k else (0, 0)


def subsampled_totals(
    compute: Callable[[np.ndarray, np.ndarray], Totals],
    sizes: tuple[int, int],
    of_subsamples: tuple[int, int],
    n_subsamples: int,
    seed: int,
) -> list[tuple[Totals, Totals]]:
    """Totals of both halves of random splits, by k and name; none where a set is too small to be split.

    The rows of a half of one set depend on its size and the seed alone: two queries are compared with the same parts of
    a reference, and, where they are equally many, by the same rows.

    Parameters
    ----------
    compute
        Gives the totals for the rows of the reference and of the query that it is called with, ascending.
    sizes, of_subsamples
        Numbers of reference and query samples: of all, and of a half (`subsample_sizes`).
    n_subsamples
        Halves, at least 2; of an odd number one is left out.
    seed
        Of the splits.
    """
    if not all(of_subsamples):
        return []
    rngs = [np.random.default_rng([seed, side]) for side in range(2)]
    found = []
    for _ in range(n_subsamples // 2):
        orders = [rng.permutation(size) for rng, size in zip(rngs, sizes, strict=True)]
        first = compute(*(np.sort(order[:b]) for order, b in zip(orders, of_subsamples, strict=True)))
        second = compute(*(np.sort(order[b : 2 * b]) for order, b in zip(orders, of_subsamples, strict=True)))
        found.append((first, second))
    return found


def subsample_intervals(
    totals: Totals, replicates: Sequence[tuple[Totals, Totals]], sizes: tuple[int, int], of_subsamples: tuple[int, int]
) -> dict[Any, dict[str, tuple[float, float]]]:
    """95 % intervals of the mean of each total over draws of both sets, by k and name; NaN where undefined.

    Parameters
    ----------
    totals
        By k and name: of all samples.
    replicates
        The same of both halves of each split, as `subsampled_totals` gives them.
    sizes, of_subsamples
        Numbers of reference and query samples: of all, and of a half.

    Notes
    -----
    Half the squared difference of the two halves of a split is an unbiased estimate of the variance of a half's total,
    whatever the total is, for they are independent. A set of n has its share b / n, where b is the size of a half, as
    totals of local values have. To come nearer to that, and to a normal law, shares are compared by the arcsine of
    their root and positive totals by their logarithm. What is left is in the factors 1.04 and, for densities, 1.08. The
    interval is the total +- t deviations with Student's t, on that scale. One of a share within ten samples of 0 or 1
    holds Wilson's interval, too.

    Compared with the scatter of overlapping subsamples round their mean this counts no dependence twice, and its balls
    are nearly those of all samples. experiments/images/interval_coverage.py counts how often the intervals hold.

    Sources: Politis and Romano 1994, "Large sample confidence regions based on subsamples under minimal assumptions";
    McCarthy 1969, "Pseudo-replication: half samples" (differences of half samples); Wilson 1927.
    """
    if not replicates:
        return {k: {name: (np.nan, np.nan) for name in at if name not in _NOT_ESTIMATED} for k, at in totals.items()}
    quantile = _quantile_of_t(len(replicates))
    found: dict[Any, dict[str, tuple[float, float]]] = {}
    for k, at in totals.items():
        functions = _functions(sizes, k)
        found[k] = {}
        for name, total in at.items():
            if name in _NOT_ESTIMATED:
                continue
            of, function = functions.get(name, (name, None))
            halves = _of_halves(replicates, k, of)
            if np.isnan([total, at[of]]).any() or np.isnan(halves).any():
                ends = np.nan, np.nan
            elif np.isinf(at[of]) or np.isinf(halves).any():  # both ends are known only where nothing varies
                ends = (total, total) if (halves == at[of]).all() else (np.nan, np.nan)
            else:
                scale, unscale = _scale(of, at[of], halves)
                differences = _differences(of, scale, halves, of_subsamples[0] / sizes[0])
                deviation = float(np.sqrt(np.mean(differences**2)))
                middles = scale(at[of]) + quantile * deviation * np.array([-1.0, 1.0])
                if function is None:
                    low, high = (float(end) for end in unscale(middles))
                    ends = _with_wilson(name, total, (low, high), sizes)
                else:
                    low, high = (_mean_of_function(function, unscale, middle, deviation) for middle in middles)
                    ends = min(low, total), max(high, total)
            found[k][name] = ends
    return found


def other_draws(
    totals: Totals, replicates: Sequence[tuple[Totals, Totals]], sizes: tuple[int, int], of_subsamples: tuple[int, int]
) -> dict[Any, dict[str, np.ndarray]]:
    """(n_splits,) values of each total, by k and name, that scatter as those of other draws of these sizes would.

    The difference of the two halves of each split, shrunk to the full size, round the total. Those of two queries
    belong to the same splits of the reference: their differences scatter as the difference would.
    """
    found: dict[Any, dict[str, np.ndarray]] = {}
    for k, at in totals.items() if replicates else ():
        here = found[k] = {}
        functions = _functions(sizes, k)
        for name in at:
            if name in _NOT_ESTIMATED:
                continue
            of, function = functions.get(name, (name, None))
            halves = _of_halves(replicates, k, of)
            if not (np.isfinite(at[of]) and np.isfinite(halves).all()):
                here[name] = np.full(len(replicates), np.nan)
                continue
            scale, unscale = _scale(of, at[of], halves)
            values = unscale(scale(at[of]) + _differences(of, scale, halves, of_subsamples[0] / sizes[0]))
            here[name] = values if function is None else function(values)
    return found


Function = Callable[[Any], Any]
# What the others are compared with.
_NOT_ESTIMATED = frozenset({"expected_precision", "expected_coverage"})
# Shares of the query (1) and of the reference (0), or of both, and means of values in [0, 1].
_COUNTED = {
    "precision": (1,), "realism_share": (1,), "recall": (0,), "coverage": (0,),
    "symmetric_precision": (0, 1), "symmetric_recall": (0, 1),
}  # fmt: skip
_SHARES = frozenset(_COUNTED) | {"rarity_percentile_mean", "clipped_coverage_raw", "p_precision", "p_recall"}


def _of_halves(replicates: Sequence[tuple[Totals, Totals]], k: Any, name: str) -> np.ndarray:
    """(n_splits, 2)."""
    return np.array([[half[k][name] for half in pair] for pair in replicates])


def _scale(name: str, total: float, halves: np.ndarray) -> tuple[Function, Function]:
    """The scale that a total is compared on, and back from it."""
    if name in _SHARES:
        return lambda share: np.arcsin(np.sqrt(np.clip(share, 0, 1))), _share_of_angle
    if total > 0 and (halves > 0).all():
        return np.log, np.exp
    return lambda value: value, lambda value: np.maximum(value, 0)


def _share_of_angle(angle: Any) -> Any:
    return np.square(np.sin(np.clip(angle, 0, np.pi / 2)))


def _differences(name: str, scale: Function, halves: np.ndarray, share: float) -> np.ndarray:
    """(n_splits,) differences of the halves, on the scale, as large as deviations of the total of all samples."""
    larger = _LARGER_OF_DENSITY if "density" in name else _LARGER
    return np.diff(scale(halves), axis=1)[:, 0] * (larger * np.sqrt(share / 2))


def _with_wilson(name: str, total: float, ends: tuple[float, float], sizes: tuple[int, int]) -> tuple[float, float]:
    """For a share that nearly all samples have, or nearly none, ends at least as far apart as Wilson's."""
    n = min((sizes[side] for side in _COUNTED.get(name, ())), default=0)
    if not n or _FEW <= n * total <= n - _FEW:
        return ends
    from scipy.special import ndtri

    z = float(ndtri((1 + LEVEL) / 2))
    middle = (total + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(total * (1 - total) / n + z**2 / (4 * n**2))
    return min(ends[0], max(middle - half, 0.0)), max(ends[1], min(middle + half, 1.0))


def _functions(sizes: tuple[int, int], k: int) -> dict[str, tuple[str, Function]]:
    """Totals that are a rising function of another one and end at 1: that one, and the function."""
    return {
        "clipped_density": ("clipped_density_unclipped", lambda values: np.minimum(values, 1)),
        "clipped_coverage": ("clipped_coverage_raw", lambda raw: calibrated_clipped_coverage(raw, *sizes, k)),
    }


def _mean_of_function(function: Function, unscale: Function, middle: float, deviation: float) -> float:
    """Of normal variables on the scale of another total.

    Where a function ends at 1 its mean lies below the function of the mean. It rises with it, so that the ends of the
    one interval are those of the other.
    """
    from scipy.special import ndtri

    around = middle + deviation * ndtri((np.arange(_QUANTILES) + 0.5) / _QUANTILES)
    return float(np.mean(function(unscale(around))))


def _quantile_of_t(degrees: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + LEVEL) / 2))
