"""Correct samples: fit or take a correction, apply it chunk by chunk, and ask a second judge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file
from torch import Tensor

from genmend.activations import AblateNeurons, CapNeurons, Correction, load_correction
from genmend.gans.correctors.fitting import MarkedSamples, fit_method
from genmend.gans.correctors.gated import Corrected, GatedGenerator, Treatment, corrected
from genmend.gans.correctors.registry import MethodSettings
from genmend.gans.correctors.second_judge import Judgement, SecondJudge
from genmend.gans.detection.detector_file import AnyDetector, load_detector
from genmend.gans.detection.evidence import threshold_table
from genmend.gans.detection.majority_trust import blurred, detail_of, warn_of_majority
from genmend.gans.detection.normal_images import normal_features
from genmend.gans.detection.rare_activation import ablated_share
from genmend.gans.detection.tail import Tail
from genmend.gans.generator import Generator, generator_facts
from genmend.gans.probing import Probe, probed
from genmend.gans.settings import DetectorSettings
from genmend.storage.digests import settings_key, sha256_of_array
from genmend.storage.notebook import NotebookResult
from genmend.storage.pieces import Work

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "CHUNK",
    "CorrectRun",
    "ImageStore",
    "correct",
    "correction_digest",
    "edit_maps",
    "most_broken",
    "switches_neurons",
]

CHUNK = 64


class ImageStore(Protocol):
    """Takes the images of each chunk, where all of them together are too many for memory."""

    def digest(self, rows: range) -> str:
        """SHA-256 of the images of these rows as they are there, from whatever run; empty where one is missing."""
        ...

    def add(self, rows: range, done: Corrected) -> None:
        """Keep the images of these rows, before and after."""
        ...


@dataclass(frozen=True, repr=False)
class CorrectRun(NotebookResult):
    """Result of `correct`.

    Attributes
    ----------
    model, method : str
    treatment : Treatment
        What was done to each sample; with the images, as a `Corrected`, where no store took them.
    limits : (float, float)
        The gate score above which a sample is flagged, and the distance / radius above which it is outside the normal
        manifold.
    in_file : bool
        Whether a file of `correction` does the same; else the method finds an edit or a latent for each sample.
    settings : dict
        Of the run, as JSON holds them.
    judge : Judgement or None
        What another extractor says.
    correction : Correction
    latents : Tensor (n, *latent_shape)
        Those that the images after were generated from.
    blurred : dict
        Share of the corrected samples that lost a third of their finest detail or more, and whether that is most.
    probe : Probe or None
        What two runs of two latents have shown of the generator.
    marked : MarkedSamples or None
        Samples that the correction was learnt from with the masks that were given or asked for, if any.
    """

    model: str
    method: str
    treatment: Treatment
    limits: tuple[float, float]
    in_file: bool
    settings: dict[str, Any]
    judge: Judgement | None
    correction: Correction = field(repr=False, compare=False)
    latents: Tensor = field(repr=False, compare=False)
    blurred: dict[str, Any]
    probe: Probe | None = field(default=None, repr=False, compare=False)
    marked: MarkedSamples | None = field(default=None, repr=False, compare=False)

    def columns(self) -> dict[str, NDArray[Any]]:
        """What was done to every sample, as in ``corrections.csv``."""
        return self.treatment.columns()

    def plot(self) -> Figure:
        """Draw histograms of the gate score before and after, with the threshold."""
        from genmend.manifold.figures.series_histogram import series_histogram

        scores = {"before": self.treatment.gate_before, "after": self.treatment.gate_after}
        return series_histogram(scores, "gate score (higher = more broken)", self.limits[0])

    def to_dict(self) -> dict[str, Any]:
        """Return what ``summary.json`` holds."""
        done, (gate, manifold) = self.treatment, self.limits
        return {
            "model": self.model,
            "method": self.method,
            **done.to_dict(),
            "n_flagged": _counts(done.gate_before > gate, done.gate_after > gate),
            "thresholds": self._thresholds(),
            "n_outside": _counts(done.manifold_before > manifold, done.manifold_after > manifold),
            "in_correction_file": self.in_file,
            "judge": None if self.judge is None else self.judge.to_dict(),
            "majority": self.correction.info.get("majority"),
            "blurred": self.blurred,
            "settings": self.settings,
            "probe": None if self.probe is None else self.probe.to_dict(),
        }

    def correction_with_figures(self) -> Correction:
        """The correction with what was measured here among its facts: for its file, and whoever is given that."""
        found = self.to_dict()
        measured = {
            "samples": found["n"],
            "samples_changed": found["n_changed"],
            "samples_given_up": found["n_given_up"],
            **{f"flagged_{when}": count for when, count in found["n_flagged"].items()},
            **{f"outside_the_normal_manifold_{when}": count for when, count in found["n_outside"].items()},
            "median_gate_score_before": found["gate_score_median_before"],
            "median_gate_score_after": found["gate_score_median_after"],
            "judge": found["judge"],
        }
        return replace(self.correction, info=self.correction.info | {"measured": measured})

    def most_broken(self, n: int) -> NDArray[np.int64]:
        """Rows of the n changed samples of the highest gate score before, the highest first."""
        return most_broken(self.treatment, n)

    def _thresholds(self) -> list[dict[str, Any]]:
        """What other thresholds would flag, where the correction knows how its normal samples' scores lie."""
        known, tail = self.correction.info.get("thresholds"), self.correction.info.get("tail")
        if not known or not tail:
            return []
        return threshold_table(known, Tail.of(tail), self.treatment.gate_before, self.limits[0])


