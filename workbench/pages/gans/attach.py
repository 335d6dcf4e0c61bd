"""The page of ``genmend attach`` for a generator: the file's facts, then what it does beside its control."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from genmend.gans.preview.correction_preview import CorrectionPreview
from genmend.manifold.figures.image_grid import image_grid
from genmend.storage.hub.kinds import Description
from genmend.storage.hub.repository import Shared
from genmend.workbench.pages.facts import fact_sections
from genmend.workbench.pages.page import Answer, Number, Paragraph, Picture, Section, Table, write_report
from genmend.workbench.pages.pictures import before_after, shrunk

__all__ = ["attach_answer", "write_attach_report"]

_NOT_BETTER = "By its own judgement the control does as much: what it mends may be any change of that size."
_CONTROL = "as many and as strong edits at random places, latents moved as far in random directions"


def write_attach_report(path: Path, shared: Shared, described: Description, preview: CorrectionPreview) -> None:
    """Write the page."""
    facts, *others = fact_sections(shared, described, preview.fit, preview.not_checked)
    tried = [_mended(preview), _rungs(preview)] if preview.steps else []
    answer = attach_answer(preview)
    if preview.images is not None and preview.steps:
        after, how = preview.steps[-1].images, f"the strongest step, {preview.steps[-1].name}"
        if preview.mended is not None:
            after, how = preview.mended, "as its gate leaves them"
        caption = f"Unedited, and {how}: samples {', '.join(map(str, preview.shown))}."
        answer = replace(answer, pictures=[before_after(caption, preview.images, after)])
    write_report(path, f"genmend attach: {described.title}", answer, [facts, *tried, *others])


def attach_answer(preview: CorrectionPreview) -> Answer:
    """What was seen."""
    if not preview.steps:
        return Answer(f"Nothing was tried: this is {preview.fit}.")
    n, done, control = preview.settings.n, preview.gated, preview.control_gated
    if done is None or control is None or preview.flagged is None:
        weakest, strongest = preview.steps[0], preview.steps[-1]
        return Answer(
            f"On {n} fresh samples its edits change the pixels by {_share(weakest.change)} at the least and "
            f"{_share(strongest.change)} at the most; nothing here says whether that is better.",
            Number(
                "Change of pixels, at the most",
                _share(strongest.change),
                f"the same edits at random places: {_share(strongest.control_change)}",
            ),
        )
    flagged, mended, other = int(preview.flagged.sum()), int(done.changed.sum()), int(control.changed.sum())
    if not flagged:
        return Answer(f"Of {n} fresh samples its gate opens to none, so it would change nothing.")
    sizes = [_share(change) for change in (preview.gated_change, preview.control_gated_change) if change is not None]
    more = f"A mended sample's pixels change by {sizes[0]} of their range" if sizes else ""
    more += f", the control's by {sizes[1]}" if len(sizes) == 2 else ""
    return Answer(
        f"Of {n} fresh samples its gate opens to {flagged}: {mended} are mended, by its own judgement, "
        f"{int(done.given_up.sum())} given up, the others left untouched.",
        Number(
            "Mended, by its own judgement",
            f"{mended} of {flagged}",
            f"{_CONTROL}, by the same judgement: {other} of {flagged}",
        ),
        [_NOT_BETTER] if other >= mended else (),
        more=f"{more}." if more else "",
    )


def _share(change: float) -> str:
    return f"{100 * change:.1f} %"


def _mended(preview: CorrectionPreview) -> Section:
    """What gate and stop rule make of it."""
    assert preview.images is not None
    if preview.mended is None:
        return Section("As it is meant to be used", [Paragraph("It has no gate and no stop rule that choose a rung.")])
    assert preview.gated is not None
    assert preview.control_gated is not None
    shown = ", ".join(f"{row}{_done(preview, int(row))}" for row in preview.shown)
    blocks: list[Any] = [
        Picture(
            f"Unedited above, mended below: the {len(preview.shown)} samples of the highest gate score, rows {shown}.",
            _grid(preview.images, preview.mended),
        ),
        Table(
            "By gate and stop rule of the file itself, which judge their own work: compare with the control, which is "
            f"judged by the same. Control: {_CONTROL}.",
            ["", "gate opens to", "mended", "given up", "median gate score before", "after", "change of pixels"],
            [
                [name, flagged, int(done.changed.sum()), int(done.given_up.sum()), before, after, change]
                for name, done, change in (
                    ("correction", preview.gated, preview.gated_change),
                    ("control", preview.control_gated, preview.control_gated_change),
                )
                for flagged, before, after in [
                    (
                        0 if preview.flagged is None else int(preview.flagged.sum()),
                        done.to_dict()["gate_score_median_before"],
                        done.to_dict()["gate_score_median_after"],
                    )
                ]
            ],
        ),
    ]
    return Section("As it is meant to be used", blocks)


def _done(preview: CorrectionPreview, row: int) -> str:
    assert preview.gated is not None
    if preview.gated.given_up[row]:
        return " (given up)"
    return "" if preview.gated.changed[row] else " (left alone)"


def _rungs(preview: CorrectionPreview) -> Section:
    """The steps on every sample, without the gate."""
    assert preview.images is not None
    found = preview.to_dict()["steps"]
    header = ["step", "change", "control's"]
    rows = [[one["step"], one["change"], one["control_change"]] for one in found]
    caption = "On every sample, without its gate. Change: mean absolute difference of the pixels, of 1. "
    if preview.flagged is not None:
        n_flagged = int(preview.flagged.sum())
        header += ["still flagged", "control's", "newly flagged", "control's"]
        for row, one in zip(rows, found, strict=True):
            row += [one[f"{control}{name}"] for name in ("flagged_of_flagged", "flagged_of_others")
                    for control in ("", "control_")]  # fmt: skip
        caption += f"Flagged by its own gate: {n_flagged} were before, {preview.settings.n - n_flagged} were not. "
    caption += f"Control: {_CONTROL}."
    pictures = [
        Picture(
            f"{step.name[0].upper()}{step.name[1:]}: unedited, edited, and the control.",
            _grid(preview.images, step.images, step.control_images),
        )
        for step in preview.steps
    ]
    return Section("How strong it can be", [Table(caption, header, rows), *pictures])


def _grid(*rows: Any) -> bytes:
    return image_grid([shrunk(row) for row in rows], max(1, 128 // rows[0].shape[-1]))
