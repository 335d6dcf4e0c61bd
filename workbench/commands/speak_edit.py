"""``genmend speak --edit``: words longer, higher, louder or darker; asked for against achieved, and what else moved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from genmend.storage.leftovers import remove_others
from genmend.storage.tables import write_csv, write_json
from genmend.tts import Voice
from genmend.tts.mending.settings import SpeakSettings
from genmend.tts.prosody.edit_requests import EditRequest
from genmend.tts.prosody.sentence_edits import SentenceEdits, edit_sentence
from genmend.tts.voices.wav import write_wav
from genmend.workbench.pages.page import need_packages
from genmend.workbench.pages.speak_edit import write_edit_report

__all__ = ["run_speak_edit"]


def run_speak_edit(
    voice: Voice,
    text: str,
    out: Path,
    settings: SpeakSettings,
    edits: Sequence[str | EditRequest],
    *,
    progress: bool = True,
) -> SentenceEdits:
    """Edit one sentence and write everything to `out`.

    Files: ``original.wav``, ``edited.wav`` (``edited_2.wav``, ... for further requests), ``edits.csv``,
    ``summary.json``, ``report.html``. What is learnt of a voice for pitch, energy and tilt is kept in the user's cache.

    Raises
    ------
    ValueError
        For voices other than Piper's and VITS, or a text of several sentences.
    """
    need_packages()
    run = edit_sentence(
        voice, text, edits, phonemes=settings.phonemes, corpus=settings.corpus, seed=settings.seed, progress=progress
    )
    names = ["edited.wav", *(f"edited_{number}.wav" for number in range(2, len(run.edits) + 1))]
    remove_others(out, "edited_[0-9]*.wav", names)
    out.mkdir(parents=True, exist_ok=True)
    write_wav(out / "original.wav", run.edits[0].before)
    for name, edit in zip(names, run.edits, strict=True):
        write_wav(out / name, edit.after)
    write_csv(out / "edits.csv", run.columns())
    write_json(out / "summary.json", run.to_dict())
    write_edit_report(out / "report.html", run)
    return run
