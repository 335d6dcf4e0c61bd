"""The page of ``genmend correct``: samples before and after, how many are still flagged, and how strongly it took."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genmend.activations import Correction
from genmend.gans import Generator, Treatment
from genmend.gans.correctors.correct import CorrectRun, edit_maps, switches_neurons
from genmend.gans.detection.majority_trust import in_words
from genmend.manifold.figures.image_grid import image_grid
from genmend.manifold.figures.series_histogram import series_histogram
from genmend.workbench.pages.charts import ladder_chart
from genmend.workbench.pages.gans.detect import threshold_choices
from genmend.workbench.pages.page import (
    Answer,
    Block,
    Facts,
    Figure,
    Number,
    Paragraph,
    Picture,
    Section,
    Table,
    warning_sections,
    write_report,
)
from genmend.workbench.pages.pictures import (
    SMALL,
    ImageFolders,
    before_after,
    heat_overlay,
    mask_overlay,
    shown_images,
)

__all__ = ["before_after_grid", "correct_answer", "masked_grid", "middle_row", "write_correct_report"]

N_SHOWN = 12
_STEERED = ("manifold-guided", "latent-optimisation")


def write_correct_report(
    path: Path, run: CorrectRun, generator: Generator, latents: Tensor, images: ImageFolders
) -> None:
    """Write the page; its picture shows the changed samples that were most broken."""
    totals, done, correction = run.to_dict(), run.treatment, run.correction
    shown = run.most_broken(N_SHOWN)
    where: Picture | Paragraph = Paragraph(_unchanged(totals))
    pictures: list[Block] = []
    if len(shown):
        chosen = latents[torch.from_numpy(shown)]
        before, after = images.before(shown, generator, chosen), images.after(shown)
        grid = before_after_grid(generator, correction, chosen, before, after, done.rung[shown])
        middle = middle_row(correction, done.rung[shown])
        n_tried = len(correction.ladder) + _n_descents(correction)
        rows = [f"{row} ({_taken(correction, int(done.rung[row]))})" if n_tried > 1 else str(row) for row in shown]
        where = Picture(f"Before, {middle}, after: rows {', '.join(rows)}", grid)
        caption = f"The {len(shown)} most broken that were corrected: rows {', '.join(map(str, shown))}."
        pictures = [before_after(caption, before, after)]
    write_report(
        path,
        f"genmend correct: {totals['model']}",
        replace(correct_answer(run), pictures=pictures),
        [
            *warning_sections(totals["probe"]),
            Section("Where and how strongly", [where, *_tried(totals, correction)], True),
            Section(
                "Flagged before and after", [_flagged(totals), *_choices(totals), *_judged(totals)], not totals["judge"]
            ),
            Section("Scores", [_histogram(done, correction)], True),
            *_masks(run, generator),
            Section("Settings", [Facts("What this run used", totals)], True),
        ],
    )


def correct_answer(run: CorrectRun) -> Answer:
    """How many samples were corrected, and what the gate and, where one was asked, another judge say of them."""
    totals = run.to_dict()
    flagged, judge = totals["n_flagged"], totals["judge"]
    control = "counted by the gate that decided; no other judge was asked"
    if judge is not None and judge["n"]:
        control = (
            f"normal by {judge['extractor']}, which did not decide: {judge['inside_before']:.0%} of the corrected "
            f"before, {judge['inside_after']:.0%} after"
        )
    return Answer(
        f"{totals['n_changed']} of {totals['n']} samples were corrected{_given_up(totals['n_given_up'])}, the others "
        "left untouched.",
        Number("Flagged as broken", f"{flagged['before']} before, {flagged['after']} after", control),
        _doubts(totals),
        more=_kept(totals),
    )


def _given_up(n: int) -> str:
    if not n:
        return ", none given up"
    return (
        f", {n} given up (nothing that was tried brought them back among the model's own normal samples; they stay as "
        "they were)"
    )


def before_after_grid(
    generator: Generator,
    correction: Correction,
    latents: Tensor,
    before: Tensor,
    after: Tensor,
    rungs: NDArray[np.int64],
    columns: int | None = None,
) -> bytes:
    """Three rows as one PNG: before, where neurons were switched off (or else where the image changed), after.

    With `columns` the samples stand in bands of so many, three rows each.
    """
    if _is_mapped(correction, rungs):
        heat = edit_maps(generator, correction, latents, rungs)
    else:
        heat = (after - before).abs().mean(1)
    rows, width = (before, heat_overlay(before, heat), after), columns or len(before)
    return image_grid([row[start : start + width] for start in range(0, len(before), width) for row in rows])


def masked_grid(images: Tensor, masks: Tensor, columns: int = 6) -> bytes:
    """Bands of so many images as one PNG, each with the same images under their masks below it."""
    columns = min(columns, len(images))
    white = images.new_ones(-len(images) % columns, *images.shape[1:])
    above, below = (torch.cat([row, white]).split(columns) for row in (images, mask_overlay(images, masks)))
    scale = 2 if max(images.shape[2:]) <= SMALL else 1
    return image_grid([row for band in zip(above, below, strict=True) for row in band], scale)


def middle_row(correction: Correction, rungs: NDArray[np.int64]) -> str:
    """What the middle row of `before_after_grid` shows, in words."""
    return "where neurons were switched off" if _is_mapped(correction, rungs) else "where the image changed"


def _is_mapped(correction: Correction, rungs: NDArray[np.int64]) -> bool:
    """Whether a map of neurons shows what was done: not where a latent was moved."""
    return switches_neurons(correction) and bool((rungs < len(correction.ladder)).all())


def _n_descents(correction: Correction) -> int:
    return 0 if correction.descent is None else len(correction.descent.targets)


def _masks(run: CorrectRun, generator: Generator) -> list[Section]:
    """Samples that the correction was learnt from, and below each its mask; nothing without masks."""
    if run.marked is None:
        return []
    images, masks = shown_images(generator, run.marked.latents), run.marked.masks
    n, share = len(images), float(masks.mean())
    caption = (
        f"The first {n} of the broken samples that it learnt from ({run.correction.info['learnt_from']}), and below "
        "each the mask that units were scored by: from 0, grey, to 1, its own colours under orange. Marked: "
        f"{share:.0%} of these images on average. Nobody says that the masks are right: look whether they hold what is "
        "broken."
    )
    return [Section("Masks", [Picture(caption, masked_grid(images, masks))])]


def _taken(correction: Correction, rung: int) -> str:
    n_rungs = len(correction.ladder)
    if rung >= n_rungs:
        return f"latent moved, step {rung - n_rungs + 1} of {_n_descents(correction)}"
    return f"step {rung + 1} of {n_rungs}"


def _kept(totals: dict[str, Any]) -> str:
    if totals["in_correction_file"]:
        return f"Method: {totals['method']}. The correction file correction.safetensors does the same elsewhere."
    return (
        f"Method: {totals['method']}. There is no correction file: this method finds an edit, or another latent, for "
        "each sample, and no file of edits can hold that. Run this command again on other latents, or use "
        "genmend.gans.correctors in Python."
    )


def _doubts(totals: dict[str, Any]) -> list[str]:
    """What speaks against the correction."""
    doubts = []
    if totals["majority"] is not None and totals["majority"]["doubted"]:
        doubts.append(in_words(totals["majority"]))
    if totals["blurred"]["doubted"]:
        doubts.append(
            f"The corrected samples are blurrier than before: {totals['blurred']['share']:.0%} of them lost a third of "
            "their finest detail or more. Look at them before they are used."
        )
    if totals["judge"] is not None and totals["judge"]["n"] and totals["judge"]["gained"][1] < 0:
        doubts.append(
            f"Gate and judge disagree: by {totals['judge']['extractor']} fewer of the corrected samples are normal "
            "than before. Look at them before they are used."
        )
    return doubts


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


def _choices(totals: dict[str, Any]) -> list[Any]:
    return [threshold_choices(totals["thresholds"], "--gate-at", "tries")] if totals["thresholds"] else []


def _judged(totals: dict[str, Any]) -> list[Any]:
    judge = totals["judge"]
    if judge is None:
        return [Paragraph("No other judge was asked; --judge-extractor names one that the correction did not look at.")]
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
    n_descents = _n_descents(correction)
    if len(correction.ladder) + n_descents == 1:
        n_tried = totals["n_changed"] + totals["n_given_up"]
        return [Paragraph(f"Tried on {n_tried} samples, enough for {totals['n_changed']} of them.")]
    rungs = ladder_chart(totals["n_by_rung"], len(correction.ladder), n_descents, totals["n_given_up"])
    if n_descents:
        return [Figure(f"What was enough: how far the latent was moved, of {n_descents} steps, else neurons.", rungs)]
    n_steps = len(correction.ladder)
    return [Figure(f"How strongly samples were corrected: the step of {n_steps} that was enough.", rungs)]


def _histogram(done: Treatment, correction: Correction) -> Figure:
    scores = {"before": done.gate_before, "after": done.gate_after}
    threshold = None if correction.gate is None else correction.gate.threshold
    return Figure("Gate score, higher = more broken.", series_histogram(scores, "gate score", threshold))
