"""The Samples tab: how good, how varied and how rare are samples, beside a reference; several sets in one table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from genmend.storage.weights import has_weights
from genmend.workbench.app.comparison import Comparison, add_set, example_comparison, report_of
from genmend.workbench.app.context import AppContext
from genmend.workbench.app.guard import ARRAY_SUFFIXES
from genmend.workbench.app.job_panel import job_panel
from genmend.workbench.app.samples_shown import (
    GALLERIES,
    gallery_of,
    named_rows,
    names_of,
    place_of,
    planes,
    sets_table,
    verdict,
)
from genmend.workbench.app.uploads import SAMPLE_SUFFIXES, OwnFolder, take_samples
from genmend.workbench.commands.score_settings import ScoreSettings

__all__ = ["build"]

_KINDS = sorted(SAMPLE_SUFFIXES | ARRAY_SUFFIXES | {".zip"})
_USUAL = "usual of the kind"
_EXTRACTORS = ("efficientnet-lite0", "mobilenet-v2", "clip-vit-b16")
_CLICK = "Click a picture: its nearest neighbours in the other set, and its place in the histogram."


def build(context: AppContext) -> None:
    """Fill the tab."""
    sentence, drawn, table = (
        gr.HTML(render=False, padding=False, elem_id=f"samples-{part}") for part in ("said", "planes", "sets")
    )
    chosen = gr.Radio([], label="Set whose pictures are shown", render=False, visible=False, elem_id="samples-set")
    make = gr.Button("Make its report", render=False, visible=False, scale=0, min_width=180)
    report = gr.DownloadButton("Download its report", render=False, visible=False, scale=0, min_width=180)
    shown = {kind: _gallery(kind, title) for kind, (title, *_) in GALLERIES.items()}
    rows, place = gr.HTML(render=False, padding=False), gr.HTML(render=False, padding=False, elem_id="samples-place")
    of_set = [sentence, make, report, *shown.values(), rows, place]

    def show(comparison: Comparison, name: str = "") -> list[Any]:
        names = names_of(comparison)
        choice = gr.update(choices=names, value=names[0], visible=len(names) > 1)
        return [planes(comparison), sets_table(comparison), choice, *show_set(comparison, names[0])]

    def show_set(comparison: Comparison, name: str) -> list[Any]:
        pictures = {kind: gallery_of(comparison, name, kind) for kind in GALLERIES}
        return [
            verdict(comparison, name),
            gr.update(visible=True),
            gr.update(visible=False),
            *(gr.update(value=found, visible=bool(found)) for found in pictures.values()),
            named_rows(comparison, name),
            f"<p>{_CLICK}</p>" if any(pictures.values()) else "",
        ]

    uploads = _uploads()
    panel = job_panel(context, "samples", show, [drawn, table, chosen, *of_set], first=lambda: _example(context))
    sentence.render()
    drawn.render()
    table.render()
    with gr.Row():
        chosen.render()
        make.render()
        report.render()
    with gr.Row():
        for gallery in shown.values():
            gallery.render()
    rows.render()
    place.render()

    def comparison_of(key: str | None) -> Comparison:
        job = context.jobs.find(key)
        while job is not None and not job.ended and job.before is not None:
            job = job.before  # what is on the page until that one is done
        if job is None or not isinstance(job.result, Comparison):
            raise gr.Error("This comparison is no longer kept: score the samples again.", print_exception=False)
        return job.result

    def choose(key: str, name: str) -> list[Any]:
        comparison = comparison_of(key)
        return show_set(comparison, name if name in comparison.runs else names_of(comparison)[0])

    chosen.input(choose, [panel.kept, chosen], of_set, show_progress="hidden", api_visibility="private")
    make.click(
        lambda key, name: (gr.update(visible=False), gr.update(value=_report(comparison_of(key), name), visible=True)),
        [panel.kept, chosen],
        [make, report],
        api_visibility="private",
    )
    for kind, gallery in shown.items():

        def picked(key: str, name: str, event: gr.SelectData, kind: str = kind) -> str:
            return place_of(comparison_of(key), name, kind, int(event.index))

        gallery.select(picked, [panel.kept, chosen], [place], show_progress="hidden", api_visibility="private")

    def start(reference: Any, query: Any, name: str, *settings: Any) -> Any:
        return _new(context, reference, query, name, _settings(*settings))

    def add(key: str, query: Any, name: str, *settings: Any) -> Any:
        return _more(context, comparison_of(key), query, name, _settings(*settings))

    settings = [uploads["k"], uploads["limit"], uploads["features"]]
    panel.started_by(
        uploads["score"].click, start, [uploads["reference"], uploads["query"], uploads["name"], *settings]
    )
    panel.started_by(uploads["add"].click, add, [panel.kept, uploads["query"], uploads["name"], *settings])
    panel.started_by(uploads["example"].click, lambda: _example(context))


def _report(comparison: Comparison, name: str) -> str:
    return str(report_of(comparison, name))


def _gallery(kind: str, title: str) -> gr.Gallery:
    return gr.Gallery(
        label=title,
        render=False,
        columns=3,
        height="auto",
        object_fit="contain",
        allow_preview=False,
        interactive=False,
        visible=False,
        buttons=[],
        format="png",
        elem_id=f"samples-{kind}",
    )


def _uploads() -> dict[str, Any]:
    """The folded form for samples of one's own."""
    made: dict[str, Any] = {}
    with gr.Accordion("Score your own samples", open=False, elem_id="samples-own"):
        gr.Markdown(
            "Images or recordings, as files or as one zip; or one array (.npy, .npz, .safetensors, .csv) of images or "
            "of features. The reference is what the samples should be like."
        )
        with gr.Row():
            for name, label in (("reference", "Reference"), ("query", "Samples to score")):
                made[name] = gr.File(
                    label=label, file_count="multiple", file_types=_KINDS, height=140, elem_id=f"samples-{name}"
                )
        with gr.Row():
            made["name"] = gr.Textbox("my samples", label="Name of the set", max_length=60)
            made["k"] = gr.Number(3, label="Neighbours (k)", precision=0, minimum=1, maximum=100)
            made["limit"] = gr.Number(2000, label="At most so many of each", precision=0, minimum=2, maximum=100_000)
            made["features"] = gr.Dropdown([_USUAL, *filter(has_weights, _EXTRACTORS)], value=_USUAL, label="Features")
        with gr.Row():
            made["score"] = gr.Button("Score", variant="primary")
            made["add"] = gr.Button("Add the samples to the table above, same reference")
            made["example"] = gr.Button("Back to the example")
    return made


