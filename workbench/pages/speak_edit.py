"""The page of ``genmend speak --edit``: the sentence as it was, then each edit with what was asked for and achieved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from genmend.tts.prosody.prosody import ProsodyEdit
from genmend.tts.prosody.sentence_edits import SentenceEdits
from genmend.workbench.pages.page import Facts, Figure, Paragraph, Section, Table, write_report
from genmend.workbench.pages.speak import audio_block

__all__ = ["write_edit_report"]


def write_edit_report(path: Path, run: SentenceEdits) -> None:
    """Write the page."""
    first = run.edits[0]
    sections = [Section("As the voice says it", [audio_block(first.text, first.before)])]
    sections += [Section(f"{edit.request.word}: {edit.request.description}", _blocks(edit)) for edit in run.edits]
    sections.append(Section("Settings", [Facts("What this run used", run.settings)], closed=True))
    summary = " ".join(_in_words(edit) for edit in run.edits)
    write_report(path, f"genmend speak: {run.voice}, edited", summary, sections)


def _blocks(edit: ProsodyEdit) -> list[Any]:
    blocks: list[Any] = [
        audio_block(f"{edit.request.word}: {edit.request.description}.", edit.after),
        Table(
            "Measured on the audio. What was not asked for moved too, in the word and elsewhere.",
            ["attribute", "unit", "asked for", "achieved", "all other sounds"],
            edit.rows,
        ),
        Figure("Pitch before and after.", edit.plot()),
    ]
    if edit.missed:
        blocks.append(Paragraph(f"Not reached, the nearest that was found is kept: {', '.join(edit.missed)}."))
    if edit.unmeasured:
        blocks.append(
            Paragraph(
                "Left as it is, for the word has nothing to measure it on, before or after: "
                f"{', '.join(edit.unmeasured)}. "
                "Of pitch that is a word without a voiced sound that lasts; choose a longer word, or several."
            )
        )
    return blocks


def _in_words(edit: ProsodyEdit) -> str:
    unmet = [*edit.missed, *(f"{name} (nothing to measure it on)" for name in edit.unmeasured)]
    reached = f"not reached: {', '.join(unmet)}" if unmet else "reached"
    return f"{edit.request.word}: {edit.request.description}, {reached}."
