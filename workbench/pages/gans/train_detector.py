"""The page of ``genmend train-detector``: how well it tells, its curves, and the labelled samples it gets wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genmend.gans.detection.normal_images import fitted_image
from genmend.gans.detection.train_detector import TrainRun
from genmend.manifold.figures.series_histogram import series_histogram
from genmend.workbench.pages.charts import hits_and_precision_chart
from genmend.workbench.pages.page import (
    Answer,
    Facts,
    Figure,
    Number,
    Paragraph,
    Section,
    Thumbnails,
    warning_sections,
    write_report,
)
from genmend.workbench.pages.pictures import thumbnails

__all__ = ["train_detector_answer", "training_in_words", "write_train_detector_page"]

N_SHOWN, SIDE = 24, 128


def training_in_words(totals: Mapping[str, Any]) -> str:
    """How well a trained detector tells, in a clause."""
    low, high = totals["interval"]
    return (
        f"AUROC {totals['auroc']:.3f} (95 %: {low:.3f} to {high:.3f}), each of {totals['n_normal']} normal and "
        f"{totals['n_broken']} broken samples scored by a model that did not see it"
    )


def train_detector_answer(totals: dict[str, Any]) -> Answer:
    """How well the detector tells samples that it did not see."""
    low, high = totals["interval"]
    return Answer(
        f"It flags {totals['broken_flagged']:.0%} of {totals['n_broken']} samples labelled broken and "
        f"{totals['normal_flagged']:.0%} of {totals['n_normal']} labelled normal, each judged by a model that did not "
        "see it.",
        Number("AUROC", f"{totals['auroc']:.3f} [{low:.3f}, {high:.3f}]", "chance: 0.5"),
        ["That is no better than chance: look at the labels, or give more of them."] if low <= 0.5 else (),
    )


def write_train_detector_page(path: Path, run: TrainRun) -> None:
    """Write the page."""
    totals, measured = run.to_dict(), run.measured
    looks = (
        f"image features and the neurons of {run.model}, so it fits that generator alone"
        if run.model
        else "images alone, so it takes any generator"
    )
    chart = hits_and_precision_chart(measured.false_alarms, measured.hits, measured.precision)
    kinds = {"labelled normal": run.scores[run.shares == 0], "labelled broken": run.scores[run.shares == 1]}
    answer = replace(
        train_detector_answer(totals),
        pictures=[Figure("Scores, higher = more broken.", series_histogram(kinds, "score", totals["threshold"]))],
        more=f"The detector looks at {looks}. detector.safetensors is used by `genmend detect MODEL --detector "
        "detector.safetensors` and by `genmend correct`, in the same way.",
    )
    write_report(
        path,
        "genmend train-detector",
        answer,
        [
            *warning_sections(totals["probe"]),
            Section(
                "How well it tells",
                [
                    Figure(
                        "By cross-validation. Left: normal against broken samples flagged, from a strict threshold to "
                        "a lax one. Right: of the samples flagged, the share that is broken, at the labels' own mix "
                        f"of {totals['n_broken']} broken to {totals['n_normal']} normal; where broken ones are rarer "
                        "it is lower.",
                        chart,
                    ),
                ],
            ),
            Section(
                "Where it and the labels disagree",
                [
                    *_gallery(run, "labelled normal, scored most broken", np.flatnonzero(run.shares == 0), -1),
                    *_gallery(run, "labelled broken, scored least broken", np.flatnonzero(run.shares == 1), 1),
                    Paragraph("Look here first: a wrong label is often among these. Per sample: scores.csv."),
                ],
            ),
            Section(
                "Settings",
                [Facts("What this run used", {name: value for name, value in totals.items() if name != "curve"})],
                closed=True,
            ),
        ],
    )


def _gallery(run: TrainRun, title: str, rows: NDArray[np.int64], sign: int) -> list[Thumbnails]:
    chosen = rows[np.argsort(sign * run.scores[rows], kind="stable")][:N_SHOWN]
    images = [run.image(int(row)) for row in chosen]
    if len({image.shape for image in images}) > 1:
        images = [fitted_image(image, SIDE, SIDE)[0] for image in images]
    labels = [f"{run.scores[row]:.2f}, {run.names[row]}" for row in chosen]
    return [thumbnails(f"{title[0].upper()}{title[1:]}, its score and number under each.", torch.stack(images), labels)]
