"""What a manifold says about each sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np

from genmend.manifold.engine.balls import Balls, reciprocal
from genmend.manifold.engine.inputs import to_array
from genmend.manifold.engine.tallies import Tallies

__all__ = ["ManifoldScores"]


@dataclass(frozen=True)
class ManifoldScores:
    """Per-sample answers for m queries, and their totals.

    Attributes
    ----------
    inside
        (m,) bool: some ball contains the sample.
    ball_count
        (m,) int64: number of balls that contain it.
    rarity
        (m,) float64, feature units: least radius among them, higher is rarer; NaN outside.
    nearest_ball
        (m,) int64: index of the ball that attains the rarity; -1 outside.
    score
        (m,) float64, unitless: smallest distance / radius; lower is more normal, at most 1 inside.
    realism
        (m,) float64, unitless: largest radius / distance over the balls that count; higher is more realistic.
    """

    inside: Any
    ball_count: Any
    rarity: Any
    nearest_ball: Any
    score: Any
    realism: Any

    @classmethod
    def of(cls, tallies: Tallies, balls: Balls) -> Self:
        """What the tallies of all pairs say about the queries."""
        ball = balls.by_radius[tallies.rank]
        return cls(
            inside=tallies.ball_count > 0,
            ball_count=tallies.ball_count,
            rarity=np.append(balls.radii, np.nan)[ball],
            nearest_ball=ball,
            score=tallies.ratio,
            realism=reciprocal(tallies.kept_ratio),
        )

    def map(self, function: Callable[[Any], Any]) -> Self:
        """The same scores with `function` applied to each array."""
        return type(self)(**{field.name: function(getattr(self, field.name)) for field in fields(self)})

    def to_dict(self) -> dict[str, float | int | None]:
        """Totals for JSON; None where a total is undefined (rarity when nothing is inside) or infinite.

        `rarity_top10` is the mean over the rarest tenth of the samples inside, at least one: a shift there is what
        counts. Read it beside `inside`, the fraction it is defined on.
        """
        here = self.map(lambda values: to_array(values, "scores"))
        rarity = np.sort(here.rarity[here.inside])
        tail = rarity[-max(1, len(rarity) // 10) :]
        return {
            "n_query": len(here.inside),
            "n_inside": int(here.inside.sum()),
            "inside": float(here.inside.mean()),
            "ball_count_mean": float(here.ball_count.mean()),
            "rarity_mean": _finite(rarity.mean()) if len(rarity) else None,
            "rarity_median": _finite(np.median(rarity)) if len(rarity) else None,
            "rarity_top10": _finite(tail.mean()) if len(rarity) else None,
            "score_median": _finite(np.median(here.score)),
            "realism_median": _finite(np.median(here.realism)),
        }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
