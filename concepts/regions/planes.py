"""The plane that shows the regions of a run: through a query, a member and what is next outside, or through kinds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from genmend.concepts.regions.layer_states import LayerStates
from genmend.concepts.regions.neighbours import nearest_configurations
from genmend.concepts.regions.region import Region
from genmend.concepts.regions.slices import RegionSlice
from genmend.concepts.regions.study import KindsStudy, QueryStudy

__all__ = ["Plane", "plane_of_kinds", "plane_of_query"]


@dataclass(frozen=True)
class Plane:
    """A plane through three samples.

    Attributes
    ----------
    numbers : tuple of int
        Of the samples; states are compared with those of the first.
    roles : tuple of str
        What each of them is, in words.
    regions : dict of str to Region
        Those to be drawn, by name.
    seen : RegionSlice or None
        What the model does there; None before it was run.
    """

    numbers: tuple[int, int, int]
    roles: tuple[str, str, str]
    regions: dict[str, Region]
    seen: RegionSlice | None = field(default=None, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """JSON's view: the samples, and which share of the points each region holds."""
        shares = {}
        if self.seen is not None:
            shares = {name: float(self.seen.contains(region).mean()) for name, region in self.regions.items()}
        return {"samples": list(self.numbers), "roles": list(self.roles), "share_inside": shares}


def plane_of_query(states: LayerStates, query: QueryStudy, labels: Sequence[str] | None = None) -> Plane | None:
    """Through a query, the member held out that fulfils most of the rule, and the nearest sample outside the region.

    Where there are labels, the sample outside has another one than the query. None where no sample is outside, or no
    other inside.
    """
    n = len(states)
    inside = query.path.region.contains(states.configurations)
    # A copy of the query gives no direction.
    members = [
        number for number in (*query.held_out, *query.path.positive) if not _is_copy(states, query.number, number)
    ]
    outside = ~inside if labels is None else ~inside & np.array([label != labels[query.number] for label in labels])
    nearest = _nearest(states, query.number, outside & (np.arange(n) != query.number))
    if not members or nearest is None:
        return None
    roles = ("the query", "in its region", "nearest outside it")
    return Plane((query.number, int(members[0]), nearest), roles, {"region of the query": query.path.region})


def plane_of_kinds(states: LayerStates, kinds: KindsStudy) -> Plane | None:
    """Through a sample of the first two kinds beyond chance, and the nearest sample that is not flagged nor in any.

    With one kind it goes through two flagged samples of it. None where no kind is beyond chance, or no such samples
    are there.
    """
    sure = kinds.beyond_chance
    if not sure:
        return None
    first = sure[0].kind.seed
    others = [sure[1].kind.seed] if len(sure) > 1 else []
    others += [int(number) for number in sure[0].all_flagged]
    others = [number for number in others if not _is_copy(states, first, number)]
    inside = np.array([kind.kind.path.region.contains(states.configurations) for kind in sure])
    nearest = _nearest(states, first, ~inside.any(0) & ~kinds.flagged)
    if not others or nearest is None:
        return None
    second = "flagged, of kind 2" if len(sure) > 1 and others[0] == sure[1].kind.seed else "flagged, of kind 1 too"
    regions = {f"kind {number}": kind.kind.path.region for number, kind in enumerate(sure, start=1)}
    return Plane(
        (first, others[0], nearest), ("flagged, of kind 1", second, "nearest, not flagged, of no kind"), regions
    )


def _is_copy(states: LayerStates, number: int, other: int) -> bool:
    """Whether the layer gives two samples the same: they may differ in what it does not see."""
    return bool(np.array_equal(states.features[number], states.features[other]))


def _nearest(states: LayerStates, number: int, among: np.ndarray) -> int | None:
    """Which of some samples has the fewest neurons in another state than a given one."""
    rows, one = np.flatnonzero(among), states.configurations[number : number + 1]
    if not len(rows):
        return None
    return int(rows[nearest_configurations(states.configurations[rows], one, 1)[1][0, 0]])
