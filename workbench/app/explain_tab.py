"""The Explain tab: why a classifier gives an image its class: maps with their scores, and the circuit of its units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import torch

from genmend.concepts.circuits.circuit_images import CircuitRun, circuits_of_images
from genmend.concepts.classifiers import EMBEDDED, Classifier, load_classifier
from genmend.concepts.loop.explain_images import explain_images
from genmend.concepts.settings import CircuitSettings, ExplainSettings
from genmend.storage.pieces import Work
from genmend.storage.progress import tell
from genmend.storage.weights import fetch_weights
from genmend.workbench.app.context import AppContext
from genmend.workbench.app.explain_shown import N_BEST, Explained, circuit_html, maps_html, scores_html
from genmend.workbench.app.job_panel import job_panel
from genmend.workbench.app.photographs import crops, photographs
from genmend.workbench.app.uploads import OwnFolder, check_upload, take_samples

__all__ = ["build"]

# Those that take seconds; the others are some times as long.
METHODS = ("grad-cam", "full-gradient", "saliency", "input-x-gradient")
SLOWER = ("distilled-gradient", "integrated-gradients", "smooth-gradient", "occlusion")
N_DRAWS = 8
N_CROPS = 40  # of each photograph


@dataclass(frozen=True, eq=False)
class Circuit:
    """A circuit, what its reference is, and the folder that this lies in, which lasts as long."""

    run: CircuitRun
    reference: str
    held: OwnFolder | None


def build(context: AppContext) -> None:
    """Fill the tab."""
    pictures = photographs(context.files / "photographs")
    maps, scores, circuit = (
        gr.HTML(render=False, padding=False, elem_id=f"explain-{part}") for part in ("maps", "scores", "circuit")
    )
    with gr.Row():
        with gr.Column(scale=1, min_width=240):
            image = gr.Image(
                str(next(iter(pictures.values()), "")) or None,
                label="Image",
                type="filepath",
                sources=["upload"],
                height=240,
                buttons=[],
                elem_id="explain-image",
            )
        with gr.Column(scale=2, min_width=240):
            examples = gr.Radio(list(pictures), value=next(iter(pictures), None), label="Or a photograph of these")
            with gr.Row():
                network = gr.Dropdown(list(EMBEDDED[::-1]), value=EMBEDDED[1], label="Network")
                target = gr.Dropdown(
                    [], value=None, label="Class (its best one if empty)", filterable=True, elem_id="explain-class"
                )
            methods = gr.CheckboxGroup([*METHODS, *SLOWER], value=list(METHODS), label="Methods")
            button = gr.Button("Explain", variant="primary")
    panel = job_panel(
        context,
        "explain",
        lambda found: [maps_html(found), scores_html(found)],
        [maps, scores],
        first=partial(_example, context, next(iter(pictures.values()))) if pictures else None,
        when=context.tab.select if context.tab is not None else None,
    )
    maps.render()
    scores.render()
    gr.Markdown("### The circuit\nWhich units make which for this image, and what they carry of its class.")
    with gr.Accordion("A reference of your own", open=False):
        gr.Markdown(
            "What a unit answers to is told by reference images, the more and the nearer to the image the better: a "
            "zip, or several files, 50 at least. Without one, crops of the photographs above are used."
        )
        reference = gr.File(label="Reference images", file_count="multiple", file_types=["image", ".zip"], height=120)
    draw = gr.Button("Show the circuit")
    drawn = job_panel(context, "circuit", lambda found: [circuit_html(found.run, found.reference)], [circuit])
    circuit.render()

    examples.input(
        lambda name: str(pictures[name]), [examples], [image], show_progress="hidden", api_visibility="private"
    )
    if context.tab is not None:
        context.tab.select(
            lambda: gr.update(choices=_classes(context)),
            None,
            [target],
            show_progress="hidden",
            api_visibility="private",
        )

    def start(path: str | None, model: str, number: str | None, chosen: Sequence[str]) -> Callable[[], Explained]:
        if not chosen:
            raise ValueError("No method is chosen: tick at least one.")
        return partial(_explained, context, _image(path, context), model, number or "", ",".join(chosen))

    def start_circuit(path: str | None, model: str, number: str, given: Sequence[str] | None) -> Callable[[], Circuit]:
        own = OwnFolder(context.files / "references") if given else None
        images = take_samples(given, own.path / "images", context.files) if given and own else list(pictures.values())
        return partial(_circuit, context, _image(path, context), model, number or "", images, own)

    panel.started_by(button.click, start, [image, network, target, methods])
    drawn.started_by(draw.click, start_circuit, [image, network, target, reference])


def _image(path: str | None, context: AppContext) -> Path:
    if not path:
        raise ValueError("There is no image: upload one, or choose a photograph.")
    return check_upload(path, context.files)


def _classifier(context: AppContext, name: str) -> Classifier:
    def load() -> Classifier:
        tell(f"getting the weights of {name}", 0, 1)
        fetch_weights(name)
        tell(f"getting the weights of {name}", 1, 1)
        return load_classifier(name)

    return context.shared(("classifier", name), load)


def _classes(context: AppContext) -> list[tuple[str, str]]:
    """Names and numbers of the classes of ImageNet, of which both networks are."""
    names = _classifier(context, EMBEDDED[1]).classes
    return sorted((name, str(number)) for number, name in enumerate(names))


def _example(context: AppContext, path: Path) -> Any:
    """The job of the example, one for all sessions."""
    work = partial(_explained, context, path, EMBEDDED[1], "", ",".join(METHODS))
    return context.shared("explain example", lambda: context.jobs.start(work, shared=True))


def _explained(context: AppContext, path: Path, model: str, target: str, methods: str) -> Explained:
    classifier = _classifier(context, model)
    settings, work = ExplainSettings(methods=methods, n_images=1), Work(context.out / "work" / "explain")
    run = explain_images(path, classifier, target=target, settings=settings, work=work)
    with torch.no_grad():
        best = classifier.module(run.inputs[:1])[0].softmax(0).topk(N_BEST)
    named = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return Explained(run, tuple((classifier.class_name(number), value) for number, value in named))


def _circuit(
    context: AppContext, path: Path, model: str, target: str, images: Path | list[Path], own: OwnFolder | None
) -> Circuit:
    reference = images if isinstance(images, Path) else crops(images, N_CROPS)
    settings, work = CircuitSettings(n_images=1, n_draws=N_DRAWS), Work(context.out / "work" / "circuits")
    found = circuits_of_images(
        path, _classifier(context, model), reference=reference, target=target, settings=settings, work=work
    )
    n = len(found.reference)
    said = f"The reference: {n} crops of the photographs that are offered above." if own is None else ""
    return Circuit(found, said or f"The reference: {n} images of yours.", own)