def correct(
    generator: Generator,
    latents: Tensor | NDArray[Any],
    *,
    correction: Correction | str | Path | None = None,
    method: MethodSettings | None = None,
    detector: AnyDetector | str | Path | None = None,
    normal: Any = None,
    gate: bool = True,
    gate_at: float | None = None,
    judge: str = "",
    settings: DetectorSettings | None = None,
    allow_other_weights: bool = False,
    images: ImageStore | None = None,
    work: Work | None = None,
) -> CorrectRun:
    """Correct the samples of these latents that need it.

    Parameters
    ----------
    generator : Generator
    latents : (n, *latent_shape)
    correction : Correction or path, optional
        One made before, or its file; by default one is fitted.
    method : MethodSettings, optional
        How it is fitted; the ladder where None.
    detector : ArtifactDetector, ImageDetector or path, optional
        A fitted one, or the file of one, to fit it with; its labels, where it was trained on some, are the gate's.
    normal : optional
        A folder of images that are normal, or the images, as `normal_features` takes them: the stop rule asks for what
        looks like these in place of the generator's own majority.
    gate : bool
        Whether only samples that the gate flags are corrected; every sample where False.
    gate_at : float, optional
        The gate flags samples of a higher score than this, in place of the correction's own threshold.
    judge : str
        Another extractor than the gate's, to judge the corrected samples; none if empty. It sees the images as they are
        generated, before they are rounded to 8 bits for a file.
    settings : DetectorSettings, optional
        Of the detector that the correction is fitted with.
    allow_other_weights : bool
        Accept a correction made for other weights.
    images : ImageStore, optional
        Takes the images chunk by chunk; by default the run holds them all.
    work : Work, optional
        Where the fitted correction and what was done to each chunk are kept.

    Raises
    ------
    ValueError
        If there is nothing to learn from, the latents don't fit, or the judge is the gate's extractor.
    activations.CorrectionMismatchError
        If the correction was made for another model.
    """
    settings, method, work = settings or DetectorSettings(), method or MethodSettings(), work or Work()
    probe = probed(generator)
    file = str(correction) if isinstance(correction, str | Path) else ""
    corrector, marked, fitted = None, None, correction is None
    _check_sources(correction, method.labels, detector, normal)
    known = load_detector(detector) if isinstance(detector, str | Path) else detector
    features = None if normal is None else normal_features(normal, generator, settings.extractor, work)
    if correction is None:
        found = fit_method(generator, method, settings, work, detector=known, normal=features)
        correction, corrector, marked = found.correction, found.corrector, found.marked
    elif not isinstance(correction, Correction):
        correction = load_correction(correction)
    warn_of_majority(correction.info.get("majority"))
    assert correction is not None
    if gate_at is not None and correction.gate is not None:
        correction = replace(correction, gate=replace(correction.gate, threshold=gate_at))
    mend = corrected(generator, correction, gate=gate, corrector=corrector, allow_other_weights=allow_other_weights)
    facts = generator_facts(generator) | {"gate": gate, "correction": correction_digest(correction)}
    second = SecondJudge(mend, judge, seed=settings.seed, facts=facts, work=work) if judge else None
    treatment, moved, detail, seen = _correct_chunks(
        mend, generator.checked_latents(latents), second, images, facts, work
    )
    used: dict[str, Any] = {"correction_file": file, "gate": gate, "correction": correction.facts}
    if fitted:
        used |= asdict(settings) | method.facts()
        used["detector_file"] = str(detector) if isinstance(detector, str | Path) else ""
        used["normal_images"] = 0 if features is None else len(features)
    assert correction.gate is not None  # else `corrected` has refused it
    assert correction.stop_rule is not None
    return CorrectRun(
        generator.name,
        method.method if fitted else str(correction.info.get("method", "")),
        treatment,
        (correction.gate.threshold, correction.stop_rule.normal_manifold_score),
        corrector is None,
        used,
        None if second is None else second.judge(*seen),
        correction,
        moved,
        blurred(detail[treatment.changed]),
        probe,
        marked,
    )


