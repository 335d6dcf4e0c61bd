"""The page of ``genmend demo``: samples before and after, what is broken, and what the correction did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from genmend.gans.demonstration import Demonstration
from genmend.manifold.figures.series_histogram import series_histogram
from genmend.workbench.pages.charts import ladder_chart, roc_chart
from genmend.workbench.pages.gans.correct import before_after_grid, middle_row
from genmend.workbench.pages.gans.detect import found_in_words
from genmend.workbench.pages.page import (
    Answer,
    Facts,
    Figure,
    Number,
    Paragraph,
    Picture,
    Section,
    Table,
    write_report,
)
from genmend.workbench.pages.pictures import before_after

__all__ = ["before_after_picture", "demo_answer", "write_demo_report"]

N_SHOWN = 16
_COLUMNS = 8  # more of them are too small on a phone


def before_after_picture(run: Demonstration, choose: Callable[[int], NDArray[np.int64]]) -> bytes:
    """`N_SHOWN` samples that `choose` picks, as one PNG, in bands of three rows as `before_after_grid` has them."""
    rows = choose(N_SHOWN)
    chosen = torch.from_numpy(rows)
    images = run.result.before[chosen], run.result.images[chosen]
    return before_after_grid(
        run.generator, run.correction, run.latents[chosen], *images, run.result.rung[rows], _COLUMNS
    )


def demo_answer(run: Demonstration) -> Answer:
    """Whether there is a sign of broken samples, and what became of those that are flagged."""
    n, changed, gave_up = len(run.latents), int(run.result.changed.sum()), int(run.result.given_up.sum())
    flagged, inside = int(run.detection.flagged.sum()), run.to_dict()["corrected_samples_inside_normal_manifold"]
    finding = found_in_words(run.evidence).partition("\n")[0]
    number = None
    if inside["after"] is not None:
        number = Number(
            "Of the corrected samples inside the model's own normal manifold",
            f"{inside['after']:.0%}",
            f"before: {inside['before']:.0%}",
        )
    doubts = [] if run.reloaded_equal else ["The correction file, loaded onto a fresh copy, gives DIFFERENT images."]
    return Answer(
        f"{finding} Of these {n} samples {flagged} are flagged; {changed} were corrected, {gave_up} given up, the rest "
        "left untouched bit for bit.".strip(),
        number,
        doubts,
        more="Normal means: like the model's own normal samples, not like photographs. The correction file, loaded "
        f"onto a fresh copy of the model, gives {'equal' if run.reloaded_equal else 'different'} images.",
    )


def write_demo_report(path: Path, run: Demonstration, broken: bytes) -> None:
    """Write the page; `broken` is the picture of the most broken samples."""
    detection, result, correction, totals = run.detection, run.result, run.correction, run.to_dict()
    normal = before_after_picture(run, run.middling)
    counts = {name: values for name, values in totals["correction"].items() if not isinstance(values, dict)}
    changed = result.changed
    middle = middle_row(correction, result.rung[run.most_broken(N_SHOWN)])
    manifold = {"before": result.manifold_before[changed], "after": result.manifold_after[changed]}
    gate = {"before": result.gate_before, "after": result.gate_after}
    sections = [
        Section(
            "Where it was changed",
            [
                Picture(f"The {N_SHOWN} most broken of {len(run.latents)}, in two bands: before, {middle} "
                        "(brighter = more), after.", broken),
                Picture(f"{N_SHOWN} normal ones, from the middle of the ranking: the gate leaves them alone.", normal),
            ],
            True,
        ),
        Section(
            "Which samples are broken",
            [
                Figure("Combined score; what lies right of the line is flagged.",
                       series_histogram({"samples": detection.combined}, "combined score", detection.threshold)),
                *([Figure("Against the labels of two raters, clear artifact for both against normal for both.",
                          roc_chart(run.labelled.scores, run.labelled.broken))]
                  if run.labelled else [Paragraph("No labels were given: no ROC curve.")]),
            ],
            True,
        ),
        Section(
            "What the correction did",
            [
                Figure("How strongly samples were corrected: the step that was enough.",
                       ladder_chart(totals["correction"]["n_by_rung"], len(correction.ladder),
                                    0 if correction.descent is None else len(correction.descent.targets),
                                    int(result.given_up.sum()))),
                Figure("Gate score of all samples, higher = more broken.",
                       series_histogram(gate, "gate score", correction.gate.threshold if correction.gate else None)),
                *([Figure("Distance / radius in the model's own normal manifold, corrected samples only; at most 1 is "
                          "inside.", series_histogram(manifold, "distance / radius", 1.0))] if changed.any() else []),
                Table("Totals", ["what", "value"], list(counts.items())),
            ],
            True,
        ),
        Section("Settings", [Facts("Exactly what this run used", totals)], True),
    ]  # fmt: skip
    rows = torch.from_numpy(run.most_broken(N_SHOWN))
    caption = f"The {N_SHOWN} most broken of {len(run.latents)}."
    answer = replace(
        demo_answer(run), pictures=[before_after(caption, run.result.before[rows], run.result.images[rows])]
    )
    write_report(path, "genmend demo: finding and mending the artifacts of a face generator", answer, sections)
