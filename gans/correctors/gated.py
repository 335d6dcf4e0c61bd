"""Apply a correction with judgement: only to samples that need it, and no more of it than they need."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from genmend.activations import Correction, Edit, edited
from genmend.gans.correctors.contrast_descent import descend
from genmend.gans.generator import Generator
from genmend.manifold import Manifold
from genmend.manifold.features import extract, extractor_of_file

if TYPE_CHECKING:
    from genmend.gans.correctors.corrector import Corrector

__all__ = ["UNTOUCHED", "Corrected", "CorrectedOptions", "GatedGenerator", "Treatment", "corrected"]

UNTOUCHED = -1


@dataclass(frozen=True)
class Treatment:
    """What a correction did to each of n samples.

    Attributes
    ----------
    rung : ndarray (n,) int
        The rung of the ladder that was taken; the ladder's length and up: the target of the descent, whose count goes
        on there; -1 (UNTOUCHED) where the gate stayed shut or nothing was enough.
    given_up : ndarray (n,) bool
        The gate was open and nothing was enough: the image is the uncorrected one.
    gate_before, gate_after : ndarray (n,)
        Gate scores of the uncorrected image and of the one returned; higher = more broken.
    manifold_before, manifold_after : ndarray (n,)
        Distance / radius in the own-normal manifold (`Manifold.score_samples`); lower = more normal.
    """

    rung: NDArray[np.int64]
    given_up: NDArray[np.bool_]
    gate_before: NDArray[np.float64]
    gate_after: NDArray[np.float64]
    manifold_before: NDArray[np.float64]
    manifold_after: NDArray[np.float64]

    @property
    def changed(self) -> NDArray[np.bool_]:
        """Which samples were edited."""
        return self.rung != UNTOUCHED

    def columns(self) -> dict[str, NDArray[Any]]:
        """One array per attribute, by name, as in ``corrections.csv``."""
        return {field.name: getattr(self, field.name) for field in fields(Treatment)}

    def to_dict(self) -> dict[str, Any]:
        """Totals for JSON."""
        rungs, counts = np.unique(self.rung[self.changed], return_counts=True)
        return {
            "n": len(self.rung),
            "n_changed": int(self.changed.sum()),
            "n_given_up": int(self.given_up.sum()),
            "n_by_rung": {int(rung): int(count) for rung, count in zip(rungs, counts, strict=True)},
            "gate_score_median_before": float(np.median(self.gate_before)),
            "gate_score_median_after": float(np.median(self.gate_after)),
        }


@dataclass(frozen=True)
class Corrected(Treatment):
    """A treatment with the images before and after it.

    Attributes
    ----------
    images : Tensor (n, 3, h, w)
        In 0..1; where `rung` is -1 bit for bit the uncorrected ones.
    latents : Tensor (n, *latent_shape)
        Those that `images` were generated from; a rung of the ladder leaves them as they were.
    before : Tensor (n, 3, h, w)
        The uncorrected images; the same tensor as `images` where no sample was changed.
    """

    images: Tensor
    latents: Tensor
    before: Tensor


class GatedGenerator:
    """A generator with a correction: call it with latents. `corrected` makes one.

    The model itself is edited only while a rung is tried, and is as before after every call, also after an error.
    """

    def __init__(
        self,
        generator: Generator,
        correction: Correction,
        *,
        gate: bool = True,
        extractor: Callable[[Tensor], Tensor] | None = None,
        corrector: Corrector | None = None,
        allow_other_weights: bool = False,
    ) -> None:
        if correction.gate is None or correction.stop_rule is None:
            raise ValueError(
                "This correction has no gate or no stop rule, so it can't choose a rung itself: use "
                "attach(model, correction, rung=r), or make it with gans.fit_correction."
            )
        correction.check(generator.module, allow_other_weights=allow_other_weights)
        _warn_of_other_settings(correction.generator_settings, generator)
        self.generator = generator
        self.correction = correction
        self.gated = gate
        self._corrector = corrector
        self._gate = correction.gate
        self._stop_rule = correction.stop_rule
        self._extractor = extractor or extractor_of_file(correction.gate.extractor)
        self._normal = Manifold.from_radii(self._stop_rule.features, self._stop_rule.radii, k=self._stop_rule.k)

    def __call__(
        self, latents: Tensor | NDArray[Any], *, features: NDArray[Any] | None = None, progress: bool = False
    ) -> Corrected:
        """Generate each sample once, score it, and climb the ladder with the samples that need it.

        Where the correction has a descent its targets are tried first, from weak to strong, and the ladder for those
        samples alone that none of them brings back. A sample stops at the first try that makes it normal enough; where
        none does, at the most normal one of those that bring it inside the normal manifold; where none does that, it is
        given up.

        Parameters
        ----------
        latents : (n, *latent_shape)
        features : (n, d), optional
            Of the uncorrected images by the gate's extractor, where they were extracted before.
        progress : bool
            Show progress bars.
        """
        latents = self.generator.checked_latents(latents)
        before, moved = self.generator.generate(latents, progress=progress), latents.clone()
        images = before
        if features is None:
            features = extract(self._extractor, before, progress=progress)
        elif len(features) != len(latents):
            raise ValueError(f"{len(features)} rows of features for {len(latents)} latents; give one row for each.")
        gate_before, manifold_before = self._scores(features)
        gate_after, manifold_after = gate_before.copy(), manifold_before.copy()
        needs = gate_before > self._gate.threshold if self.gated else np.ones(len(latents), dtype=bool)
        rung_of = np.full(len(latents), UNTOUCHED)
        climbing = np.flatnonzero(needs)
        lowest = np.full(len(latents), np.inf)
        for rung, attempt in self._attempts(progress):
            if self._descends and rung < len(self.correction.ladder):
                climbing = climbing[rung_of[climbing] == UNTOUCHED]
            if not len(climbing):
                break
            tried, drawn_from = attempt(latents[climbing])
            gate_score, manifold_score = self._scores(extract(self._extractor, tried, progress=progress))
            better = self._stop_rule.is_normal(gate_score, manifold_score) & (gate_score < lowest[climbing])
            taken = climbing[better]
            if len(taken) and images is before:
                images = before.clone()
            images[taken], moved[taken], rung_of[taken] = tried[better], drawn_from[better], rung
            gate_after[taken], manifold_after[taken] = gate_score[better], manifold_score[better]
            lowest[taken] = gate_score[better]
            climbing = climbing[lowest[climbing] > self._stop_rule.enough_gate_score]
        given_up = needs & (rung_of == UNTOUCHED)
        scores = gate_before, gate_after, manifold_before, manifold_after
        return Corrected(rung_of, given_up, *scores, images, moved, before)

    def generate_again(self, moved: Tensor, rungs: NDArray[np.int64]) -> Tensor:
        """Images (n, 3, h, w) of corrected samples, from `Corrected.latents` and `Treatment.rung`, without scoring."""
        images = self.generator.generate(moved)
        for rung in np.unique(rungs[rungs != UNTOUCHED]):
            rows = np.flatnonzero(rungs == rung)
            if self._corrector is not None:
                images[rows] = self._corrector.generate(self.generator, moved[rows])
            elif rung < len(self.correction.ladder):
                images[rows] = self._edited(self.correction.ladder[rung], moved[rows], progress=False)[0]
        return images

    def passes_gate(self, images: Tensor, *, progress: bool = False) -> NDArray[np.bool_]:
        """Whether the gate stays shut for each of these images (n, 3, h, w)."""
        features = extract(self._extractor, images, progress=progress)
        return self._gate.score(features.astype(np.float64)) <= self._gate.threshold

    @property
    def _descends(self) -> bool:
        return self.correction.descent is not None and self._corrector is None

    def _attempts(self, progress: bool) -> list[tuple[int, Callable[[Tensor], tuple[Tensor, Tensor]]]]:
        """What is tried in turn, with its number in `Treatment.rung`.

        Each takes latents and gives images, and the latents they were drawn from.
        """
        if self._corrector is not None:
            return [(0, partial(self._with_corrector, self._corrector))]
        ladder = [partial(self._edited, edits, progress=progress) for edits in self.correction.ladder]
        descent = self.correction.descent
        targets = () if descent is None else descent.targets
        descents = [partial(self._descended, target, progress=progress) for target in range(len(targets))]
        return [*enumerate(descents, start=len(ladder)), *enumerate(ladder)]

    def _descended(self, target: int, latents: Tensor, *, progress: bool) -> tuple[Tensor, Tensor]:
        assert self.correction.descent is not None
        moved = descend(self.generator, self.correction.descent, latents, target, progress=progress)
        return self.generator.generate(moved, progress=progress), moved

    def _with_corrector(self, corrector: Corrector, latents: Tensor) -> tuple[Tensor, Tensor]:
        moved = corrector.move(latents)
        return corrector.generate(self.generator, moved), moved

    def _edited(self, edits: tuple[Edit, ...], latents: Tensor, *, progress: bool) -> tuple[Tensor, Tensor]:
        with edited(self.generator.module, *edits):
            return self.generator.generate(latents, progress=progress), latents

    def _scores(self, features: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self._gate.score(features.astype(np.float64)), self._normal.score_samples(features)


def _warn_of_other_settings(made_at: Mapping[str, Any] | None, generator: Generator) -> None:
    """Weights alone do not make the samples: another truncation or noise makes others than the correction learnt on."""
    if made_at is None:  # a file from before this was kept
        return
    names = sorted({*made_at, *generator.settings})
    other = [n for n in names if made_at.get(n) != generator.settings.get(n)]
    if other:
        was, now = (", ".join(f"{n}={held.get(n)!r}" for n in other) for held in (made_at, generator.settings))
        warnings.warn(
            f"The correction was made at {was}, but the generator runs at {now}: its gate and stop rule may not fit; "
            "load the generator as it was, or fit the correction anew.",
            stacklevel=4,
        )


class CorrectedOptions(TypedDict, total=False):
    """Options of `corrected`."""

    gate: bool
    extractor: Callable[[Tensor], Tensor] | None
    corrector: Corrector | None
    allow_other_weights: bool


def corrected(generator: Generator, correction: Correction, **options: Unpack[CorrectedOptions]) -> GatedGenerator:
    """Wrap the generator so that a correction mends its samples: ``corrected(generator, correction)(latents)``.

    Parameters
    ----------
    generator : Generator
        With the weights the correction was made for.
    correction : Correction
        With gate and stop rule, as `gans.fit_correction` makes it.
    gate : bool, default True
        Where False every sample is taken for one that needs correction, and gets at least the first rung.
    extractor : callable, optional
        In place of the one that the gate names; for those that have no name.
    corrector : Corrector, optional
        A fitted one that is tried in place of the ladder, of which gate and stop rule stay; for methods that edit each
        sample in its own way or move latents.
    allow_other_weights : bool, default False
        Accept a generator of the same layout with other weights.

    Raises
    ------
    activations.CorrectionMismatchError
        If the correction was made for another model.
    ValueError
        If it has no gate or no stop rule.
    TypeError
        If there is no such option.
    """
    return GatedGenerator(generator, correction, **options)
