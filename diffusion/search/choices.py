"""Which gains a search tries: evenly over all blocks at first, then between what is good and what is too much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genmend.diffusion.pipeline_parts import SigmaWindow

__all__ = ["Choice", "Gains", "even_choices", "gain_limits", "gains_between", "gains_near", "place_of"]

Gains = dict[str, float]


@dataclass(frozen=True)
class Choice:
    """What a trial tries."""

    gains: Gains
    band: str = "low"
    window: SigmaWindow | None = None


def gain_limits(slots: Sequence[str], largest: Mapping[str, float] | None) -> dict[str, float]:
    """The largest gain of each slot; `search_gains` says which by default.

    Raises
    ------
    ValueError
        If `largest` names no slot, or one that there is not.
    """
    if largest is None:
        downs = [slot for slot in slots if slot.startswith("down")]
        return dict.fromkeys(downs[:-1], 2.0) | {slot: 4.0 for slot in (*downs[-1:], "mid") if slot in slots}
    unknown = [slot for slot in largest if slot not in slots]
    if unknown or not largest:
        raise ValueError(
            f"largest names {', '.join(largest) or 'nothing'}; accepted are {', '.join(slots)}; choose some."
        )
    return {slot: float(limit) for slot, limit in largest.items()}


def even_choices(
    limits: Mapping[str, float], bands: Sequence[str], windows: Sequence[SigmaWindow | None], n: int, seed: int
) -> list[Choice]:
    """Evenly over the gains, and over bands and windows where there are several."""
    from scipy.stats import qmc  # a second of its own

    several = [options for options in (bands, windows) if len(options) > 1]
    points = qmc.Sobol(len(limits) + len(several), rng=seed).random_base2(max(1, int(np.ceil(np.log2(n)))))[:n]
    found = []
    for point in points:
        rest = iter(point[len(limits) :])
        band, window = (
            options[int(next(rest) * len(options))] if len(options) > 1 else options[0] for options in (bands, windows)
        )
        found.append(Choice(_gains(point[: len(limits)], limits), band, window))  # type: ignore[arg-type]
    return found


Place = NDArray[np.floating]  # one share a slot: 0 is gain 1, 1 the largest gain


def place_of(gains: Gains, limits: Mapping[str, float]) -> Place:
    """Where gains lie; 1 where a slot is not named."""
    return np.array([np.log(gains.get(slot, 1.0)) / np.log(limit) for slot, limit in limits.items()])


def gains_between(inside: Place, beyond: Place, limits: Mapping[str, float], n: int) -> list[Gains]:
    """Evenly from a feasible choice (or gain 1) towards one that is too strong."""
    return [_gains(inside + share * (beyond - inside), limits) for share in np.linspace(0, 1, n + 2)[1:-1]]


def gains_near(place: Place, limits: Mapping[str, float], n: int, seed: int) -> list[Gains]:
    """A little about the best so far, more often stronger than weaker."""
    draw = np.random.default_rng(seed + 1)
    return [_gains(np.clip(place + draw.normal(0.04, 0.08, len(place)), 0, 1), limits) for _ in range(n)]


def _gains(point: Any, limits: Mapping[str, float]) -> Gains:
    return {slot: round(float(limit**share), 4) for share, (slot, limit) in zip(point, limits.items(), strict=True)}
