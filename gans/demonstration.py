"""The main job on a real pretrained face generator, from nothing to a saved correction: what ``genmend demo`` shows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genmend.activations import Correction, edited, load_correction, save_correction
from genmend.gans.correctors.gated import Corrected, corrected
from genmend.gans.correctors.ladder import fit_correction
from genmend.gans.detection.artifact_detector import ArtifactDetector, Detection
from genmend.gans.detection.detect import fit_detector, measure_samples
from genmend.gans.detection.evidence import evidence
from genmend.gans.detection.labelled_samples import LabelledSamples, load_labelled
from genmend.gans.detection.soft_logistic import cross_validated_scores
from genmend.gans.families.pretrained import load_faces
from genmend.gans.generator import Generator
from genmend.gans.settings import DetectorSettings
from genmend.storage.pieces import Work

__all__ = ["N_SAMPLES", "SETTINGS", "Demonstration", "LabelledScores", "demonstrate"]

# Fewer than the defaults have, so that a person with two cores waits three minutes and not ten.
SETTINGS = DetectorSettings(n_statistics=4_000, n_reference=1_000)
N_SAMPLES = 1_000
_N_RELOADED = 16


@dataclass(frozen=True)
class LabelledScores:
    """Scores of the samples that both raters found normal or both found broken.

    Attributes
    ----------
    scores : dict of ndarray (n,)
        By the name of the detector; higher = more broken.
    broken : ndarray (n,) bool
        What the raters say.
    """

    scores: dict[str, NDArray[np.float64]]
    broken: NDArray[np.bool_]

    def auroc(self) -> dict[str, float]:
        """Area under the ROC curve of each detector."""
        from sklearn.metrics import roc_auc_score

        return {name: float(roc_auc_score(self.broken, values)) for name, values in self.scores.items()}


@dataclass(frozen=True)
class Demonstration:
    """Samples of the face generator, which of them are broken, and what the correction made of them.

    Attributes
    ----------
    generator : Generator
    latents : Tensor (n, *latent_shape)
    detection : Detection
    correction : Correction
    result : Corrected
    reloaded_equal : bool
        Whether the saved correction gives, on a fresh copy of the model, exactly the images of the one in memory.
    labelled : LabelledScores or None
    settings : dict
    evidence : dict or None
        Whether there is a sign of broken samples at all, as `genmend.gans.detection.evidence` says.
    """

    generator: Generator
    latents: Tensor
    detection: Detection
    correction: Correction
    result: Corrected
    reloaded_equal: bool
    labelled: LabelledScores | None
    settings: dict[str, Any]
    evidence: dict[str, Any] | None = None

    def most_broken(self, n: int) -> NDArray[np.int64]:
        """Rows of the `n` samples of the highest combined score, the highest first."""
        return self._ranking()[:n]

    def middling(self, n: int) -> NDArray[np.int64]:
        """`n` rows from the middle of that ranking."""
        ranking = self._ranking()
        return ranking[len(ranking) // 2 :][:n]

    def to_dict(self) -> dict[str, Any]:
        """JSON's view, as in ``summary.json``."""
        changed = self.result.changed
        inside = {
            "before": float((self.result.manifold_before[changed] <= 1).mean()) if changed.any() else None,
            "after": float((self.result.manifold_after[changed] <= 1).mean()) if changed.any() else None,
        }
        return {
            "detection": self.detection.to_dict(),
            "evidence": self.evidence,
            "correction": self.result.to_dict(),
            "corrected_samples_inside_normal_manifold": inside,
            "reloaded_correction_gives_equal_images": self.reloaded_equal,
            "auroc_against_labels": self.labelled.auroc() if self.labelled else {},
            "settings": self.settings,
        }

    def _ranking(self) -> NDArray[np.int64]:
        return np.argsort(-self.detection.combined, kind="stable")


def demonstrate(
    file: Path,
    *,
    labels: Path | None = None,
    settings: DetectorSettings | None = None,
    n_samples: int = N_SAMPLES,
    seed: int = 0,
    work: Work | None = None,
) -> Demonstration:
    """Sample, detect, correct, save, load again, compare.

    Parameters
    ----------
    file : Path
        Gets the correction.
    labels : Path, optional
        A folder as `load_labelled` reads it: the detectors are compared with it. It is used for nothing else.
    settings : DetectorSettings, optional
        `SETTINGS` where None.
    n_samples, seed : int
        Samples to detect and correct, and their seed.
    work : Work, optional
        Where the fitted detector and what was measured are kept.

    Raises
    ------
    genmend.storage.weights.MissingWeightsError
        If the weights of the generator or of the extractor were not fetched.
    """
    settings, work = settings or SETTINGS, work or Work()
    generator = load_faces()
    detector = fit_detector(generator, settings, work)
    latents = generator.latents(n_samples, seed)
    features, counts = measure_samples(generator, detector, latents, work)
    detection = detector.score_measured(features, counts)
    correction = fit_correction(generator, detector, progress=work.progress)
    save_correction(file, correction)
    result = corrected(generator, correction)(latents, features=features, progress=work.progress)
    rows = np.flatnonzero(detection.flagged)[:_N_RELOADED]
    reloaded_equal = _reloaded_equal(generator, correction, file, latents[rows], features[rows])
    labelled = None if labels is None else _against_labels(generator, detector, load_labelled(labels, generator), work)
    used = asdict(settings) | {"n_samples": n_samples, "sample_seed": seed, "correction": correction.facts}
    sign = evidence(detector, detection)
    return Demonstration(generator, latents, detection, correction, result, reloaded_equal, labelled, used, sign)


def _reloaded_equal(
    generator: Generator, correction: Correction, file: Path, latents: Tensor, features: NDArray[Any]
) -> bool:
    """Whether the saved file does on a fresh copy of the model exactly what the correction did on this one."""
    fresh, loaded = load_faces(), load_correction(file)
    last = len(loaded.ladder) - 1
    with edited(fresh.module, loaded, rung=last):
        fixed = fresh.generate(latents)
    with edited(generator.module, correction, rung=last):
        wanted = generator.generate(latents)
    gated = corrected(fresh, loaded)(latents, features=features)
    gated_wanted = corrected(generator, correction)(latents, features=features)
    same_rungs = bool((gated.rung == gated_wanted.rung).all())
    return torch.equal(fixed, wanted) and torch.equal(gated.images, gated_wanted.images) and same_rungs


def _against_labels(
    generator: Generator, detector: ArtifactDetector, labelled: LabelledSamples, work: Work
) -> LabelledScores:
    agreed = labelled.normal | labelled.broken
    features, counts = measure_samples(generator, detector, labelled.latents[torch.from_numpy(agreed)], work)
    found = detector.score_measured(features, counts)
    supervised = cross_validated_scores(
        detector.supervised_inputs(features, counts), labelled.share[agreed], regularisation=1e-3
    )
    scores = {
        "rare activation (no labels)": counts.sum(axis=1),
        "distance to normal (no labels)": found.distance_to_normal,
        "combined (no labels)": found.combined,
        "supervised (labels, 5-fold)": supervised,
    }
    return LabelledScores(scores, labelled.broken[agreed])
