"""The page of ``genmend speak --edit``: the sentence as it was, then each edit with what was asked for and achieved."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from genmend.tts.prosody.edit_requests import UNITS
from genmend.tts.prosody.prosody import ProsodyEdit
from genmend.tts.prosody.sentence_edits import SentenceEdits
from genmend.workbench.pages.page import Answer, Facts, Figure, Number, Paragraph, Section, Table, write_report
from genmend.workbench.pages.speak_mending import audio_block

__all__ = ["edit_answer", "write_edit_report"]


def write_edit_report(path: Path, run: SentenceEdits) -> None:
    """Write the page."""
    first = run.edits[0]
    sections = []
    sections += [Section(f"{edit.request.word}: {edit.request.description}", _blocks(edit)) for edit in run.edits]
    sections.append(Section("Settings", [Facts("What this run used", run.settings)], closed=True))
    shown = [audio_block(f"As the voice says it: {first.text}", first.before)]
    shown += [audio_block(f"{edit.request.word}: {edit.request.description}.", edit.after) for edit in run.edits]
    write_report(path, f"genmend speak: {run.voice}, edited", replace(edit_answer(run), pictures=shown), sections)


def edit_answer(run: SentenceEdits) -> Answer:
    """What was reached of each request, and what moved most without being asked for."""
    first = run.edits[0]
    asked = next(iter(first.request.changes))
    achieved = first.achieved[asked]
    number = None
    if not math.isnan(achieved):
        wanted = _amount(asked, first.request.changes[asked])
        number = Number(f"{first.request.word}: {asked}", _amount(asked, achieved), f"asked for: {wanted}")
    return Answer(" ".join(_in_words(edit) for edit in run.edits), number)


def _amount(name: str, value: float) -> str:
    return f"×{value:.2f}" if name == "duration" else f"{value:+.1f} {UNITS[name]}"


def _blocks(edit: ProsodyEdit) -> list[Any]:
    blocks: list[Any] = [
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
    said = f"{edit.request.word}: {edit.request.description}, {reached}"
    unasked = edit.largest_unasked
    if unasked is None:
        return f"{said}."
    where, name, value = unasked
    place = "of the word" if where == "word" else "elsewhere in the sentence"
    return f"{said}; what moved most without being asked for is {name} {place}: {_amount(name, value)}."
