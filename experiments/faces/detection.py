"""Detection of the labelled artifacts: AUROC without labels and, in 5 folds, with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_auc_score

from experiments.faces.labelled import LabelledFaces
from experiments.intervals import bootstrap
from genmend.gans import ArtifactDetector
from genmend.gans.detection.soft_logistic import cross_validated_scores


@dataclass(frozen=True)
class DetectionRow:
    """One detector's AUROC on both tasks, with 95 % bootstrap intervals over samples."""

    detector: str
    labels: str
    consensus: float
    consensus_interval: tuple[float, float]
    full: float
    full_interval: tuple[float, float]

    def __str__(self) -> str:
        intervals = [f"[{low:.3f}, {high:.3f}]" for low, high in (self.consensus_interval, self.full_interval)]
        return (
            f"{self.detector:46s} {self.labels:7s} consensus {self.consensus:.4f} {intervals[0]}  "
            f"full {self.full:.4f} {intervals[1]}"
        )


def detection_rows(
    faces: LabelledFaces, detectors: dict[str, ArtifactDetector], measured: dict[str, tuple], seed: int
) -> tuple[list[DetectionRow], dict[str, np.ndarray]]:
    """Rows of the table and the scores behind them; `measured` holds (features, counts) of the faces per extractor."""
    scores: dict[str, tuple[str, np.ndarray]] = {}
    for name, detector in detectors.items():
        found = detector.score_measured(*measured[name])
        scores["rare activation, R = 0.1"] = ("none", found.rare_activation)
        scores[f"distance to normal, {name}"] = ("none", found.distance_to_normal)
        scores[f"combined: rare + distance, {name}"] = ("none", found.combined)
    counts = next(iter(measured.values()))[1]
    for name, (features, _) in measured.items():
        held_out = cross_validated_scores(np.concatenate([features, counts], axis=1), faces.share, seed=seed)
        scores[f"supervised: {name} + counts"] = ("5-fold", held_out)
    everything = np.concatenate([features for features, _ in measured.values()] + [counts], axis=1)
    scores["supervised: all features + counts"] = ("5-fold", cross_validated_scores(everything, faces.share, seed=seed))
    rows = [_row(name, labels, values, faces, seed) for name, (labels, values) in scores.items()]
    return rows, {name: values for name, (_, values) in scores.items()}


def _row(name: str, labels: str, scores: np.ndarray, faces: LabelledFaces, seed: int) -> DetectionRow:
    agreed = faces.consensus
    consensus = _auroc_with_interval(faces.artifact[agreed], scores[agreed], seed)
    return DetectionRow(name, labels, *consensus, *_auroc_with_interval(faces.full, scores, seed))


def _auroc_with_interval(
    truth: np.ndarray, scores: np.ndarray, seed: int, n_resamples: int = 1000
) -> tuple[float, tuple[float, float]]:
    def auroc(rows: np.ndarray) -> float:
        both = 0 < truth[rows].sum() < len(rows)
        return float(roc_auc_score(truth[rows], scores[rows])) if both else float("nan")

    value, low, high = bootstrap(auroc, len(truth), seed, n_resamples)
    return value, (low, high)
