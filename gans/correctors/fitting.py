"""Fit what ``genmend correct --method`` names, on the generator's own samples or on labelled ones.

Whatever the method, the gate of the ladder says which samples need it and the ladder's stop rule whether it was enough,
so that methods can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genmend.activations import Correction, load_correction, save_correction
from genmend.gans.correctors.corrector import Corrector
from genmend.gans.correctors.ladder import default_rungs, fit_correction
from genmend.gans.correctors.latent_optimisation import LatentOptimisation
from genmend.gans.correctors.locally_active_units import LocallyActiveUnits
from genmend.gans.correctors.manifold_guided import ManifoldGuided
from genmend.gans.correctors.registry import LADDER, LOOK_AT_MASKS, MethodSettings
from genmend.gans.correctors.truncation import Truncation
from genmend.gans.detection.artifact_detector import ArtifactDetector
from genmend.gans.detection.kept_detector import DetectorSettings, fit_key, fitted_detector, measured
from genmend.gans.detection.labelled_samples import LabelledSamples
from genmend.gans.generator import Generator
from genmend.storage.digests import settings_key

__all__ = ["fitted_method"]

_MOST_NORMAL = 1_000  # own normal samples a corrector learns from, as in the face experiment


def fitted_method(
    generator: Generator,
    work: Path,
    wanted: MethodSettings,
    settings: DetectorSettings,
    *,
    resume: bool,
    progress: bool,
) -> tuple[Correction, Corrector | None]:
    """The correction, or the one that an interrupted run left; and the corrector where the edits can't be kept in one.

    There the correction has the gate and the stop rule, and one rung that does nothing; `info["in_file"]` is False.
    """
    path = work / f"correction-{settings_key(wanted.facts() | {'fit': fit_key(generator, settings)})}.safetensors"
    if resume and path.is_file():
        correction = load_correction(path)
        if correction.info["in_file"]:
            return correction, None
    detector = fitted_detector(generator, work, settings, resume=resume, progress=progress)
    labelled = None
    if wanted.labels is not None:
        features, _ = measured(generator, detector, wanted.labels.latents, work, resume=resume, progress=progress)
        labelled = features, wanted.labels.share
    rungs = None if wanted.method == LADDER else default_rungs(generator.layers, "rare")[:1]  # needs no measuring
    correction = fit_correction(
        generator, detector, rungs=rungs, labelled=labelled, progress=progress, **wanted.gate_quantiles()
    )
    info: dict[str, Any] = {"in_file": True}
    corrector = None
    if wanted.method != LADDER:
        learnt = _samples(generator, detector, wanted.labels)
        corrector = wanted.corrector(settings)
        masks = learnt.masks if wanted.method in LOOK_AT_MASKS else None
        corrector.fit(generator, learnt.normal, learnt.broken, masks=masks, progress=progress)
        edits = corrector.edits(learnt.normal[:1]) if _expressible(corrector) else ()
        correction = replace(correction, ladder=(edits,))
        info = {"method": wanted.method, "in_file": _expressible(corrector), "learnt_from": learnt.words, "rungs": []}
    info["parameters"] = dict(wanted.parameters)
    correction = replace(correction, info=correction.info | info)
    work.mkdir(parents=True, exist_ok=True)
    save_correction(path, correction)
    return correction, None if correction.info["in_file"] else corrector


@dataclass(frozen=True)
class _Samples:
    """What a corrector learns from; `words` for reports."""

    normal: Tensor
    broken: Tensor
    masks: Tensor | None
    words: str


def _samples(generator: Generator, detector: ArtifactDetector, labels: LabelledSamples | None) -> _Samples:
    """The labelled samples both raters agree on; without labels the own samples, as the detector sorts them."""
    if labels is not None:
        broken = torch.from_numpy(labels.broken)
        normal = labels.latents[torch.from_numpy(labels.normal)]
        masks = None if labels.masks is None else labels.masks[broken]
        words = f"{len(normal)} normal and {int(broken.sum())} broken samples by labels"
        return _Samples(normal, labels.latents[broken], masks, f"{words}, {labels.masks_from or 'no drawn masks'}")
    found = detector.score_measured(detector.own_features_, detector.own_counts_)
    if not found.flagged.any():
        raise ValueError(
            f"The detector finds none of the {len(found.flagged)} own samples broken, so there is nothing to learn "
            "from: give more own samples (--n-reference), or --labels."
        )
    own = generator.latents(detector.n_reference, detector.seed + 1)
    normal_rows: NDArray[np.int64] = np.flatnonzero(detector.own_normal_ & ~found.flagged)[:_MOST_NORMAL]
    normal, broken_latents = own[torch.from_numpy(normal_rows)], own[torch.from_numpy(found.flagged)]
    words = f"{len(normal)} normal and {len(broken_latents)} broken own samples by the label-free detector"
    return _Samples(normal, broken_latents, None, f"{words}, no drawn masks")


def _expressible(corrector: Corrector) -> bool:
    """Whether the same edits serve any latents and no latent is moved: then a correction file holds the method."""
    if isinstance(corrector, Truncation):
        return corrector.layer is not None
    return not isinstance(corrector, LatentOptimisation | LocallyActiveUnits | ManifoldGuided)
