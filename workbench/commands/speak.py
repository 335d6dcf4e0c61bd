"""``genmend speak``: say a text, show what is wrong, mend or repair it; everything as files and a page."""

from __future__ import annotations

from pathlib import Path

from genmend.storage.tables import write_csv, write_json
from genmend.tts import Voice, mend
from genmend.tts.mending.reference import VoiceReference
from genmend.tts.mending.settings import SpeakSettings
from genmend.tts.mending.spoken import SpeakRun
from genmend.tts.voices.wav import write_wav
from genmend.workbench.pages.facts import Preface
from genmend.workbench.pages.page import need_packages
from genmend.workbench.pages.speak import write_speak_report

__all__ = ["run_speak"]


def run_speak(
    voice: Voice,
    text: str,
    out: Path,
    settings: SpeakSettings,
    *,
    reference: VoiceReference | None = None,
    progress: bool = True,
    preface: Preface | None = None,
) -> SpeakRun:
    """Say a text and write everything to `out`; `reference` as `mend` takes it.

    Files: ``original.wav``, with `mend` ``mended.wav`` and with a repair ``repaired.wav`` (sentences of which nothing
    better was found as they were), ``tokens.csv``, ``summary.json``, ``report.html``, where `preface` stands first.
    """
    need_packages()
    run = mend(voice, text, reference=reference, settings=settings, progress=progress)
    out.mkdir(parents=True, exist_ok=True)
    write_wav(out / "original.wav", [sentence.speech for sentence in run])
    for name, written in (("mended.wav", settings.mend), ("repaired.wav", settings.repairs)):
        if written:
            write_wav(out / name, [sentence.final for sentence in run])
        else:  # of an earlier run
            (out / name).unlink(missing_ok=True)
    write_csv(out / "tokens.csv", run.token_columns())
    write_json(out / "summary.json", run.to_dict())
    write_speak_report(out / "report.html", run, preface)
    return run
