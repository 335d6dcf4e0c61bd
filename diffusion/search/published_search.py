"""The published choice of gains: one block at a time, the largest gain whose usability is still good.

Han, Kwon, Lee, Kim, Choi, CVPR 2025, arXiv 2503.23538, as its public code does it; there is no novelty in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray
from torch import nn

from genmend.diffusion.amplification.gains import EditOptions, edits_by_slot
from genmend.diffusion.search.trials import Measure

__all__ = ["GRID", "PublishedChoice", "choose_published", "published_search"]

#: Slot -> gains of the published grid (1 is measured too).
GRID = {
    "down0": (1.2, 1.4, 1.6, 1.8, 2.0),
    "down1": (1.2, 1.4, 1.6, 1.8, 2.0),
    "down2": (2.0, 4.0, 6.0, 8.0, 10.0),
    "mid": (2.0, 4.0, 6.0, 8.0, 10.0),
}


@dataclass(frozen=True)
class PublishedChoice:
    """What the published search found.

    Attributes
    ----------
    gains : dict
        Slot -> chosen gain, each block alone; 1 where none was usable enough.
    shrunk : dict
        ``1 + shrink * (gain - 1)``: for all blocks together, which would be too strong as they are.
    usability : dict
        Slot -> sum of the min-max normalised scorers for gain 1 and each gain of the grid.
    """

    gains: dict[str, float]
    shrunk: dict[str, float]
    usability: dict[str, list[float]]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {"gains": self.gains, "shrunk": self.shrunk, "usability": self.usability}


def published_search(
    denoiser: nn.Module,
    measure: Measure,
    seeds: Sequence[int],
    *,
    grid: Mapping[str, Sequence[float]] = GRID,
    cutoff: float | Mapping[str, float] = 5.0,
    tau: float = 0.8,
    shrink: Mapping[str, float] | None = None,
    legacy_index: bool = False,
    **options: Unpack[EditOptions],
) -> PublishedChoice:
    """Measure each gain of each block alone, and choose.

    Parameters
    ----------
    denoiser
        The U-Net.
    measure
        As `diffusion.make_measure` returns it; its usability scorers are those of the search (published: CLIP's cosine
        and the aesthetic score v2.5).
    seeds
        Published: 10.
    grid
        Slot -> gains above 1; slots the U-Net does not have must be left out.
    cutoff
        One number, or slot -> cutoff. The published script measures with 5 bins whatever is configured.
    tau
        Share of the unamplified usability to keep.
    shrink
        Slot -> factor for gains used together; published for SDXL-Turbo: 0.3 for down0 and down1, else 0.2.
    legacy_index
        Reproduce the published script, which judges each gain by the image of the next weaker one (its list of
        images begins with an extra original), so that it may choose one step too strong.
    **options
        Further fields of `AmplifyLowFrequencies`.
    """
    plain = measure((), seeds).usability
    tables: dict[str, dict[str, list[float]]] = {name: {} for name in plain}
    for slot, gains in grid.items():
        for name in plain:
            tables[name][slot] = [float(plain[name].mean())]
        for gain in gains:
            edits = edits_by_slot(denoiser, {slot: gain}, cutoff=cutoff, **options)
            found = measure(edits, seeds).usability
            for name, values in found.items():
                tables[name][slot].append(float(values.mean()))
    usability = {slot: np.zeros(len(gains) + 1) for slot, gains in grid.items()}
    for table in tables.values():
        everything = np.concatenate([np.array(row) for row in table.values()])
        low, span = everything.min(), np.ptp(everything) or 1.0
        for slot, row in table.items():
            usability[slot] += (np.array(row) - low) / span
    chosen = {
        slot: choose_published(grid[slot], row, tau, legacy_index=legacy_index) for slot, row in usability.items()
    }
    factors = {"down0": 0.3, "down1": 0.3} if shrink is None else dict(shrink)
    shrunk = {slot: round(1 + factors.get(slot, 0.2) * (gain - 1), 6) for slot, gain in chosen.items()}
    return PublishedChoice(chosen, shrunk, {slot: row.tolist() for slot, row in usability.items()})


def choose_published(
    gains: Sequence[float], usability: NDArray[np.floating] | Sequence[float], tau: float, *, legacy_index: bool = False
) -> float:
    """The largest gain above 1 whose usability is at least `tau` of the original's; 1 if there is none.

    Not the first failure ends the search: a later gain that passes wins even after one that fails.

    Parameters
    ----------
    gains
        Above 1, rising; ``(n,)``.
    usability
        Of gain 1 and of each gain, ``(n + 1,)``.
    """
    if len(usability) != len(gains) + 1:
        raise ValueError(
            f"{len(gains)} gains need {len(gains) + 1} usabilities, that of gain 1 first; got {len(usability)}."
        )
    judged = usability[:-1] if legacy_index else usability[1:]
    passing = [gain for gain, found in zip(gains, judged, strict=True) if found >= tau * usability[0]]
    return max(passing, default=1.0)
