"""The command for voices, as `genmend.workbench.cli.main` adds it to its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genmend.workbench.cli.options import MEND, Device, Json, Out, finish, note, show_progress
from genmend.workbench.cli.settings_options import command

if TYPE_CHECKING:
    from genmend.tts.mending.settings import SpeakSettings

__all__ = ["commands"]

commands = typer.Typer()


def _known_voice(voice: str) -> str:
    from genmend.tts.voices.load import check_voice

    check_voice(voice)
    return voice


@command(
    commands,
    panel=MEND,
    example='Example: genmend speak joe "Doctor Krzysztof Nguyen visited Tbilisi." --mend --out spoken',
    settings="genmend.tts.mending.settings:SpeakSettings",
    before={
        "mend": "edit",
        "try_all": "edit",
        "repair": "edit",
        "reference": "best_of",
        "attention_window": "save_repairs",
        "speaker": "seed",
    },
    leave_out=("copies", "window"),
)
def speak(
    voice: Annotated[
        str,
        typer.Argument(
            help="joe, hibari, kokoro, tacotron, a plug-in, FILE.onnx, torchaudio:BUNDLE, or a model of transformers.",
            callback=_known_voice,
        ),
    ],
    text: Annotated[str, typer.Argument(help="What to say; several sentences are judged one by one.")] = "",
    out: Out = Path("speech"),
    *,
    diagnose: Annotated[bool, typer.Option("--diagnose", help="Show where the voice is lost (always done).")] = False,
    edit: Annotated[
        list[str] | None, typer.Option(help='Prosody, e.g. "word:duration=1.5,pitch=+2st"; again for more.')
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="Sentences, one a line: rank them by what is heard of each.", exists=True)
    ] = None,
    settings: SpeakSettings,
    lexicon: Annotated[
        Path | None,
        typer.Option(
            help="How words are said that espeak-ng misreads: a file of WORD tab IPA.", exists=True, dir_okay=False
        ),
    ] = None,
    attention_window: Annotated[
        str, typer.Option(help="BACK,AHEAD tokens that attention may move to in a frame; Tacotron 2 only.")
    ] = "",
    speaker: Annotated[str, typer.Option(help="Name or number, of voices with several speakers.")] = "",
    language: Annotated[
        str, typer.Option(help="That the voice reads, of voices that know several; ja of kokoro.")
    ] = "",
    noise: Annotated[float, typer.Option(help="Randomness of voices that have it; 0 compares best.", min=0)] = 0.0,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Say a text: find what is wrong with it, mend it, edit its prosody, with audio and a page."""
    from genmend.tts import load_voice
    from genmend.workbench.commands.rank_sentences import run_speak_batch
    from genmend.workbench.commands.speak import run_speak
    from genmend.workbench.commands.speak_edit import run_speak_edit
    from genmend.workbench.pages.rank_sentences import ranking_answer
    from genmend.workbench.pages.speak import speak_answer
    from genmend.workbench.pages.speak_edit import edit_answer

    if (file is not None) == bool(text.strip() or settings.phonemes):
        raise ValueError("Give either a text (or --phonemes), or --file with sentences.")
    options: dict[str, Any] = {"noise": noise} if noise else {}
    if speaker:
        options["speaker"] = int(speaker) if speaker.isdecimal() else speaker
    if language:
        options["language"] = language
    loaded = load_voice(voice, device=device, lexicon=lexicon, **options)
    if attention_window:
        loaded = _with_window(loaded, attention_window)
    if file is not None:
        if settings.mend or settings.repairs or edit:
            raise ValueError("--file ranks sentences and takes no --mend, --repair or --edit; give one text for those.")
        batch = run_speak_batch(loaded, file, out, settings, progress=show_progress())
        finish(batch.to_dict(), out, as_json, ranking_answer(batch).in_words())
    elif edit:
        if settings.mend or settings.repairs:
            raise ValueError("--edit and --mend or --repair are two runs: give one of them.")
        edits = run_speak_edit(loaded, text, out, settings, edit, progress=show_progress())
        finish(edits.to_dict(), out, as_json, edit_answer(edits).in_words())
    else:
        run = run_speak(loaded, text, out, settings, progress=show_progress())
        if (settings.save_repairs or settings.write_voice) and not any(one.written for one in run.kept):
            note("Nothing was kept: no accepted repair holds in other sentences, or its own sounds worse with it.")
        finish(run.to_dict(), out, as_json, speak_answer(run).in_words())


def _with_window(voice: Any, window: str) -> Any:
    """The voice with its attention held within BACK,AHEAD tokens."""
    if not hasattr(voice, "with_attention_window"):
        raise ValueError(
            f"--attention-window holds the attention of Tacotron 2, and {voice.name} is none; leave it out."
        )
    parts = window.split(",")
    if len(parts) != 2 or not all(part.strip().isdigit() for part in parts):
        raise ValueError(f"--attention-window is {window!r}, but two numbers are needed, e.g. 1,3.")
    return voice.with_attention_window(*map(int, parts))
