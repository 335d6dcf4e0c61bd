"""The page of ``genmend detect``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from genmend.gans import Generator
from genmend.gans.detection.artifact_detector import MOST_BEYOND, ArtifactDetector
from genmend.gans.detection.detect import DetectRun
from genmend.gans.detection.majority_trust import in_words
from genmend.workbench.pages.charts import score_histogram
from genmend.workbench.pages.page import Facts, Figure, Paragraph, Picture, Section, warning_sections, write_report
from genmend.workbench.pages.pictures import gallery, shown_images
from genmend.workbench.pages.train_detector import training_in_words

__all__ = ["write_detect_page"]


def write_detect_page(path: Path, run: DetectRun, generator: Generator, latents: Tensor) -> None:
    """Write the page: the most and the least broken samples, the scores, the settings."""
    detection = run.detection
    order = np.argsort(-detection.combined, kind="stable")
    shown = min(24, len(order))
    worst, best = order[:shown].copy(), order[::-1][:shown].copy()
    blocks = [
        Picture(f"{title}: rows {', '.join(map(str, rows))}", gallery(shown_images(generator, latents[rows])))
        for title, rows in (("The most broken", worst), ("The least broken", best))
    ]
    scores = {run.model: detection.combined}
    histogram = score_histogram(scores, "combined score (higher = more broken)", detection.threshold)
    write_report(
        path,
        f"genmend detect: {run.model}",
        f"{int(detection.flagged.sum())} of {len(order)} samples are flagged as broken (combined score above "
        f"{detection.threshold:.3g}). {_normal(run)}",
        [
            *warning_sections(run.to_dict()["probe"]),
            Section("Samples", blocks),
            Section(
                "Scores", [Figure("Combined score of all samples.", histogram), Paragraph("Per sample: scores.csv.")]
            ),
            Section("Settings", [Facts("What this run used", run.to_dict())]),
        ],
    )


def _normal(run: DetectRun) -> str:
    """What normal means here, and whether that can be trusted."""
    detector = run.detector
    if run.majority is not None:
        return (
            "Normal means: like the model's own normal samples, not like photographs.\n\n"
            f"{in_words(run.majority.to_dict())}"
        )
    if detector.supervised_ is not None:
        training = detector.training_
        how_well = "" if training is None else f": {training_in_words(training)}"
        return f"Broken means: as in the labels that the detector was trained on{how_well}."
    assert isinstance(detector, ArtifactDetector)
    n, beyond = len(detector.manifold_.reference_), detector.beyond_normal_ or 0.0
    text = (
        f"Normal means: like the {n} normal images that were given. {beyond:.0%} of the model's own samples are more "
        "unlike them than all but 5 % of them are."
    )
    if beyond > MOST_BEYOND:
        text += (
            " The images are of another kind than the model's, so the half of its samples most unlike them is flagged: "
            "trust the ranking, not the number."
        )
    return text