def _settings(k: float, limit: float, features: str) -> ScoreSettings:
    return ScoreSettings(
        k=(int(k),), limit=int(limit), features="" if features == _USUAL else features, on_error="skip"
    )


def _new(
    context: AppContext, reference: Sequence[str], query: Sequence[str], name: str, settings: ScoreSettings
) -> Any:
    own = OwnFolder(context.files / "samples")
    paths = [
        _taken("reference", reference, own.path / "reference", context),
        _taken("samples to score", query, own.path / "query", context),
    ]
    started = Comparison(paths[0], "your reference")
    return lambda: add_set(started, name.strip() or "my samples", paths[1], own.path / "score", settings, [own])


def _more(
    context: AppContext, comparison: Comparison, query: Sequence[str], name: str, settings: ScoreSettings
) -> Callable[[], Comparison]:
    own = OwnFolder(context.files / "samples")
    path = _taken("samples to score", query, own.path / "query", context)
    first = next(iter(comparison.runs.values())).settings
    settings = replace(settings, k=first.k, features=first.features)  # one table compares what was made alike
    return lambda: add_set(comparison, name.strip() or "my samples", path, own.path / "score", settings, [own])


def _taken(what: str, uploaded: Sequence[str] | None, folder: Path, context: AppContext) -> Path:
    try:
        return take_samples(uploaded or [], folder, context.files)
    except ValueError as error:
        raise ValueError(f"The {what}: {error}") from error


def _example(context: AppContext) -> Any:
    """The job of the example, one for all sessions."""
    folder = context.files / "example"
    return context.shared(
        "samples example", lambda: context.jobs.start(lambda: example_comparison(folder), shared=True)
    )
