"""Gains to begin with, by model family, and where each number comes from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

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
    attention
        Of each down block, whether it has cross-attention: the family's layout.
    steps, guidance, size
        Denoising steps, guidance scale and side of the images in pixels that the family is run with.
    published
        False where nobody has published numbers for this family: then they are ours, and not measured on it, since its
        weights cannot be had here.
    """

    down: tuple[float, ...]
    mid: float
    cutoffs: tuple[float, ...]
    source: str
    attention: tuple[bool, ...]
    steps: int
    guidance: float
    size: int
    cutoff_unit: Literal["bins", "nyquist"] = "bins"
    published: bool = True

    def call(self, own_size: int | None = None) -> dict[str, Any]:
        """Arguments of the pipeline's call; the size is never above `own_size`, what the pipeline itself draws."""
        side = self.size if own_size is None else min(self.size, own_size)
        return {"num_inference_steps": self.steps, "guidance_scale": self.guidance, "height": side, "width": side}


_SDXL = (False, True, True)
_OURS = "Ours, not measured on this model: "
_SD_15 = Preset(
    (1.05, 1.1, 1.3, 1.3),
    1.4,
    (0.3125, 0.625, 0.625, 0.625, 0.625),
    _OURS + "SDXL's of this table, with Turbo's shares of Nyquist",
    (True, True, True, False),
    50,
    7.5,
    512,
    "nyquist",
    published=False,
)
PRESETS = {
    "sdxl-turbo": Preset(
        (1.075, 1.15, 2.6),
        2.8,
        (5, 5, 5, 5),
        "Example notebook of the public code of C3 (a chair, seed 3, 512 px, 1 step)",
        _SDXL,
        1,
        0.0,
        512,
    ),
    "sdxl-lightning-1": Preset(
        (1.1, 1.3, 1.6),
        1.8,
        (10, 5, 5, 5),
        "Example notebook of the public code of C3 (a house, seed 42, 1,024 px, 1 step)",
        _SDXL,
        1,
        0.0,
        1024,
    ),
    "sdxl-lightning-4": Preset(
        (1.1, 1.3, 1.6),
        1.8,
        (10, 5, 5, 5),
        _OURS + "the 1-step gains; the public code acts at all 4 steps, its gains for them are unconfirmed",
        _SDXL,
        4,
        0.0,
        1024,
        published=False,
    ),
    "sdxl": Preset(
        (1.05, 1.1, 1.3),
        1.4,
        (10, 10, 10, 10),
        _OURS + "about a third of Turbo's excess, over the same share of Nyquist at 1,024 px",
        _SDXL,
        50,
        5.0,
        1024,
        published=False,
    ),
    "sd-1.5": _SD_15,
    "sd-2.1": replace(_SD_15, source=_OURS + "SD 1.5's, whose blocks are of the same layout", size=768),
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
