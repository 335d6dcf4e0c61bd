"""A pipeline with and without amplification on equal seeds: settings, scores, result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from genmend.activations import Edit
from genmend.diffusion.amplification.control_bands import AmplifyBand
from genmend.diffusion.amplification.gains import amplification_edits, edits_by_slot
from genmend.diffusion.amplification.low_frequencies import AmplifyLowFrequencies
from genmend.diffusion.loading import TextToImage
from genmend.diffusion.search.gain_search import GainSearch
from genmend.diffusion.search.scorers import Scorer, clip_score
from genmend.diffusion.search.trials import Comparison, Scores
from genmend.storage.tables import without_nan

__all__ = ["AmplifyRun", "AmplifySettings"]


@dataclass(frozen=True)
class AmplifySettings:
    """What to amplify by how much, and how to measure it.

    `gains`: slot -> gain. `n`: images of each prompt, seeds from `seed` on. `n_cloud`: unamplified images of each
    prompt that novelty is measured from; 0 measures none. `usability`: "" for the model's own scorer, "none", or
    "clip:MODEL". `features`: an extractor's name for novelty; "" for the model's own. `control`: "" or a band of
    `AmplifyBand`, drawn with the same gains beside the amplified images. `real`: a folder of real images of what is
    prompted; novelty counts only inside their manifold, and `keep_inside` is what a search keeps of the share there.
    """

    prompts: tuple[str, ...]
    gains: Mapping[str, float] | None = None
    preset: str = ""
    correction: Path | None = None
    search: bool = False
    blocks: Mapping[int, float] | None = None
    cutoff: float | None = None
    cutoff_unit: str = ""
    n: int = 8
    n_cloud: int = 64
    n_search: int = 16
    n_trials: int = 24
    tau: float = 0.95
    usability: str = ""
    features: str = ""
    control: str = ""
    real: Path | None = None
    keep_inside: float = 0.0
    seed: int = 0
    call: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        ways = [self.gains is not None, bool(self.preset), self.correction is not None, self.search, bool(self.blocks)]
        if sum(ways) != 1:
            raise ValueError("Give exactly one of --gains, --preset, --search, --correction, --blocks.")
        if not self.prompts or any(not prompt.strip() for prompt in self.prompts):
            raise ValueError(f"The prompts are {list(self.prompts)}; give --prompt with words, again for more.")
        if self.n < 1 or (0 < self.n_cloud <= 5):
            raise ValueError(f"--n is {self.n} and --n-cloud {self.n_cloud}; give at least 1, and 0 or at least 6.")
        if self.real is not None and not self.n_cloud:
            raise ValueError("--real says where novelty counts, and --n-cloud 0 measures none; leave one of them out.")
        if self.keep_inside and (self.real is None or not self.search):
            raise ValueError("--keep-inside is of a --search, and inside is among --real images; give both.")


@dataclass(frozen=True)
class AmplifyRun:
    """Result of ``genmend amplify``; ratios are amplified / original over the same prompts and seeds."""

    model: str
    edits: tuple[Edit, ...]
    comparison: Comparison
    control: Comparison | None
    pixel_change: float
    search: GainSearch | None
    settings: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """JSON's view, as in ``summary.json``."""
        return {
            "model": self.model,
            "gains": {edit.layer: getattr(edit, "gain", None) for edit in self.edits},
            "cutoffs": {edit.layer: getattr(edit, "cutoff", None) for edit in self.edits},
            **_plain(self.comparison),
            "pixel_change": self.pixel_change,
            "control": None if self.control is None else _plain(self.control),
            "search": None if self.search is None else without_nan(self.search.to_dict()),
            "settings": self.settings,
        }


def _edits(denoiser: nn.Module, settings: AmplifySettings) -> tuple[Edit, ...]:
    chosen = _cutoff(settings)
    chosen |= chosen.pop("edit_options", {})
    if settings.blocks:
        return amplification_edits(denoiser, blocks=settings.blocks, **chosen)
    if settings.preset:
        return amplification_edits(denoiser, settings.preset, **chosen)
    return edits_by_slot(denoiser, settings.gains or {}, **chosen)


def _cutoff(settings: AmplifySettings) -> dict[str, Any]:
    found: dict[str, Any] = {} if settings.cutoff is None else {"cutoff": settings.cutoff}
    return found | ({"edit_options": {"cutoff_unit": settings.cutoff_unit}} if settings.cutoff_unit else {})


def _control(edits: Sequence[Edit], band: str, seed: int) -> tuple[Edit, ...]:
    if not all(isinstance(edit, AmplifyLowFrequencies) for edit in edits):
        raise ValueError("A control needs amplified maps of a U-Net; leave --control out.")
    return tuple(
        AmplifyBand(edit.layer, edit.gain, edit.cutoff, band, edit.cutoff_unit, seed)  # type: ignore[attr-defined, arg-type]
        for edit in edits
    )


def _usability(model: TextToImage, settings: AmplifySettings) -> Mapping[str, Scorer]:
    if settings.usability.startswith("clip:"):
        return {settings.usability: clip_score(settings.usability.removeprefix("clip:"))}
    if settings.usability not in ("", "none"):
        raise ValueError(f"--usability is {settings.usability!r}; give none, or clip:MODEL with a hub name or folder.")
    return model.usability() if model.usability is not None and not settings.usability else {}


def _no_novelty(images: Tensor, prompt: str) -> Any:
    return np.full(len(images), np.nan)


def _scores(
    images: Sequence[Tensor], prompts: Sequence[str], usability: Mapping[str, Scorer], novelty: Scorer
) -> Scores:
    pairs = list(zip(images, prompts, strict=True))
    return Scores(
        {name: np.concatenate([scorer(x, prompt) for x, prompt in pairs]) for name, scorer in usability.items()},
        np.concatenate([novelty(x, prompt) for x, prompt in pairs]),
    )


def _plain(comparison: Comparison) -> dict[str, Any]:
    found: dict[str, Any] = without_nan(asdict(comparison))
    return found
