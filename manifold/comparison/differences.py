"""Paired differences of totals between sets that were evaluated against one reference, and the ranks they give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from genmend.manifold.comparison.directions import DEPEND_ON_SIZE, LOWER_IS_BETTER, MOST_DIFFERENT, RANKED
from genmend.manifold.metrics.evaluation_result import Evaluation

__all__ = ["Difference", "Rank", "paired_differences", "ranks_of"]

LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """One total of one set less that of another.

    Attributes
    ----------
    k, metric
        Which total; k is None for one that does not depend on it.
    first, second
        Names of the sets; `value` is first less second.
    value : float
    low, high : float
        The 95 % interval, for all pairs of sets at once; NaN where there is none.
    comparable : bool
        False where the sizes of the two sets make a difference by themselves.
    """

    k: int | None
    metric: str
    first: str
    second: str
    value: float
    low: float
    high: float
    comparable: bool = True

    @property
    def better(self) -> str | None:
        """The set that is better by more than chance; None for a tie, or where that cannot be said."""
        if not self.comparable or self.metric not in RANKED or np.isnan(self.low):
            return None
        higher = self.first if self.low > 0 else self.second if self.high < 0 else None
        if higher is None or self.metric not in LOWER_IS_BETTER:
            return higher
        return self.second if higher == self.first else self.first

    @property
    def decided(self) -> bool:
        """Whether it says anything: better, worse, or a tie."""
        return self.comparable and self.metric in RANKED and not np.isnan(self.low)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the fields, None where undefined, and `better`, and `tie`."""
        numbers = {name: _json(getattr(self, name)) for name in ("value", "low", "high")}
        named = {name: getattr(self, name) for name in ("k", "metric", "first", "second")}
        better = self.better
        return {
            **named,
            **numbers,
            "comparable": self.comparable,
            "better": better,
            "tie": self.decided and better is None,
        }


@dataclass(frozen=True)
class Rank:
    """Where a set stands: 1 + how many sets are better by more than chance, and which cannot be told from it."""

    rank: int
    tied_with: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"rank": self.rank, "tied_with": list(self.tied_with)}


def paired_differences(evaluations: Mapping[str, Evaluation]) -> list[Difference]:
    """Every total of every two sets, evaluated against one reference with one seed and as many subsamples.

    Both sets of a pair meet the same parts of the reference, so what those do to both does not count; where the sets
    are equally large the same rows are left out of both, which counts for samples of the same latents, row by row.

    The intervals of one total hold for all pairs at once (Bonferroni): of sets that are all alike, one of them shows a
    difference in at most one comparison of twenty.
    """
    pairs = list(combinations(evaluations, 2))
    one = next(iter(evaluations.values()))
    totals: list[tuple[int | None, str]] = [
        (k, name) for k, at in one.at.items() for name in at.totals if not name.startswith("expected_")
    ]
    totals += [(None, name) for name in one.totals if name in one.draws]
    return [
        _difference(k, metric, (first, second), (evaluations[first], evaluations[second]), len(pairs))
        for k, metric in totals
        for first, second in pairs
    ]


def ranks_of(
    differences: Sequence[Difference], names: Sequence[str], left_out: Sequence[str] = ()
) -> dict[int | None, dict[str, dict[str, Rank]]]:
    """By k and metric the rank of each set, of those totals that have a better direction and whose pairs are decided.

    The k of kid is None. Sets of `left_out` are not ranked. A total of which some pair of the others cannot be compared
    has no ranks.
    """
    ranked = [name for name in names if name not in left_out]
    found: dict[int | None, dict[str, dict[str, Rank]]] = {}
    by_total: dict[tuple[int | None, str], list[Difference]] = {}
    for one in differences:
        if one.metric in RANKED and not {one.first, one.second} & set(left_out):
            by_total.setdefault((one.k, one.metric), []).append(one)
    for (k, metric), pairs in by_total.items():
        if all(one.decided for one in pairs):
            found.setdefault(k, {})[metric] = {name: _rank(name, pairs) for name in ranked}
    return found


def _rank(name: str, pairs: Sequence[Difference]) -> Rank:
    own = [one for one in pairs if name in (one.first, one.second)]
    better = sum(one.better not in (None, name) for one in own)
    tied = tuple(one.second if one.first == name else one.first for one in own if one.better is None)
    return Rank(1 + better, tied)


def _difference(
    k: int | None, metric: str, names: tuple[str, str], both: tuple[Evaluation, Evaluation], n_pairs: int
) -> Difference:
    from scipy.special import stdtrit

    ours, theirs = (one if k is None else one[k] for one in both)
    with np.errstate(invalid="ignore"):
        value = float(np.subtract(ours.totals[metric], theirs.totals[metric]))
    sizes = [one.n_query for one in both]
    comparable = metric not in DEPEND_ON_SIZE or min(sizes) >= (1 - MOST_DIFFERENT) * max(sizes)
    low = high = float("nan")
    if metric in ours.draws and metric in theirs.draws:
        with np.errstate(invalid="ignore"):  # of totals that are infinite
            scatter = float(np.sqrt(np.mean((ours.draws[metric] - theirs.draws[metric] - value) ** 2)))
        half = float(stdtrit(len(ours.draws[metric]), 1 - (1 - LEVEL) / 2 / n_pairs)) * scatter
        low, high = value - half, value + half
    return Difference(k, metric, *names, value, low, high, comparable)


def _json(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
