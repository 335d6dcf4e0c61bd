"""Fit what ``genmend correct --method`` names, on the generator's own samples or on labelled ones.

Whatever the method, the gate of the ladder says which samples need it and the ladder's stop rule whether it was enough,
so that methods can be compared.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genmend.activations import Correction, Gate, load_correction, save_correction
from genmend.gans.correctors.contrast_descent import DESCENTS
from genmend.gans.correctors.corrector import Corrector
from genmend.gans.correctors.ladder import default_rungs, fit_correction
from genmend.gans.correctors.registry import DESCENT, LOOK_AT_MASKS, MethodSettings
from genmend.gans.detection.artifact_detector import DEFAULT_SHARE, ArtifactDetector
from genmend.gans.detection.defect_masks import MOST_EXPLAINED, GateScore, MaskMaker, made_masks
from genmend.gans.detection.detect import check_detector, detector_facts, fit_detector, measure_samples
from genmend.gans.detection.detector_file import AnyDetector, detector_digest
from genmend.gans.detection.labelled_samples import LabelledSamples
from genmend.gans.detection.majority_trust import check_majority
from genmend.gans.generator import Generator
from genmend.gans.image_features import image_batches
from genmend.gans.settings import DetectorSettings
from genmend.manifold.features import extractor_of_file
from genmend.storage.digests import settings_key, sha256_of_array
from genmend.storage.pieces import Work

__all__ = ["FittedMethod", "MarkedSamples", "fit_method"]

N_MARKED = 12  # samples that are kept with their masks, to be looked at
_MOST_NORMAL = 1_000  # own normal samples a corrector learns from, as in the face experiment


@dataclass(frozen=True)
class MarkedSamples:
    """The first broken samples that a corrector learnt from, and where they are taken for broken.

    Attributes
    ----------
    latents : Tensor (m, *latent_shape)
    masks : Tensor (m, h, w)
        0..1, in steps of 1/255.
    """

    latents: Tensor
    masks: Tensor


@dataclass(frozen=True)
class FittedMethod:
    """What `fit_method` gives.

    Attributes
    ----------
    correction : Correction
        Where the method's edits can't be kept in one, it has the gate and the stop rule and one rung that does nothing.
    corrector : Corrector or None
        The fitted one in that case.
    marked : MarkedSamples or None
        Where the method looks at masks and some were given or asked for.
    """

    correction: Correction
    corrector: Corrector | None
    marked: MarkedSamples | None


def fit_method(
    generator: Generator,
    method: MethodSettings | None = None,
    settings: DetectorSettings | None = None,
    work: Work | None = None,
    *,
    detector: AnyDetector | None = None,
    normal: NDArray[Any] | None = None,
) -> FittedMethod:
    """Fit a correction, or load the one that an earlier run has kept.

    `detector` is one fitted before, in place of one fitted with these settings; `normal` (n, d) features of normal
    images, in place of the own samples taken for normal.
    """
    method, settings, work = method or MethodSettings(), settings or DetectorSettings(), work or Work()
    corrector = None if method.is_own else method.corrector(settings)
    in_file = corrector is None or corrector.is_static
    facts = {}
    if work.folder is not None:
        facts = method.facts() | {"fit": settings_key(detector_facts(generator, settings))}
        facts |= {} if detector is None else {"detector": detector_digest(detector)}
        facts |= {} if normal is None else {"normal": sha256_of_array(normal)}
    keep = work if in_file else replace(work, resume=False)  # the corrector itself is not kept
    marked: dict[str, NDArray[Any]] = {}

    def fit() -> Correction:
        whole = _whole(generator, detector, settings, normal, work)
        correction, learnt = _fit(generator, method, whole, work, corrector, in_file)
        if learnt is not None and learnt.masks is not None:
            masks = (learnt.masks[:N_MARKED].float() * 255).round().byte()
            marked.update(latents=learnt.broken[:N_MARKED].cpu().numpy(), masks=masks.cpu().numpy())
            replace(keep, resume=False).kept("marked", facts, lambda: marked)
        return replace(correction, info=correction.info | {"made_with": _made_with(method, settings, detector, normal)})

    correction = keep.kept("correction", facts, fit, save=save_correction, load=load_correction)
    if not marked and method.marks:  # the correction is an earlier run's
        marked |= keep.kept("marked", facts, dict)
    samples = (
        MarkedSamples(torch.from_numpy(marked["latents"]), torch.from_numpy(marked["masks"]).float() / 255)
        if marked
        else None
    )
    return FittedMethod(correction, None if in_file else corrector, samples)


def _made_with(
    method: MethodSettings, settings: DetectorSettings, detector: AnyDetector | None, normal: NDArray[Any] | None
) -> dict[str, Any]:
    """What whoever has the file needs to make it anew."""
    return {
        "method": method.method,
        "parameters": dict(method.parameters),
        "settings": asdict(settings),
        "labels": method.labels is not None,
        "masks": "" if method.masks is None else method.masks.name,
        "detector": detector is not None,
        "normal": normal is not None,
    }


def _fit(
    generator: Generator,
    method: MethodSettings,
    detector: ArtifactDetector,
    work: Work,
    corrector: Corrector | None,
    in_file: bool,
) -> tuple[Correction, _Samples | None]:
    """A correction of the method, and what its corrector, where it has one, was fitted to."""
    known = detector.labelled_
    labelled = None if known is None else (known.features, known.shares)
    if method.labels is not None:
        features, _ = measure_samples(generator, detector, method.labels.latents, work)
        labelled = features, method.labels.share
    rungs = None if method.is_own else default_rungs(generator.layers, "rare")[:1]  # needs no measuring
    descents = DESCENTS if method.method == DESCENT else ()
    correction = fit_correction(
        generator,
        detector,
        rungs=rungs,
        descents=descents,
        labelled=labelled,
        progress=work.progress,
        **method.gate_quantiles(),
    )
    info: dict[str, Any] = {"in_file": in_file}
    learnt = None
    if corrector is not None:
        learnt = _samples(generator, detector, method.labels)
        if method.masks is not None and correction.gate is not None:
            learnt = _explained(generator, learnt, correction.gate, method.masks, work)
        learnt = learnt if method.method in LOOK_AT_MASKS else replace(learnt, masks=None)
        corrector.fit(generator, learnt.normal, learnt.broken, masks=learnt.masks, progress=work.progress)
        edits = corrector.edits(learnt.normal[:1]) if in_file else ()
        correction = replace(correction, ladder=(edits,))
        info |= {"method": method.method, "learnt_from": learnt.words, "rungs": []}
    info["parameters"] = dict(method.parameters)
    majority = check_majority(generator, detector, work) if labelled is None else None
    info["majority"] = None if majority is None else majority.to_dict()
    return replace(correction, info=correction.info | info), learnt


def _whole(
    generator: Generator,
    detector: AnyDetector | None,
    settings: DetectorSettings,
    normal: NDArray[Any] | None,
    work: Work,
) -> ArtifactDetector:
    """A detector that knows the generator's own samples; one trained on images alone is fitted to these."""
    if isinstance(detector, ArtifactDetector):
        check_detector(detector, generator)
        return detector
    if detector is None:
        return fit_detector(generator, settings, work, normal)
    check_detector(detector, generator)
    assert isinstance(detector.extractor, str)
    own = fit_detector(generator, replace(settings, extractor=detector.extractor), work)
    return detector.taught(own)


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
    flagged, by = detector.own_flagged_, "the label-free detector"
    if not flagged.any() and detector.own_scores_ is not None:  # the gate stays shut, whatever is learnt
        flagged = detector.own_scores_ > np.quantile(detector.own_scores_, 1 - DEFAULT_SHARE)
        by = f"score alone (no sign of broken ones: the highest {DEFAULT_SHARE:.0%})"
    if not flagged.any():
        raise ValueError(
            f"The detector finds none of the {len(flagged)} own samples broken, so there is nothing to learn "
            "from: give the share to take for broken (--flagged-share), more own samples (--n-reference), or --labels."
        )
    own = generator.latents(detector.n_reference, detector.seed + 1)
    normal_rows: NDArray[np.int64] = np.flatnonzero(detector.own_normal_ & ~flagged)[:_MOST_NORMAL]
    normal, broken_latents = own[torch.from_numpy(normal_rows)], own[torch.from_numpy(flagged)]
    words = f"{len(normal)} normal and {len(broken_latents)} broken own samples by {by}"
    return _Samples(normal, broken_latents, None, f"{words}, no drawn masks")


def _explained(generator: Generator, learnt: _Samples, gate: Gate, maker: MaskMaker, work: Work) -> _Samples:
    """The samples with masks of what makes the gate call them broken; the first broken ones alone where many are."""
    score = GateScore(gate, extractor_of_file(gate.extractor))
    broken = learnt.broken[:MOST_EXPLAINED]
    masks = made_masks(maker, score, image_batches(generator, broken, maker.name, work.progress))
    learnt_from, _, _ = learnt.words.rpartition(", ")
    few = f" of the first {len(broken)} broken ones" if len(broken) < len(learnt.broken) else ""
    return replace(learnt, broken=broken, masks=masks, words=f"{learnt_from}, masks by {maker.name}{few}")