def _check_sources(correction: Any, labels: Any, detector: Any, normal: Any) -> None:
    """Raise ValueError where two things that were given say the same in their own ways."""
    others = {"labels": labels, "a detector": detector, "normal images": normal}
    given = [name for name, value in others.items() if value is not None]
    if correction is not None and given:
        raise ValueError(
            f"A correction made before is given, which has learnt already: leave out {' and '.join(given)}."
        )
    if detector is not None and len(given) > 1:
        given.remove("a detector")
        raise ValueError(
            "A detector is given, which knows already what is broken and what is normal: leave out "
            f"{' and '.join(given)}."
        )


def most_broken(treatment: Treatment, n: int) -> NDArray[np.int64]:
    """Rows of the n changed samples of the highest gate score before, the highest first."""
    changed = np.flatnonzero(treatment.changed)
    rows: NDArray[np.int64] = changed[np.argsort(-treatment.gate_before[changed], kind="stable")][:n]
    return rows


def switches_neurons(correction: Correction) -> bool:
    """Whether single neurons are edited, so that a map can show where."""
    return any(isinstance(edit, AblateNeurons | CapNeurons) for rung in correction.ladder for edit in rung)


def edit_maps(generator: Generator, correction: Correction, latents: Tensor, rungs: NDArray[np.int64]) -> Tensor:
    """Heat maps (n, h, w) of where each sample's rung acts on its uncorrected activations; 0 if none does."""
    height, width = generator.generate(latents[:1]).shape[2:]
    heat = torch.zeros(len(latents), height, width)
    for rung in np.unique(rungs[(rungs >= 0) & (rungs < len(correction.ladder))]):
        rows = torch.from_numpy(np.flatnonzero(rungs == rung))
        edits = [edit for edit in correction.ladder[rung] if isinstance(edit, AblateNeurons | CapNeurons)]
        heat[rows] = ablated_share(generator, latents[rows], {edit.layer: edit.mask for edit in edits}, (height, width))
    return heat


def correction_digest(correction: Correction) -> str:
    """Name all that decides what a correction does: every tensor in full, because masks of equal sums are not equal."""
    held = [*filter(None, [correction.gate]), *(edit for rung in correction.ladder for edit in rung)]
    tensors = [value for one in held for value in vars(one).values() if isinstance(value, Tensor)]
    limits = [] if correction.gate is None else [correction.gate.bias, correction.gate.threshold]
    normal = [] if correction.stop_rule is None else [correction.stop_rule.features, correction.stop_rule.radii]
    weights = () if correction.descent is None else correction.descent.weights
    digests = [sha256_of_array(value) for value in (*tensors, *normal, *weights, *correction.tensors.values())]
    return settings_key({"info": correction.facts, "limits": limits, "tensors": digests})


