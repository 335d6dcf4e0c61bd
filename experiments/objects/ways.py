"""Ways to draw vessels that could be more creative than the plain prompt, each at several strengths.

Every band of the spectrum is tried with the same gains, so that a band that wins does not win by trying more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from scipy.stats import qmc

from genmend.activations import Edit
from genmend.diffusion import PRESETS, amplified, cads, freeu
from genmend.diffusion.amplification.control_bands import AmplifyBand
from genmend.diffusion.amplification.gains import edits_by_slot
from genmend.diffusion.baselines.freeu import FREEU_SETTINGS
from genmend.diffusion.pipeline_parts import block_layers

# SDXL-Turbo's 5 bins as shares of Nyquist: of 16 bins in its first block, of 8 in the others.
CUTOFFS = {"down0": 0.3125, "down1": 0.625, "down2": 0.625, "mid": 0.625}
LARGEST = {"down0": 2.0, "down1": 3.0, "down2": 4.0, "mid": 6.0}  # gains of the search
BANDS = ("low", "full", "high", "random")
FREEU_SHARES = (0.25, 0.5, 1.0)  # of the authors' setting for SDXL
PRESET_SHARES = (0.25, 0.5, 1.0)  # of the published gains' excess over 1


@dataclass(frozen=True)
class Way:
    """One way to draw, at one strength.

    Attributes
    ----------
    family
        What it is: the strongest of a family is chosen on the seeds of the choice.
    strength
        What sets it apart in its family.
    on
        What to have on while the pipeline draws; it is given the pipeline and a number that is another for each batch.
    call
        Arguments of the pipeline's call in place of the regime's.
    gamma
        Standard deviation of the initial noise.
    against_plain
        Whether the picture is guided away from what the prompt without "creative" draws.
    cost
        Calls of the U-Net for each that plain drawing takes.
    """

    family: str
    strength: str = ""
    on: Callable[[Any, int], AbstractContextManager[Any]] = lambda pipe, number: nullcontext()
    call: Mapping[str, Any] = field(default_factory=dict)
    gamma: float = 1.0
    against_plain: bool = False
    cost: float = 1.0


PLAIN = Way("plain")


def band_edits(unet: Any, band: str, gains: Mapping[str, float]) -> tuple[Edit, ...]:
    """Amplify one band of each block by its gain."""
    if band == "low":
        return edits_by_slot(unet, gains, cutoff=CUTOFFS, cutoff_unit="nyquist")
    layers = block_layers(unet)
    return tuple(
        AmplifyBand(layers[slot], gain, CUTOFFS[slot], band, "nyquist")  # type: ignore[arg-type]
        for slot, gain in gains.items()
    )


def amplifying(family: str, band: str, gains: Mapping[str, float]) -> Way:
    """A band of the blocks amplified by gains such as ``{"down0": 1.1, "mid": 1.8}``."""
    kept = {slot: round(gain, 3) for slot, gain in gains.items() if gain != 1}

    def on(pipe: Any, number: int) -> AbstractContextManager[Any]:
        return amplified(pipe, edits=band_edits(pipe.unet, band, kept))

    return Way(family, ", ".join(f"{slot} {gain:g}" for slot, gain in kept.items()), on)


def published_ways() -> list[Way]:
    """The published gains, whole and shrunk; they are of one unguided step."""
    ways = []
    for name in ("sdxl-turbo", "sdxl-lightning-1"):
        preset = PRESETS[name]
        gains = {f"down{i}": gain for i, gain in enumerate(preset.down)} | {"mid": preset.mid}
        for share in PRESET_SHARES:
            ways.append(amplifying(f"preset {name}", "low", {k: 1 + share * (g - 1) for k, g in gains.items()}))
    return ways


def searched_ways(band: str, n_trials: int) -> list[Way]:
    """Joint gains of all four blocks, the same for every band: a Sobol sequence that is denser near 1."""
    points = qmc.Sobol(len(LARGEST), seed=0).random(n_trials)
    gains = [
        {slot: float(most**share) for (slot, most), share in zip(LARGEST.items(), np.square(point), strict=True)}
        for point in points
    ]
    return [amplifying(f"search, {band} band", band, one) for one in gains]


def mid_ways() -> list[Way]:
    """The middle block alone."""
    return [amplifying("mid block alone, low band", "low", {"mid": gain}) for gain in (1.5, 2.0, 3.0, 4.0, 6.0)]


def other_ways(n_steps: int, guided: bool) -> list[Way]:
    """What others do: FreeU, CADS, boosted noise, and more guidance."""
    ways = []
    for share in FREEU_SHARES:
        settings = {name: 1 + share * (value - 1) for name, value in FREEU_SETTINGS["sdxl"].items()}
        ways.append(Way("FreeU", f"{share:g} of SDXL's", lambda pipe, number, s=settings: freeu(pipe, **s)))  # type: ignore[misc]
    for scale in (0.05, 0.1, 0.25) if n_steps > 1 else (0.25,):  # in one step there is nothing to anneal
        ways.append(Way("CADS", f"scale {scale:g}", partial(_cads, scale)))
    ways += [Way("boosted noise", f"gamma {gamma:g}", gamma=gamma) for gamma in (1.05, 1.1, 1.2, 1.4)]
    for scale in (1.5, 2.0, 3.0, 5.0):
        cost = 1.0 if guided else 2.0
        ways.append(Way("guidance", f"scale {scale:g}", call={"guidance_scale": scale}, cost=cost))
    return ways


def against_plain_ways(guided: bool) -> list[Way]:
    """Guided away from the prompt without "creative": twice the calls of an unguided step."""
    cost = 1.0 if guided else 2.0
    return [
        Way("away from the plain prompt", f"scale {s:g}", call={"guidance_scale": s}, against_plain=True, cost=cost)
        for s in (1.5, 2.0, 3.0, 5.0)
    ]


def _cads(scale: float, pipe: Any, number: int) -> AbstractContextManager[Any]:
    return cads(pipe, scale, tau2=1.0, seed=10_000 * (number + 1))
