"""The page of ``genmend demo``: samples before and after, what is broken, and what the correction did."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from genmend.gans.demonstration import Demonstration
from genmend.workbench.pages.charts import ladder_chart, roc_chart, score_histogram
from genmend.workbench.pages.gans.correct import before_after_grid, middle_row
from genmend.workbench.pages.page import Facts, Figure, Paragraph, Picture, Section, Table, write_report

__all__ = ["before_after", "write_demo_report"]

N_SHOWN = 16
_COLUMNS = 8  # more of them are too small on a phone


def before_after(run: Demonstration, choose: Callable[[int], NDArray[np.int64]]) -> bytes:
    """`N_SHOWN` samples that `choose` picks, as one PNG, in bands of three rows as `before_after_grid` has them."""
    rows = choose(N_SHOWN)
    chosen = torch.from_numpy(rows)
    images = run.result.before[chosen], run.result.images[chosen]
    return before_after_grid(
        run.generator, run.correction, run.latents[chosen], *images, run.result.rung[rows], _COLUMNS
    )


def write_demo_report(path: Path, run: Demonstration, broken: bytes) -> None:
    """Write the page; `broken` is the picture of the most broken samples."""
    detection, result, correction, totals = run.detection, run.result, run.correction, run.to_dict()
    normal = before_after(run, run.middling)
    counts = {name: values for name, values in totals["correction"].items() if not isinstance(values, dict)}
    changed = result.changed
    middle = middle_row(correction, result.rung[run.most_broken(N_SHOWN)])
    manifold = {"before": result.manifold_before[changed], "after": result.manifold_after[changed]}
    gate = {"before": result.gate_before, "after": result.gate_after}
    sections = [
        Section(
            "Before and after",
            [
                Picture(f"The {N_SHOWN} most broken of {len(run.latents)}, in two bands: before, {middle} "
                        "(brighter = more), after.", broken),
                Picture(f"{N_SHOWN} normal ones, from the middle of the ranking: the gate leaves them alone.", normal),
            ],
        ),
        Section(
            "Which samples are broken",
            [
                Figure("Combined score; what lies right of the line is flagged.",
                       score_histogram({"samples": detection.combined}, "combined score", detection.threshold)),
                *([Figure("Against the labels of two raters, clear artifact for both against normal for both.",
                          roc_chart(run.labelled.scores, run.labelled.broken))]
                  if run.labelled else [Paragraph("No labels were given: no ROC curve.")]),
            ],
        ),
        Section(
            "What the correction did",
            [
                Figure("The rung of the ladder that was taken.",
                       ladder_chart(totals["correction"]["n_by_rung"], len(correction.ladder),
                                    0 if correction.descent is None else len(correction.descent.targets),
                                    int(result.given_up.sum()))),
                Figure("Gate score of all samples, higher = more broken.",
                       score_histogram(gate, "gate score", correction.gate.threshold if correction.gate else None)),
                *([Figure("Distance / radius in the model's own normal manifold, corrected samples only; at most 1 is "
                          "inside.", score_histogram(manifold, "distance / radius", 1.0))] if changed.any() else []),
                Table("Totals", ["what", "value"], list(counts.items())),
            ],
        ),
        Section("Settings", [Facts("Exactly what this run used", totals)]),
    ]  # fmt: skip
    write_report(
        path,
        "genmend demo: finding and mending the artifacts of a face generator",
        f"Of {len(run.latents)} samples {int(detection.flagged.sum())} are flagged as broken; {int(changed.sum())} "
        f"were corrected, {int(result.given_up.sum())} given up, the rest left untouched bit for bit. The correction "
        f"file, loaded onto a fresh copy of the model, gives {'equal' if run.reloaded_equal else 'DIFFERENT'} "
        "images.\n\n"
        "Normal means: like the model's own normal samples, not like photographs.",
        sections,
    )
