"""The Generator tab: samples with their scores, units to click, paint, undo, and the edit as a file."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gradio as gr

from genmend.gans import load_generator
from genmend.storage.weights import fetch_weights
from genmend.workbench.app.context import AppContext
from genmend.workbench.app.generator import views
from genmend.workbench.app.generator.file_part import file_part
from genmend.workbench.app.generator.inspected import Inspected
from genmend.workbench.app.generator.learn_part import learn_part
from genmend.workbench.app.generator.paint_part import paint_part
from genmend.workbench.app.generator.parts import Parts, Place, clicked
from genmend.workbench.app.generator.session import (
    UNITS_SHOWN,
    Session,
    edited_again,
    with_layer,
    with_rows,
    with_units,
)

__all__ = ["build"]

MOST_UNITS = 96
EXTRACTOR = "efficientnet-lite0"


def build(context: AppContext) -> None:
    """Fill the tab."""

    def inspected() -> Inspected:
        return context.shared("generator", lambda: _load(context))

    verdict = gr.HTML('<p class="verdict">Opening the generator.</p>', elem_id="generator-verdict")
    problem = gr.HTML("", elem_id="generator-problem")
    with gr.Row(equal_height=False):
        with gr.Column(scale=6, min_width=320):
            with gr.Row(equal_height=True):
                seed = gr.Number(0, label="Seed", precision=0, minimum=0, min_width=80, elem_id="generator-seed")
                new = gr.Button("New samples", min_width=100, elem_id="generator-new")
                worst = gr.Button("Show the most broken", min_width=100, elem_id="generator-worst")
            samples = gr.HTML("", elem_id="generator-samples", js_on_load=views.CLICKED)
            edited = gr.HTML("", elem_id="generator-edited")
            with gr.Row():
                undo = gr.Button("Undo", size="sm", min_width=80, elem_id="generator-undo")
                reset = gr.Button("Reset", size="sm", min_width=80, elem_id="generator-reset")
            with gr.Row(equal_height=False):
                with gr.Column(min_width=260):
                    before_after = gr.HTML("", elem_id="generator-before-after", js_on_load=views.MOVED)
                with gr.Column(min_width=260):
                    paint = gr.ImageEditor(
                        label="Paint on it",
                        type="numpy",
                        sources=(),
                        transforms=(),
                        layers=False,
                        brush=gr.Brush(default_size=24, colors=["#ffd21a"], color_mode="fixed"),
                        canvas_size=(320, 320),
                        buttons=[],
                        elem_id="generator-paint",
                    )
                    find = gr.Button("Find the units behind it", size="sm", elem_id="generator-find")
        with gr.Column(scale=5, min_width=320):
            with gr.Row():
                layer = gr.Dropdown([], label="Layer", min_width=100, elem_id="generator-layer")
                concept = gr.Dropdown([], label="Units that detect", min_width=100, elem_id="generator-concept")
            painted = gr.HTML("", elem_id="generator-painted")
            units = gr.HTML("", elem_id="generator-units", js_on_load=views.CLICKED)
            strength = gr.Slider(
                0,
                3,
                1,
                step=0.05,
                label="Strength: click a unit first",
                interactive=False,
                elem_id="generator-strength",
            )
            with gr.Row():
                all_off = gr.Button("Switch all of these off", size="sm", min_width=100, elem_id="generator-all-off")
                more = gr.Button("More units", size="sm", min_width=80, elem_id="generator-more")
    parts = Parts(
        inspected, context.files, gr.State(Place()), verdict, problem, samples, before_after, paint, layer, concept,
        strength, units, edited, seed,
    )  # fmt: skip
    paint_part(parts, find, painted)
    file_part(context, parts)
    learn_part(context, parts)
    assert context.tab is not None
    parts.on(context.tab.select, lambda session: session)
    _sample_events(parts, new, worst)
    _unit_events(parts, undo, reset, all_off, more)


def _sample_events(parts: Parts, new: gr.Button, worst: gr.Button) -> None:
    def of_seed(session: Session, seed: Any) -> Session:
        inspected = parts.inspected()
        return with_rows(inspected, session, _whole(seed), range(inspected.n_shown))

    def next_seed(session: Session, seed: Any) -> Session:
        return of_seed(session, _whole(seed) + 1)

    def most_broken(session: Session, seed: Any) -> Session:
        inspected = parts.inspected()
        ranking, _ = inspected.most_broken(_whole(seed))
        return with_rows(inspected, session, _whole(seed), ranking[: inspected.n_shown].tolist())

    def choose(session: Session, data: gr.EventData) -> Session:
        return replace(session, chosen=clicked(data, len(session.rows)))

    parts.edit_on(parts.seed.submit, of_seed, [parts.seed])
    parts.edit_on(new.click, next_seed, [parts.seed])
    parts.edit_on(worst.click, most_broken, [parts.seed])
    parts.on(parts.samples.select, choose)


def _unit_events(parts: Parts, undo: gr.Button, reset: gr.Button, all_off: gr.Button, more: gr.Button) -> None:
    def toggle(session: Session, data: gr.EventData) -> Session:
        unit = session.units[clicked(data, len(session.units))]
        strength = 0.0 if session.history.strength(session.layer, unit) == 1 else 1.0
        return with_units(parts.inspected(), replace(session, unit=unit), [unit], strength)

    def scale(session: Session, strength: float) -> Session:
        if session.unit is None:
            raise ValueError("Click a unit first: the slider scales the one that was clicked last.")
        return with_units(parts.inspected(), session, [session.unit], strength)

    def switch_all(session: Session) -> Session:
        return with_units(parts.inspected(), session, session.units, 0.0)

    def undone(session: Session) -> Session:
        return edited_again(parts.inspected(), replace(session, history=session.history.undone()))

    def without(session: Session) -> Session:
        return edited_again(parts.inspected(), replace(session, history=session.history.reset(), correction=None))

    parts.edit_on(parts.units.select, toggle)
    parts.edit_on(parts.strength.release, scale, [parts.strength])
    parts.edit_on(all_off.click, switch_all)
    parts.edit_on(undo.click, undone)
    parts.edit_on(reset.click, without)
    parts.on(parts.layer.input, lambda session, name: with_layer(parts.inspected(), session, name), [parts.layer])
    parts.on(
        parts.concept.input,
        lambda session, name: with_layer(parts.inspected(), session, session.layer, name or ""),
        [parts.concept],
    )
    parts.on(
        more.click,
        lambda session: with_layer(
            parts.inspected(), session, session.layer, session.concept,
            min(MOST_UNITS, len(session.units) + UNITS_SHOWN),
        ),
    )  # fmt: skip


def _whole(seed: Any) -> int:
    if not isinstance(seed, int | float) or seed != int(seed) or not 0 <= seed < 2**31:
        raise ValueError(f"The seed is {seed!r}; give a whole number from 0 to {2**31 - 1}.")
    return int(seed)


def _load(context: AppContext) -> Inspected:
    """The generator that the command named, or the faces, whose weights are fetched where they are missing."""
    generator = context.models.generator
    if generator is None:
        for name in ("faces", EXTRACTOR):
            fetch_weights(name)
        generator = load_generator("faces")
    return Inspected(generator, context.out / "generator")
