"""The edit as a correction file, and corrections of others: their facts first, then attached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from genmend.activations import load_correction, save_correction
from genmend.gans.correctors.correct import correction_digest
from genmend.gans.editing.edit_effect import edit_effect
from genmend.gans.editing.unit_correction import unit_correction
from genmend.workbench.app.context import AppContext
from genmend.workbench.app.file_facts import facts_html
from genmend.workbench.app.generator import views
from genmend.workbench.app.generator.parts import TOLD, Parts, Place, problem_box
from genmend.workbench.app.generator.session import AS_FILE_DECIDES, Session, edited_again
from genmend.workbench.app.job_panel import job_panel

__all__ = ["file_part"]

N_MEASURED, MEASURED_SEED = 64, 4_000_037  # other samples than those that are shown
LONGEST = 200


def file_part(context: AppContext, parts: Parts) -> None:
    """Put both on the page: measure and save on the left, load and attach on the right."""
    with gr.Row(equal_height=False):
        with gr.Column(min_width=340), gr.Accordion("Measure and save the edit"):
            _measure_part(context, parts)
            _save_part(context, parts)
        with gr.Column(min_width=340), gr.Accordion("Attach a correction file"):
            _attach_part(parts)


def _measure_part(context: AppContext, parts: Parts) -> None:
    measure = gr.Button(f"Measure it on {N_MEASURED} other samples", elem_id="generator-measure")
    effect = gr.HTML("", elem_id="generator-effect")

    def prepare(place: Place) -> Callable[[], str]:
        inspected, session = parts.inspected(), place.session
        if session is None or not session.history.n_units:
            raise ValueError("No unit is edited, so there is nothing to measure: click one to switch it off.")
        gate, history = inspected.gate, session.history
        if gate is None:
            raise ValueError("Nobody has learnt yet what is normal for this generator: press Learn what is normal.")

        def work() -> str:
            latents = inspected.shared.latents(N_MEASURED, MEASURED_SEED)
            found = edit_effect(inspected.shared, history.edits(), latents, gate)
            place.measured = history, found
            return views.effect_table(found)

        return work

    panel = job_panel(context, "generator", lambda table: [table], [effect])
    panel.started_by(measure.click, prepare, [parts.place])


def _save_part(context: AppContext, parts: Parts) -> None:
    licence = gr.Textbox(label="Licence of the file, as others will read it", max_length=LONGEST, max_lines=1,
                         elem_id="generator-licence")  # fmt: skip
    save = gr.Button("Save as a correction file", variant="primary", elem_id="generator-save")
    saved = gr.File(label="The correction", visible=False, interactive=False, elem_id="generator-saved")

    def keep(place: Place, licence: str) -> dict[Any, Any]:
        try:
            path = _write(context, parts, place, licence)
        except TOLD as error:
            return {parts.problem: problem_box(error), saved: gr.update(visible=False)}
        return {parts.problem: "", saved: gr.update(value=str(path), visible=True)}

    save.click(keep, [parts.place, licence], [parts.problem, saved], show_progress="hidden", api_visibility="private")


def _write(context: AppContext, parts: Parts, place: Place, licence: str) -> Path:
    inspected, session = parts.inspected(), place.session
    edits = () if session is None else session.history.edits()
    measured = place.measured
    effect = measured[1] if measured and session and measured[0].strengths == session.history.strengths else None
    info = {"licence": licence.strip()[:LONGEST] or "not said", "origin": "made by hand in the page of genmend serve"}
    with inspected.shared.edited() as generator:
        correction = unit_correction(
            generator, edits, gate=inspected.gate, stop_rule=inspected.stop_rule, effect=effect, info=info
        )
    folder = context.files / "corrections" / correction_digest(correction)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{_plain(inspected.name)}.correction.safetensors"
    save_correction(path, correction)
    return path


def _plain(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in name)[:60] or "generator"


def _attach_part(parts: Parts) -> None:
    upload = gr.File(label="A .safetensors file of genmend correct, or of this page", file_types=[".safetensors"],
                     height=120, elem_id="generator-upload")  # fmt: skip
    refusal = gr.HTML("", elem_id="generator-refusal")
    facts = gr.HTML("", elem_id="generator-facts")
    rung = gr.Dropdown([], label="How much of it", visible=False, elem_id="generator-rung")
    attach = gr.Button("Attach it", visible=False, elem_id="generator-attach")
    shown = [refusal, facts, rung, attach]

    def read(place: Place, path: str | None) -> dict[Any, Any]:
        place.uploaded = None
        hidden = {facts: "", rung: gr.update(visible=False), attach: gr.update(visible=False), refusal: ""}
        if path is None:
            return hidden
        try:
            correction, told = load_correction(path), facts_html(Path(path), "correction")
            with parts.inspected().shared.edited() as generator:
                correction.check(generator.module)
        except TOLD as error:
            return hidden | {refusal: problem_box(error)}
        place.uploaded = correction
        rungs = [(f"rung {number + 1} of {len(correction.ladder)}", number) for number in range(len(correction.ladder))]
        gated = correction.gate is not None and correction.stop_rule is not None
        choices = [("as its gate and stop rule decide", AS_FILE_DECIDES)] * gated + rungs
        return {
            refusal: "",
            facts: told,
            rung: gr.update(choices=choices, value=choices[0 if gated else -1][1], visible=True),
            attach: gr.update(visible=True),
        }

    def attached(session: Session, place: Place, chosen: int) -> Session:
        if place.uploaded is None:
            raise ValueError("No correction file is loaded: choose one first.")
        return edited_again(parts.inspected(), replace(session, correction=place.uploaded, rung=int(chosen)))

    for trigger in (upload.upload, upload.clear):
        trigger(read, [parts.place, upload], shown, show_progress="hidden", api_visibility="private")
    parts.edit_on(attach.click, attached, [parts.place, rung])
