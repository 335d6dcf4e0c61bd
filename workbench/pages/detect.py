"""The page of ``genmend detect``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from genmend.gans import Generator
from genmend.gans.detection.detect import DetectRun
from genmend.workbench.pages.charts import score_histogram
from genmend.workbench.pages.page import Facts, Figure, Paragraph, Picture, Section, write_report
from genmend.workbench.pages.pictures import gallery

__all__ = ["write_detect_page"]


def write_detect_page(path: Path, run: DetectRun, generator: Generator, latents: Tensor) -> None:
    """Write the page: the most and the least broken samples, the scores, the settings."""
    detection = run.detection
    order = np.argsort(-detection.combined, kind="stable")
    shown = min(24, len(order))
    worst, best = order[:shown].copy(), order[::-1][:shown].copy()
    blocks = [
        Picture(f"{title}: rows {', '.join(map(str, rows))}", gallery(generator.generate(latents[rows])))
        for title, rows in (("The most broken", worst), ("The least broken", best))
    ]
    scores = {run.model: detection.combined}
    histogram = score_histogram(scores, "combined score (higher = more broken)", detection.threshold)
    write_report(
        path,
        f"genmend detect: {run.model}",
        f"{int(detection.flagged.sum())} of {len(order)} samples are flagged as broken (combined score above "
        f"{detection.threshold:.3g}). Normal means: like the model's own normal samples, not like photographs.",
        [
            Section("Samples", blocks),
            Section(
                "Scores", [Figure("Combined score of all samples.", histogram), Paragraph("Per sample: scores.csv.")]
            ),
            Section("Settings", [Facts("What this run used", run.to_dict())]),
        ],
    )
