"""Try a correction that somebody else has made: what it does to fresh samples, beside the same edits elsewhere."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genmend.activations import Correction, edited
from genmend.activations.correction_description import OTHER_LAYOUT, OTHER_WEIGHTS, model_fit
from genmend.gans.correctors.contrast_descent import descend
from genmend.gans.correctors.gated import Corrected, Treatment, corrected
from genmend.gans.generator import Generator
from genmend.gans.preview.elsewhere import MovedElsewhere, edits_elsewhere, latents_elsewhere
from genmend.gans.preview.settings import PreviewSettings
from genmend.manifold.features import extract, extractor_of_file

__all__ = ["CorrectionPreview", "Step", "preview_correction"]


@dataclass(frozen=True)
class Step:
    """One step of a correction on every sample, without its gate, and its control.

    Attributes
    ----------
    name : str
    score, control_score : ndarray (n,) or None
        Gate scores of the images, higher = more broken; None where nothing scores them.
    change, control_change : float
        Mean absolute difference of the pixels from the unedited image, 0 to 1.
    images, control_images : Tensor (n_shown, 3, h, w)
    """

    name: str
    score: NDArray[np.float64] | None
    control_score: NDArray[np.float64] | None
    change: float
    control_change: float
    images: Tensor = field(repr=False)
    control_images: Tensor = field(repr=False)


@dataclass(frozen=True)
class CorrectionPreview:
    """What a correction does.

    Attributes
    ----------
    model : str
    fit : str
        Whether the model is the one that it was made for, as `model_fit` says it.
    settings : PreviewSettings
    threshold : float or None
        Of the gate.
    before : ndarray (n,) or None
        Gate scores of the unedited images.
    steps : tuple of Step
        The weakest, the middle and the strongest rung; and the furthest descent, where latents are moved.
    gated, control_gated : Treatment or None
        Of the gate and the stop rule, as the correction is meant to be used; of the control the same edits at random
        places, and latents moved as far in random directions, by the same gate and stop rule.
    gated_change, control_gated_change : float or None
        Mean absolute difference of the pixels, 0 to 1, of the samples that were changed; None where none was.
    shown : ndarray (n_shown,)
        Which samples the images are of.
    images, mended : Tensor (n_shown, 3, h, w)
        Unedited, and as the gate and the stop rule leave them.
    not_checked : tuple of str
        What could not be, a sentence each.
    """

    model: str
    fit: str
    settings: PreviewSettings
    threshold: float | None = None
    before: NDArray[np.float64] | None = None
    steps: tuple[Step, ...] = ()
    gated: Treatment | None = None
    control_gated: Treatment | None = None
    gated_change: float | None = None
    control_gated_change: float | None = None
    shown: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    images: Tensor | None = field(default=None, repr=False)
    mended: Tensor | None = field(default=None, repr=False)
    not_checked: tuple[str, ...] = ()

    @property
    def flagged(self) -> NDArray[np.bool_] | None:
        """Which samples the gate opens to."""
        if self.before is None or self.threshold is None:
            return None
        opened: NDArray[np.bool_] = self.before > self.threshold
        return opened

    def to_dict(self) -> dict[str, Any]:
        """Return what ``summary.json`` holds."""
        return {
            "model": self.model,
            "fit": self.fit,
            "n": self.settings.n,
            "seed": self.settings.seed,
            "n_flagged": None if self.flagged is None else int(self.flagged.sum()),
            "gated": None if self.gated is None else self.gated.to_dict(),
            "control_gated": None if self.control_gated is None else self.control_gated.to_dict(),
            "gated_change": self.gated_change,
            "control_gated_change": self.control_gated_change,
            "steps": [self._of_step(step) for step in self.steps],
            "not_checked": list(self.not_checked),
        }

    def _of_step(self, step: Step) -> dict[str, Any]:
        found: dict[str, Any] = {"step": step.name, "change": step.change, "control_change": step.control_change}
        for name, score in (("", step.score), ("control_", step.control_score)):
            found |= {f"{name}{key}": value for key, value in self._flags(score).items()}
        return found

    def _flags(self, score: NDArray[np.float64] | None) -> dict[str, Any]:
        """Flagged after, of those flagged before and of the others, and the median score; nothing without scores."""
        flagged = self.flagged
        if score is None or flagged is None or self.threshold is None:
            return {"flagged_of_flagged": None, "flagged_of_others": None, "median_score": None}
        after = score > self.threshold
        return {
            "flagged_of_flagged": int(after[flagged].sum()),
            "flagged_of_others": int(after[~flagged].sum()),
            "median_score": float(np.median(score)),
        }


def preview_correction(
    generator: Generator,
    correction: Correction,
    *,
    settings: PreviewSettings | None = None,
    progress: bool = False,
) -> CorrectionPreview:
    """Try a correction on fresh samples of a generator, which is as before afterwards.

    Where the layout is another one, or the weights are and `allow_other_weights` is False, nothing is tried and `fit`
    says so.

    Raises
    ------
    ValueError
        If a layer of an edit is none of the generator's.
    """
    settings = settings or PreviewSettings()
    fit = model_fit(correction, generator.module)
    told = _not_told(generator, correction, fit)
    if fit == OTHER_LAYOUT or (fit == OTHER_WEIGHTS and not settings.allow_other_weights):
        return CorrectionPreview(generator.name, fit, settings, not_checked=(*told, f"Nothing was tried: {fit}."))
    score, why = _scorer(correction)
    control, same = edits_elsewhere(generator, correction.ladder, settings.seed)
    latents = generator.latents(settings.n, settings.seed)
    images = generator.generate(latents, progress=progress)
    before = None if score is None else score(images)
    shown = _shown(before, settings)
    steps = [
        _step(name, images, shown, score, *_images_of_rung(generator, correction, control, number, latents))
        for number, name in _rungs(len(correction.ladder)).items()
    ]
    moved = _moved(generator, correction, latents, settings.seed)
    if moved is not None:
        steps.insert(0, _step("latents moved furthest", images, shown, score, *map(generator.generate, moved)))
    gated, control_gated = (
        _gated(generator, correction, control, latents, settings.seed, progress) if score else (None, None)
    )
    return CorrectionPreview(
        generator.name,
        fit,
        settings,
        None if correction.gate is None else correction.gate.threshold,
        before,
        tuple(steps),
        gated,
        control_gated,
        _change(gated),
        _change(control_gated),
        shown,
        images[torch.from_numpy(shown)],
        None if gated is None else gated.images[torch.from_numpy(shown)],
        (*told, *why, *(f"{one} has no places to choose at random: it is in the control too." for one in same)),
    )


def _rungs(n: int) -> dict[int, str]:
    """The weakest, the middle and the strongest rung, by their numbers."""
    return {number: f"rung {number + 1} of {n}" for number in sorted({0, (n - 1) // 2, n - 1})}


def _scorer(correction: Correction) -> tuple[Callable[[Tensor], NDArray[np.float64]] | None, list[str]]:
    """What scores images by the gate; or why nothing does."""
    gate = correction.gate
    if gate is None:
        return None, ["How broken the samples are before and after: the file has no gate, so nothing scores them."]
    try:
        extractor = extractor_of_file(gate.extractor)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        return None, [f"How broken the samples are before and after: {error}"]
    return lambda images: gate.score(extract(extractor, images).astype(np.float64)), []


def _shown(before: NDArray[np.float64] | None, settings: PreviewSettings) -> NDArray[np.int64]:
    n = min(settings.n_shown, settings.n)
    return np.arange(n) if before is None else np.argsort(-before, kind="stable")[:n]


def _images_of_rung(
    generator: Generator, correction: Correction, control: Sequence[Any], number: int, latents: Tensor
) -> tuple[Tensor, Tensor]:
    """Images of every latent by a rung, and by its control."""
    made = []
    for ladder in (correction.ladder, control):
        with edited(generator.module, *ladder[number]):
            made.append(generator.generate(latents))
    return made[0], made[1]


def _moved(generator: Generator, correction: Correction, latents: Tensor, seed: int) -> tuple[Tensor, Tensor] | None:
    """Latents moved to the furthest target, and as far in random directions."""
    if correction.descent is None:
        return None
    moved = descend(generator, correction.descent, latents, len(correction.descent.targets) - 1)
    return moved, latents_elsewhere(latents, moved, keeps_norm=correction.descent.radius is None, seed=seed)


def _step(
    name: str,
    before: Tensor,
    shown: NDArray[np.int64],
    score: Callable[[Tensor], NDArray[np.float64]] | None,
    images: Tensor,
    control: Tensor,
) -> Step:
    rows = torch.from_numpy(shown)
    return Step(
        name,
        None if score is None else score(images),
        None if score is None else score(control),
        float((images - before).abs().mean()),
        float((control - before).abs().mean()),
        images[rows],
        control[rows],
    )


def _gated(
    generator: Generator,
    correction: Correction,
    control: tuple[Any, ...],
    latents: Tensor,
    seed: int,
    progress: bool,
) -> tuple[Corrected | None, Corrected | None]:
    """What gate and stop rule make of the correction, and of its control."""
    if correction.stop_rule is None:
        return None, None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `fit` and the settings are told on their own
        done = corrected(generator, correction, allow_other_weights=True)(latents, progress=progress)
        elsewhere = MovedElsewhere(generator, replace(correction, ladder=control), allow_other_weights=True)
        elsewhere.seed = seed
        other = elsewhere(latents, progress=progress)
    return done, other


def _change(done: Corrected | None) -> float | None:
    if done is None or not done.changed.any():
        return None
    rows = torch.from_numpy(np.flatnonzero(done.changed))
    return float((done.images[rows] - done.before[rows]).abs().mean())


def _not_told(generator: Generator, correction: Correction, fit: str) -> list[str]:
    """What no try can tell."""
    told = [
        "What another judge than the correction's own gate says: `genmend correct --correction FILE --judge` asks one."
    ]
    made_at, now = correction.generator_settings, dict(generator.settings)
    if made_at is not None and made_at != now:
        told.append(f"How it does at the settings it was made at ({made_at}): the generator runs at {now}.")
    return told if correction.gate is not None else []
