"""The page of ``genmend correct``: samples before and after, how many are still flagged, and by which rung."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genmend.activations import Correction
from genmend.gans import Treatment
from genmend.workbench.pages.charts import ladder_chart, score_histogram
from genmend.workbench.pages.page import Facts, Figure, Paragraph, Picture, Section, Table, write_report

__all__ = ["write_correct_report"]

_STEERED = ("manifold-guided", "latent-optimisation")


def write_correct_report(
    path: Path,
    totals: dict[str, Any],
    done: Treatment,
    correction: Correction,
    shown: NDArray[np.int64],
    grid: bytes,
    middle: str,
) -> None:
    """Write the page; `grid` is the picture of the rows `shown`, whose middle row shows what `middle` says."""
    rows = ", ".join(map(str, shown))
    samples = Picture(f"Before, {middle}, after: rows {rows}", grid) if grid else Paragraph(_unchanged(totals))
    write_report(
        path,
        f"genmend correct: {totals['model']}",
        f"{totals['n_changed']} of {totals['n']} samples were corrected, {totals['n_given_up']} given up (nothing that "
        "was tried brought them back among the model's own normal samples; they stay as they were), the others left "
        f"untouched.\n\n{_kept(totals)}",
        [
            Section("Samples", [samples]),
            Section("Flagged before and after", [_flagged(totals), *_tried(totals, correction), *_judged(totals)]),
            Section("Scores", [_histogram(done, correction)]),
            Section("Settings", [Facts("What this run used", totals)]),
        ],
    )


def _kept(totals: dict[str, Any]) -> str:
    if totals["in_correction_file"]:
        return f"Method: {totals['method']}. The correction file correction.safetensors does the same elsewhere."
    return (
        f"Method: {totals['method']}. There is no correction file: this method finds an edit, or another latent, for "
        "each sample, and no file of edits can hold that. Run this command again on other latents, or use "
        "genmend.gans.correctors in Python."
    )


def _unchanged(totals: dict[str, Any]) -> str:
    if not totals["n_given_up"]:
        return "No sample was changed: the gate found none that needs it."
    return (
        "No sample was changed: nothing that was tried came out normal enough to be kept. A higher normal_quantile or "
        "manifold_quantile (--set) admits more."
    )


def _flagged(totals: dict[str, Any]) -> Table:
    caption = (
        "Counted by the gate's score and by the manifold of the model's own normal samples. They also decide which "
        "samples are tried and which results are kept: they are no independent judge."
    )
    if totals["method"] in _STEERED:
        caption += " This method even moves samples by the gradient of these features."
    flagged, outside = totals["n_flagged"], totals["n_outside"]
    return Table(
        caption,
        ["of all samples", "before", "after"],
        [
            ["flagged as broken (gate score above its threshold)", flagged["before"], flagged["after"]],
            ["outside the normal manifold", outside["before"], outside["after"]],
            ["median gate score", totals["gate_score_median_before"], totals["gate_score_median_after"]],
        ],
    )


def _judged(totals: dict[str, Any]) -> list[Any]:
    judge = totals["judge"]
    if judge is None:
        return [Paragraph("No other judge was asked; --judge names an extractor that the correction did not look at.")]
    if not judge["n"]:
        return [Paragraph("The judge had nothing to look at: no sample was corrected.")]
    low, high = judge["gained"]
    caption = (
        f"A second judge: the {judge['n']} corrected samples in the features of {judge['extractor']}, which neither "
        f"the gate nor the stop rule looks at. Inside: among {judge['n_normal']} normal samples of the model itself, "
        "k = 5."
    )
    header = ["judge", "inside before", "inside after", "gained: 95 %, from", "to", "mean cosine of before and after"]
    row = [judge["extractor"], judge["inside_before"], judge["inside_after"], low, high, judge["cosine"]]
    return [Table(caption, header, [row])]


def _tried(totals: dict[str, Any], correction: Correction) -> list[Any]:
    if len(correction.ladder) == 1:
        n_tried = totals["n_changed"] + totals["n_given_up"]
        return [Paragraph(f"Tried on {n_tried} samples, enough for {totals['n_changed']} of them.")]
    rungs = ladder_chart(totals["n_by_rung"], len(correction.ladder), totals["n_given_up"])
    return [Figure("The rung that was taken.", rungs)]


def _histogram(done: Treatment, correction: Correction) -> Figure:
    scores = {"before": done.gate_before, "after": done.gate_after}
    threshold = None if correction.gate is None else correction.gate.threshold
    return Figure("Gate score, higher = more broken.", score_histogram(scores, "gate score", threshold))
