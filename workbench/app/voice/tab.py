"""The Voice tab: type, hear, see the phonemes and the path, mend, compare by ear, say a word in another way."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from html import escape
from typing import Any

import gradio as gr

from genmend.workbench.app.context import AppContext
from genmend.workbench.app.file_facts import facts_html
from genmend.workbench.app.job_panel import TOLD, JobPanel, job_panel
from genmend.workbench.app.jobs import one_sentence
from genmend.workbench.app.uploads import OwnFolder, take_file
from genmend.workbench.app.voice import shown
from genmend.workbench.app.voice.work import (
    EXAMPLE,
    EXAMPLE_PHONEMES,
    Edited,
    Mended,
    Said,
    edit,
    hold,
    mend_by_cures,
    mend_text,
    say,
    say_at_once,
    voices_of,
)

__all__ = ["build"]

_ABOUT = (
    "Green sounds are where the voice has been before, red ones where it has not. That says where to listen, not that "
    "it stumbles there. A repair is kept only where Whisper hears it as better; the sentence that the page opens with "
    "was chosen because its repair is, and most are refused."
)
_WAYS = {
    "Find what is wrong, try the cures, keep the best reading": "cures",
    "Move the flagged sounds back to where the voice knows its way": "repair",
    "Hold the attention in a window (Tacotron 2)": "hold",
}


def build(context: AppContext) -> None:
    """Fill the tab."""
    voices = list(voices_of(context))
    heard, chips, drawn = (
        gr.HTML(render=False, padding=False, elem_id=f"voice-{name}") for name in ("said", "phonemes", "path")
    )
    audio = _player("As the voice says it", "voice-audio")
    report = gr.DownloadButton("Download the report", visible=False, render=False, size="sm", elem_id="voice-report")
    sentence = gr.Radio([], label="Sentence", visible=False, render=False, type="index", elem_id="voice-sentence")
    word = gr.Radio([], label="Word", render=False, elem_id="voice-word")
    with gr.Row():
        voice = gr.Dropdown(voices, value=voices[0], label="Voice", scale=1, min_width=140, elem_id="voice-voice")
        text = gr.Textbox(EXAMPLE, label="Text", lines=2, max_length=2000, scale=4, min_width=260, elem_id="voice-text")
    with gr.Accordion("Phonemes of your own", open=False):
        ipa = gr.Textbox(
            "", label="IPA of one sentence, in place of what espeak-ng makes of the text", max_length=2000,
            elem_id="voice-ipa",
        )  # fmt: skip
    begin = gr.Button("Say it", variant="primary", elem_id="voice-say")

    def show(said: Said) -> list[Any]:
        texts = [one.diagnosis.tokens.text for one in said.run]
        words = shown.words_of(said, 0)
        return [
            str(said.wav),
            shown.heard_text(said),
            shown.phonemes(said),
            shown.path(said.run[0]),
            gr.update(choices=texts, value=texts[0], visible=len(texts) > 1),
            gr.update(choices=words, value=words[0][1] if words else None),
            gr.update(value=str(said.report), visible=True),
        ]

    outputs = [audio, heard, chips, drawn, sentence, word, report]
    opening = None if context.tab is None else context.tab.select
    panel = job_panel(context, "voice", show, outputs, first=_opening(context, voices[0]), when=opening)
    with gr.Row():
        with gr.Column(min_width=300):
            audio.render()
            heard.render()
        with gr.Column(min_width=300):
            gr.Markdown(_ABOUT)
            report.render()
    chips.render()
    sentence.render()
    drawn.render()

    def at_once(name: str, words: str, given: str) -> Any:
        try:
            path = say_at_once(context, name, words.strip(), given.strip() or None)
        except TOLD:
            return gr.skip()  # the job says what is wrong
        return gr.skip() if path is None else str(path)

    def saying(name: str, words: str, given: str) -> Callable[[], Said]:
        return partial(say, context, name, *_typed(words, given))

    for event in (begin.click, text.submit):
        spoken = event(at_once, [voice, text, ipa], [audio], show_progress="hidden", api_visibility="private")
        panel.started_by(spoken.then, saying, [voice, text, ipa])

    def said_by(key: str) -> Said:
        job = context.jobs.find(key)
        if job is None or not isinstance(job.result, Said):
            raise ValueError("There is no spoken text to work on: press Say it first.")
        return job.result

    def choose(key: str, number: int) -> list[Any]:
        said = said_by(key)
        words = shown.words_of(said, number)
        return [shown.path(said.run[number]), gr.update(choices=words, value=words[0][1] if words else None)]

    sentence.input(choose, [panel.kept, sentence], [drawn, word], show_progress="hidden", api_visibility="private")
    _mending(context, [voice, text, ipa])
    _editing(context, panel, said_by, sentence, word)


def _typed(words: str, given: str) -> tuple[str, str | None]:
    text, phonemes = words.strip(), given.strip() or None
    if not text and phonemes is None:
        raise ValueError("The text is empty: type what to say.")
    return text, phonemes


def _opening(context: AppContext, voice: str) -> Callable[[], Any]:
    """The job of the example, one for all sessions."""

    def begin() -> Any:
        return context.jobs.start(lambda: say(context, voice, EXAMPLE, EXAMPLE_PHONEMES), shared=True)

    return lambda: context.shared("voice example", begin)


def _mending(context: AppContext, typed: list[Any]) -> None:
    told, moved = (gr.HTML(render=False, padding=False, elem_id=f"voice-{name}") for name in ("mended", "moved"))
    before, after = _player("Before", "voice-before"), _player("After", "voice-after")
    save = gr.DownloadButton("Save the repair file", visible=False, render=False, size="sm", elem_id="voice-save")

    def show(found: Mended) -> list[Any]:
        late = found.after
        name = {"attention": "original.wav", "cures": "mended.wav"}.get(found.way, "repaired.wav")
        heard = None if late is None else str(late.folder.path / name)
        return [
            shown.mended_in_words(found),
            str(found.before.wav),
            heard,
            shown.moved_tables(found),
            gr.update(value=None if found.repairs is None else str(found.repairs), visible=found.repairs is not None),
        ]

    with gr.Accordion("Mend it", open=True, elem_id="voice-mend"):
        with gr.Row():
            way = gr.Radio(list(_WAYS.items()), value="cures", label="How", scale=3, min_width=260)
            psi = gr.Slider(
                0, 1, 0.3, step=0.05, label="Share that stays", info="0 moves all the way.", min_width=200,
                visible=False,
            )  # fmt: skip
        keep = gr.Checkbox(
            False, label="Also try the moves in other sentences, and keep those that hold as a file (longer)",
            elem_id="voice-keep", visible=False,
        )  # fmt: skip
        with gr.Row():
            begin = gr.Button("Mend", variant="primary", elem_id="voice-mend-start")
        panel = job_panel(context, "voice-mend", show, [told, before, after, moved, save])
        told.render()
        with gr.Row():
            before.render()
            after.render()
        save.render()
        moved.render()
        with gr.Accordion("Use a repair file", open=False, elem_id="voice-load"):
            file = gr.File(label="repairs.safetensors", file_types=[".safetensors"], height=120)
            facts = gr.HTML(padding=False, elem_id="voice-facts")
            use = gr.Button("Say the text with these repairs", interactive=False, elem_id="voice-use")

    def mending(chosen: str, share: float, keeps: bool, name: str, words: str, given: str) -> Callable[[], Mended]:
        text, phonemes = _like_example(*_typed(words, given))
        if chosen == "cures":
            return partial(mend_by_cures, context, name, text, phonemes)
        if chosen == "hold":
            return partial(hold, context, name, text, phonemes)
        return partial(mend_text, context, name, text, phonemes, psi=share, keep=keeps)

    def using(path: str | None, name: str, words: str, given: str) -> Callable[[], Mended]:
        held = OwnFolder(context.files / "voice")
        kept = held, take_file(path, held.path, context.files)
        return partial(mend_text, context, name, *_like_example(*_typed(words, given)), kept=kept)

    def tell(path: str | None) -> tuple[str, Any]:
        if path is None:
            return "", gr.update(interactive=False)
        held = OwnFolder(context.files / "voice")
        try:
            return facts_html(take_file(path, held.path, context.files), "voice-repairs"), gr.update(interactive=True)
        except TOLD as error:
            return f'<p role="alert" class="error">{escape(one_sentence(error))}</p>', gr.update(interactive=False)

    def fit(chosen: str) -> list[Any]:
        return [gr.update(visible=chosen == "repair")] * 2

    way.change(fit, [way], [psi, keep], show_progress="hidden", api_visibility="private")
    panel.started_by(begin.click, mending, [way, psi, keep, *typed])
    panel.started_by(use.click, using, [file, *typed])
    file.change(tell, [file], [facts, use], show_progress="hidden", api_visibility="private")


def _like_example(text: str, phonemes: str | None) -> tuple[str, str | None]:
    """The example is read as it was laid out, whether or not espeak-ng is there."""
    return text, EXAMPLE_PHONEMES if text == EXAMPLE and phonemes is None else phonemes


def _editing(
    context: AppContext, spoken: JobPanel, said_by: Callable[[str], Said], sentence: Any, word: gr.Radio
) -> None:
    told, drawn = (gr.HTML(render=False, padding=False, elem_id=f"voice-{name}") for name in ("edited", "pitch"))
    before, after = _player("Before", "voice-plain"), _player("After", "voice-edited-audio")

    def show(found: Edited) -> list[Any]:
        files = [str(found.folder.path / name) for name in ("original.wav", "edited.wav")]
        return [shown.edited_in_words(found), *files, shown.edited_picture(found)]

    with gr.Accordion("Say a word in another way", open=True, elem_id="voice-edit"):
        word.render()
        with gr.Row():
            duration = gr.Slider(0.5, 2, 1, step=0.05, label="Duration", info="Times its own.", min_width=180)
            pitch = gr.Slider(-6, 6, 0, step=0.5, label="Pitch", info="Semitones higher.", min_width=180)
            energy = gr.Slider(-10, 10, 0, step=1, label="Energy", info="dB louder.", min_width=180)
        begin = gr.Button("Say it so", elem_id="voice-edit-start")
        gr.Markdown(
            "The first change of pitch or energy of a voice takes longer: it has to be learnt how its sounds move. "
            "Piper and VITS voices only."
        )
        panel = job_panel(context, "voice-edit", show, [told, before, after, drawn])
        told.render()
        with gr.Row():
            before.render()
            after.render()
        drawn.render()

    def editing(
        key: str, number: int | None, place: int | None, length: float, high: float, loud: float
    ) -> Callable[[], Edited]:
        said = said_by(key)
        if place is None:
            raise ValueError("No word is chosen: choose one.")
        changes = {"duration": (length, 1), "pitch": (high, 0), "energy": (loud, 0)}
        asked = {name: float(value) for name, (value, none) in changes.items() if value != none}
        if not asked:
            raise ValueError("Nothing is changed: move a slider.")
        tokens = said.run[number or 0].diagnosis.tokens
        return partial(edit, context, said.voice, tokens, int(place), asked, said.run.settings["phonemes"])

    inputs = [spoken.kept, sentence, word, duration, pitch, energy]
    panel.started_by(begin.click, editing, inputs)
    for slider in (duration, pitch, energy):
        panel.started_by(slider.release, editing, inputs)


def _player(label: str, name: str) -> gr.Audio:
    return gr.Audio(label=label, interactive=False, render=False, buttons=["download"], elem_id=name)
