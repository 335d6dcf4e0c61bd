"""The result of `prdc`: four metrics for each k, and the per-sample arrays they are means of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from manifold.calibration import expected_coverage

# Below this the metrics move by several hundredths from draw to draw.
FEW_SAMPLES = 1000


@dataclass(frozen=True)
class PRDCAtK:
    """Precision, recall, density and coverage for one k.

    Attributes
    ----------
    k
        Number of neighbours.
    inside
        (m,) bool per query: in some reference ball. Its mean is precision.
    ball_count
        (m,) int64 per query: number of reference balls that contain it. Its mean over k is density.
    covered
        (n,) bool per reference sample: its ball contains a query. Its mean is coverage.
    recalled
        (n,) bool per reference sample: in some ball of the query. Its mean is recall.
    """

    k: int
    inside: Any
    ball_count: Any
    covered: Any
    recalled: Any

    @property
    def precision(self) -> float:
        """In [0, 1], higher is better."""
        return _mean(self.inside)

    @property
    def recall(self) -> float:
        """In [0, 1], higher is better."""
        return _mean(self.recalled)

    @property
    def density(self) -> float:
        """At least 0, about 1 for equal distributions."""
        return _mean(self.ball_count) / self.k

    @property
    def coverage(self) -> float:
        """In [0, 1], higher is better."""
        return _mean(self.covered)

    @property
    def expected_coverage(self) -> float:
        """What coverage would be on average if both sets came from one distribution."""
        return expected_coverage(len(self.covered), len(self.inside), self.k)


@dataclass(frozen=True)
class PRDC:
    """Result of `prdc`; `result[k]` is the `PRDCAtK` of one k.

    Attributes
    ----------
    closed
        Whether balls contained their sphere.
    n_reference, n_query
        Sizes of the two sets.
    at
        The values for each k.
    warnings
        What to keep in mind when comparing, for whoever shows the result.
    """

    closed: bool
    n_reference: int
    n_query: int
    at: Mapping[int, PRDCAtK]
    warnings: tuple[str, ...] = ()

    def __getitem__(self, k: int) -> PRDCAtK:
        if k not in self.at:
            raise KeyError(f"k = {k} was not computed; {sorted(self.at)} were; pass it to prdc")
        return self.at[k]

    def to_dict(self) -> dict[str, Any]:
        """For JSON: sizes, convention, warnings, and under "k" the totals of each k. No per-sample arrays."""
        names = ("precision", "recall", "density", "coverage", "expected_coverage")
        return {
            "n_reference": self.n_reference,
            "n_query": self.n_query,
            "closed": self.closed,
            "k": {str(k): {name: getattr(values, name) for name in names} for k, values in self.at.items()},
            "warnings": list(self.warnings),
        }


def size_warnings(n: int, m: int) -> tuple[str, ...]:
    """What to keep in mind about results of n reference and m query samples."""
    found = []
    if n != m:
        found.append(f"{n} reference and {m} query samples: values depend on both; compare only equal sizes")
    if min(n, m) < FEW_SAMPLES:
        found.append(f"only {min(n, m)} samples in the smaller set: differences of several hundredths are chance")
    return tuple(found)


def _mean(values: Any) -> float:
    return float(values.sum()) / len(values)
