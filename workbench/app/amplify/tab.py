"""The Amplify tab: a prompt, seeds, one slider a block; the same seeds without and with; a search of the gains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from html import escape
from typing import Any

import gradio as gr

from genmend.diffusion.search.settings import AmplifySettings
from genmend.workbench.app.amplify.shown import charts, every_pair, one_pair, pair_in_words, pairs, verdict
from genmend.workbench.app.amplify.work import EXAMPLE, Amplified, amplify, example_settings, is_reference, slots_of
from genmend.workbench.app.context import AppContext
from genmend.workbench.app.file_facts import facts_html
from genmend.workbench.app.job_panel import job_panel
from genmend.workbench.app.jobs import one_sentence
from genmend.workbench.app.uploads import OwnFolder, take_file

__all__ = ["build"]

LARGEST_GAIN = 4.0
_GARMENTS = (
    "It draws garments: t-shirt, trousers, pullover, dress, coat, sandal, shirt, sneaker, bag, ankle boot; "
    "dark, bright, plain, patterned, slim, wide, creative."
)


def build(context: AppContext) -> None:
    """Fill the tab."""
    slots, own = slots_of(context), is_reference(context)
    said, every, drawn = (
        gr.HTML(render=False, padding=False, elem_id=f"amplify-{part}") for part in ("said", "every", "charts")
    )
    words = gr.HTML(render=False, padding=False)
    gallery = gr.Gallery(
        label="The same seeds: original to the left, amplified to the right",
        render=False, columns=4, height="auto", object_fit="contain", allow_preview=False, interactive=False,
        buttons=[], format="png", elem_id="amplify-pairs",
    )  # fmt: skip
    slider = gr.ImageSlider(
        label="Original, and what is compared with it", render=False, format="png", interactive=False, max_height=480,
        elem_id="amplify-slider",
    )  # fmt: skip
    other = gr.Radio(["amplified", "control"], value="amplified", label="Compare with", render=False)
    number = gr.State(0)
    save, report = (
        gr.DownloadButton(label, visible=False, render=False, size="sm", elem_id=f"amplify-{kind}")
        for label, kind in (("Save the amplification file", "save"), ("Download the report", "report"))
    )
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            inputs = _form(slots, own)
            gains = inputs["gains"]
            draw = gr.Button("Draw", variant="primary", elem_id="amplify-draw")
            search = _search_form(own)
            file = _file_form()
        with gr.Column(scale=3, min_width=320):

            def show(found: Amplified) -> list[Any]:
                run = found.run
                has_control = run.control_images is not None
                return [
                    verdict(run),
                    pairs(run),
                    one_pair(run, 0, "amplified"),
                    pair_in_words(run, 0),
                    gr.update(value="amplified", visible=has_control),
                    0,
                    every_pair(run),
                    charts(run),
                    *_downloads(found),
                    *(gr.update(value=found.gains.get(slot, 1.0)) for slot in slots),
                ]

            outputs = [said, gallery, slider, words, other, number, every, drawn, save, report, *gains]
            first = _opening(context) if own else None
            when = None if context.tab is None else context.tab.select
            panel = job_panel(context, "amplify", show, outputs, first=first, when=when)
            for part in (said, gallery, slider):
                part.render()
            other.render()
            words.render()
            with gr.Row():
                save.render()
                report.render()
            with gr.Accordion("Every image", open=False):
                every.render()
            with gr.Accordion("Charts", open=False):
                drawn.render()

    _when_picked(context, panel, gallery, other, number, slider, words)
    values = [inputs[name] for name in ("prompt", "seed", "n", "n_cloud", "control", "cutoff", "steps", "guidance")]

    def drawing(*given: Any) -> Callable[[], Amplified]:
        settings = _settings(slots, *given)
        return lambda: amplify(context, settings)

    def searching(n_trials: float, n_search: float, tau: float, keep: float, *given: Any) -> Callable[[], Amplified]:
        settings = replace(
            _settings(slots, *given), gains=None, search=True, n_trials=int(n_trials), n_search=int(n_search), tau=tau,
            keep_inside=keep,
        )  # fmt: skip
        return lambda: amplify(context, settings)

    def loading(path: str | None, *given: Any) -> Callable[[], Amplified]:
        held = OwnFolder(context.files / "amplify")
        taken = take_file(path, held.path, context.files)
        settings = replace(_settings(slots, *given), gains=None, correction=taken, cutoff=None)
        return lambda: amplify(context, settings, held)

    panel.started_by(draw.click, drawing, [*values, *gains])
    panel.started_by(inputs["prompt"].submit, drawing, [*values, *gains])
    if search:
        panel.started_by(search["button"].click, searching, [*search["values"], *values, *gains])
    panel.started_by(file["use"].click, loading, [file["file"], *values, *gains])

    def facts(path: str | None) -> tuple[str, Any]:
        if path is None:
            return "", gr.update(interactive=False)
        held = OwnFolder(context.files / "amplify")
        try:
            return facts_html(take_file(path, held.path, context.files), "amplification"), gr.update(interactive=True)
        except (ValueError, OSError) as error:
            return f'<p role="alert" class="error">{escape(one_sentence(error))}</p>', gr.update(interactive=False)

    file["file"].change(
        facts, [file["file"]], [file["facts"], file["use"]], show_progress="hidden", api_visibility="private"
    )


def _form(slots: Sequence[str], own: bool) -> dict[str, Any]:
    made: dict[str, Any] = {
        "prompt": gr.Textbox(
            EXAMPLE["prompt"] if own else "", label="Prompt", info=_GARMENTS if own else None, max_length=500,
            elem_id="amplify-prompt",
        )
    }  # fmt: skip
    with gr.Row():
        made["seed"] = gr.Number(0, label="First seed", precision=0, minimum=0, maximum=2**31, min_width=110)
        made["n"] = gr.Slider(
            1, 64, EXAMPLE["n"] if own else 2, step=1, label="Images", info="A verdict needs 10.", min_width=170
        )
    with gr.Group():
        made["gains"] = [
            gr.Slider(
                0.5, LARGEST_GAIN, EXAMPLE["gains"].get(slot, 1.0) if own else 1.0, step=0.05, label=_place(slot),
                elem_id=f"amplify-{slot}",
            )
            for slot in slots
        ]  # fmt: skip
    if not slots:
        gr.Markdown(
            "This pipeline has no U-Net, so it has no sliders: load an amplification file, or `genmend amplify`."
        )
    gr.Markdown("A gain of 1 changes nothing; above 1 the block's low spatial frequencies are stronger.")
    with gr.Accordion("More settings", open=False):
        made["control"] = gr.Dropdown(
            [("none", ""), ("high frequencies", "high"), ("all frequencies", "full"), ("random frequencies", "random"),
             ("noise", "noise"), ("no gains: noise on the prompt (CADS)", "cads")],
            value=EXAMPLE["control"] if own else "", label="Control: the same gains elsewhere, or CADS",
        )  # fmt: skip
        made["cutoff"] = gr.Slider(1, 16, 5, step=0.5, label="Where the low band ends (bins)")
        made["n_cloud"] = gr.Slider(
            0, 256, 64 if own else 0, step=1, label="Unamplified images that novelty is measured from",
            info="0 measures none, else at least 6.",
        )  # fmt: skip
        with gr.Row():
            for name in ("steps", "guidance"):
                begin = str(EXAMPLE["steps"]) if own and name == "steps" else ""
                made[name] = gr.Textbox(
                    begin, label=name.capitalize(), info="Empty: the pipeline's own.", max_length=8, min_width=120
                )
    return made


def _place(slot: str) -> str:
    if slot == "mid":
        return "Middle block (mid)"
    return f"Down block {int(slot.removeprefix('down')) + 1} ({slot})"


def _search_form(own: bool) -> dict[str, Any]:
    with gr.Accordion("Search the gains", open=False, elem_id="amplify-search"):
        if not own:
            gr.Markdown(
                "A search needs a scorer of usability, which this page has for the reference pipeline alone: "
                "`genmend amplify FOLDER --search --usability clip:MODEL`."
            )
            return {}
        gr.Markdown(
            "Of all blocks together, the gains that are newest and still usable. Its result sets the sliders; the "
            "figures are of other seeds than those that chose."
        )
        with gr.Row():
            trials = gr.Slider(2, 64, 24, step=1, label="Sets of gains tried first", min_width=160)
            seeds = gr.Slider(4, 64, 16, step=1, label="Seeds", min_width=160)
        with gr.Row():
            tau = gr.Slider(0, 1, 0.95, step=0.01, label="Share of the usability to keep", min_width=160)
            keep = gr.Slider(0, 1, 0.9, step=0.01, label="Share among real images to keep", min_width=160)
        button = gr.Button("Search", elem_id="amplify-search-start")
    return {"button": button, "values": [trials, seeds, tau, keep]}


def _file_form() -> dict[str, Any]:
    with gr.Accordion("Load an amplification file", open=False, elem_id="amplify-load"):
        file = gr.File(label="amplification.safetensors", file_types=[".safetensors"], height=120)
        facts = gr.HTML(padding=False, elem_id="amplify-facts")
        use = gr.Button("Draw with this file", interactive=False, elem_id="amplify-use")
    return {"file": file, "facts": facts, "use": use}


def _settings(
    slots: Sequence[str],
    prompt: str,
    seed: float,
    n: float,
    n_cloud: float,
    control: str,
    cutoff: float,
    steps: str,
    guidance: str,
    *gains: float,
) -> AmplifySettings:
    if not prompt.strip():
        raise ValueError("The prompt is empty: say what to draw.")
    call = {"num_inference_steps": _number("Steps", steps, int), "guidance_scale": _number("Guidance", guidance, float)}
    return AmplifySettings(
        (prompt.strip(),),
        gains=dict(zip(slots, gains, strict=True)),
        cutoff=cutoff,
        n=int(n),
        n_cloud=int(n_cloud),
        control=control,
        seed=int(seed),
        call={name: value for name, value in call.items() if value is not None},
    )


def _number(name: str, text: str, kind: Callable[[str], Any]) -> Any:
    """The number that was typed; None for nothing."""
    if not text.strip():
        return None
    try:
        number = kind(text)
    except ValueError:
        number = -1
    if not 0 <= number <= 1000 or (kind is int and number == 0):
        raise ValueError(f"{name} is {text!r}; give a number up to 1000, or leave it empty for the pipeline's own.")
    return number


def _opening(context: AppContext) -> Callable[[], Any]:
    """The job of the example, one for all sessions."""

    def begin() -> Any:
        return context.jobs.start(lambda: amplify(context, example_settings()), shared=True)

    return lambda: context.shared("amplify example", begin)


def _downloads(found: Amplified) -> list[Any]:
    names = ("amplification.safetensors", "report.html")
    files = [found.file(name) for name in names]
    return [gr.update(value=None if file is None else str(file), visible=file is not None) for file in files]


def _when_picked(
    context: AppContext, panel: Any, gallery: gr.Gallery, other: gr.Radio, number: gr.State, slider: Any, words: Any
) -> None:
    def picked(key: str, kind: str, at: int) -> list[Any]:
        job = context.jobs.find(key)
        if job is None or not isinstance(job.result, Amplified):
            raise gr.Error("These images are no longer kept: draw them again.", print_exception=False)
        return [one_pair(job.result.run, at, kind), pair_in_words(job.result.run, at), at]

    def clicked(key: str, kind: str, event: gr.SelectData) -> list[Any]:
        return picked(key, kind, int(event.index))

    outputs = [slider, words, number]
    gallery.select(clicked, [panel.kept, other], outputs, show_progress="hidden", api_visibility="private")
    other.input(picked, [panel.kept, other, number], outputs, show_progress="hidden", api_visibility="private")
