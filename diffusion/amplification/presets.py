"""Gains to begin with, by model family, and where each number comes from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

__all__ = ["PRESETS", "Preset", "preset_named"]


@dataclass(frozen=True)
class Preset:
    """Gains and cutoffs of the down blocks and the middle one; up blocks are not amplified.

    Attributes
    ----------
    down, mid
        Gains.
    cutoffs
        One for each down block and the middle one.
    cutoff_unit
        Of the cutoffs.
    source
        Where the numbers come from.
    published
        False where nobody has published numbers for this family: then they are ours, and not measured on it, since its
        weights cannot be had here.
    """

    down: tuple[float, ...]
    mid: float
    cutoffs: tuple[float, ...]
    source: str
    cutoff_unit: Literal["bins", "nyquist"] = "bins"
    published: bool = True


_OURS = "Ours, not measured on this model: "
_SD_15 = Preset(
    (1.05, 1.1, 1.3, 1.3),
    1.4,
    (0.3125, 0.625, 0.625, 0.625, 0.625),
    _OURS + "SDXL's of this table, with Turbo's shares of Nyquist",
    "nyquist",
    published=False,
)
PRESETS = {
    "sdxl-turbo": Preset(
        (1.075, 1.15, 2.6),
        2.8,
        (5, 5, 5, 5),
        "Example notebook of the public code of C3 (a chair, seed 3, 512 px, 1 step)",
    ),
    "sdxl-lightning-1": Preset(
        (1.1, 1.3, 1.6),
        1.8,
        (10, 5, 5, 5),
        "Example notebook of the public code of C3 (a house, seed 42, 1,024 px, 1 step)",
    ),
    "sdxl-lightning-4": Preset(
        (1.1, 1.3, 1.6),
        1.8,
        (10, 5, 5, 5),
        _OURS + "the 1-step gains; the public code acts at all 4 steps, its gains for them are unconfirmed",
        published=False,
    ),
    "sdxl": Preset(
        (1.05, 1.1, 1.3),
        1.4,
        (10, 10, 10, 10),
        _OURS + "about a third of Turbo's excess, over the same share of Nyquist at 1,024 px",
        published=False,
    ),
    "sd-1.5": _SD_15,
    "sd-2.1": replace(_SD_15, source=_OURS + "SD 1.5's, whose blocks are of the same layout"),
}


def preset_named(name: str) -> Preset:
    """Return a preset.

    Raises
    ------
    ValueError
        If there is none of this name.
    """
    if name not in PRESETS:
        raise ValueError(f"preset is {name!r}; accepted are {', '.join(PRESETS)}; or give gains.")
    return PRESETS[name]