def _correct_chunks(
    mend: GatedGenerator,
    latents: Tensor,
    judge: SecondJudge | None,
    store: ImageStore | None,
    facts: Mapping[str, Any],
    work: Work,
) -> tuple[Treatment, Tensor, NDArray[np.float64], tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Correct some latents at a time.

    Returns what was done, the moved latents, and before and after the images' detail and the judge's features.
    """
    columns: list[Mapping[str, NDArray[Any]]] = []
    images: list[Corrected] = []
    seen: list[Mapping[str, NDArray[np.float32]]] = []
    first = 0
    # Several images of each sample are held: of large ones, which are generated one by one, of fewer samples.
    for chunk in latents.split(min(CHUNK, 16 * mend.generator.batch_size)):
        rows = range(first, first + len(chunk))
        first = rows.stop
        about = dict(facts) | {"latents": sha256_of_array(chunk), "first": rows.start, "with": "detail and images"}
        found: list[Corrected] = []

        def compute(
            chunk: Tensor = chunk, rows: range = rows, found: list[Corrected] = found
        ) -> dict[str, NDArray[Any]]:
            found.append(mend(chunk, progress=work.progress))
            if store is not None:
                store.add(rows, found[0])
            detail = np.stack([detail_of(found[0].before), detail_of(found[0].images)], axis=1)
            written = np.frombuffer(b"" if store is None else store.digest(rows).encode(), np.uint8)
            latents = found[0].latents.cpu().numpy()
            return found[0].columns() | {"latents": latents, "detail": detail, "written": written}

        def load(path: Path, rows: range = rows) -> dict[str, NDArray[Any]]:
            part = load_file(path)
            if store is None or part["written"].tobytes().decode() != store.digest(rows):
                raise ValueError("its images are not there, or another run's: all is computed again")
            return part

        part = dict(work.kept("moved", about, compute, load=load))
        del part["written"]
        columns.append(part)
        if store is None:
            images.extend(found)
        if judge is not None:
            seen.append(_look(mend, judge, chunk, part, found, about, work))
    joined = {name: np.concatenate([part[name] for part in columns]) for name in columns[0]}
    moved, detail = torch.from_numpy(joined.pop("latents")), joined.pop("detail")
    if store is None:
        pictures = [torch.cat([getattr(one, name) for one in images]) for name in ("images", "before")]
        treatment: Treatment = Corrected(**joined, images=pictures[0], latents=moved, before=pictures[1])
    else:
        treatment = Treatment(**joined)
    looked = [
        np.concatenate(kept)
        if (kept := [part[name] for part in seen if len(part[name])])
        else np.zeros((0, 0), np.float32)
        for name in ("before", "after")
    ]
    return treatment, moved, detail, (looked[0], looked[1])


def _look(
    mend: GatedGenerator,
    judge: SecondJudge,
    latents: Tensor,
    part: Mapping[str, NDArray[Any]],
    found: list[Corrected],
    about: Mapping[str, Any],
    work: Work,
) -> Mapping[str, NDArray[np.float32]]:
    """The judge's features of a chunk's changed samples, before and after."""
    changed = np.flatnonzero(Treatment(**{f.name: part[f.name] for f in fields(Treatment)}).changed)
    if not len(changed):
        return {"before": np.zeros((0, 0), np.float32), "after": np.zeros((0, 0), np.float32)}

    def compute() -> dict[str, NDArray[np.float32]]:
        if found:
            before, after = found[0].before[changed], found[0].images[changed]
        else:  # kept by an earlier run, which asked no judge
            before = mend.generator.generate(latents[changed])
            after = mend.generate_again(torch.from_numpy(part["latents"])[changed], part["rung"][changed])
        return {"before": judge.features(before), "after": judge.features(after)}

    return work.kept("looked", dict(about) | judge.facts, compute)


def _counts(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> dict[str, int]:
    return {"before": int(before.sum()), "after": int(after.sum())}
