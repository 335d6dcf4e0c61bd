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

_IN_FULL = {"st": "semitones", "tilt": "spectral tilt"}


def write_edit_report(path: Path, run: SentenceEdits) -> None:
    """Write the page."""
    first = run.edits[0]
    sections = [Section(_asked(edit), _blocks(edit, edit is first)) for edit in run.edits]
    sections.append(Section("Settings", [Facts("What this run used", run.settings)], closed=True))
    shown: list[Any] = [audio_block(f"As the voice says it: {first.text}", first.before)]
    shown += [audio_block(f"{_asked(edit)}.", edit.after) for edit in run.edits]
    shown.append(Figure("Pitch before and after.", first.plot()))
    write_report(path, f"genmend speak: {run.voice}, edited", replace(edit_answer(run), pictures=shown), sections)


def edit_answer(run: SentenceEdits) -> Answer:
    """What was reached of each request, and what moved most without being asked for."""
    first = run.edits[0]
    asked = next(iter(first.request.changes))
    achieved = first.achieved[asked]
    number = None
    if not math.isnan(achieved):
        wanted = _amount(asked, first.request.changes[asked])
        number = Number(f"{first.request.word}: {_name(asked)}", _amount(asked, achieved), f"asked for: {wanted}")
    return Answer(" ".join(_in_words(edit) for edit in run.edits), number)


def _amount(name: str, value: float) -> str:
    if name == "duration":
        return f"×{value:.2f}"
    return f"{value:+.1f} {_IN_FULL.get(UNITS[name], UNITS[name])}"


def _asked(edit: ProsodyEdit) -> str:
    """The word and what was asked for, e.g. "fox: duration ×1.50, pitch +2.0 semitones"."""
    changes = edit.request.changes.items()
    return f"{edit.request.word}: " + ", ".join(f"{_name(name)} {_amount(name, value)}" for name, value in changes)


def _name(attribute: str) -> str:
    return _IN_FULL.get(attribute, attribute)


def _blocks(edit: ProsodyEdit, is_first: bool) -> list[Any]:
    blocks: list[Any] = [
        Table(
            "Measured on the audio. What was not asked for moved too, in the word and elsewhere.",
            ["attribute", "unit", "asked for", "achieved", "all other sounds"],
            [[_name(name), _IN_FULL.get(unit, unit), *values] for name, unit, *values in edit.rows],
        ),
        Paragraph("Spectral tilt: how loud high frequencies are beside low ones; more is brighter, less is duller."),
    ]
    if not is_first:
        blocks.append(Figure("Pitch before and after.", edit.plot()))
    if edit.missed:
        blocks.append(
            Paragraph(f"Not reached, the nearest that was found is kept: {', '.join(map(_name, edit.missed))}.")
        )
    if edit.unmeasured:
        blocks.append(
            Paragraph(
                "Left as it is, for the word has nothing to measure it on, before or after: "
                f"{', '.join(map(_name, edit.unmeasured))}. "
                "Of pitch that is a word without a voiced sound that lasts; choose a longer word, or several."
            )
        )
    return blocks


def _in_words(edit: ProsodyEdit) -> str:
    unmet = [
        *map(_name, edit.missed),
        *(f"{_name(one)}, for the word has nothing to measure it on" for one in edit.unmeasured),
    ]
    reached = f"not reached: {'; '.join(unmet)}" if unmet else "reached"
    said = f"{_asked(edit)}, {reached}"
    unasked = edit.largest_unasked
    if unasked is None:
        return f"{said}."
    where, name, value = unasked
    place = "of the word" if where == "word" else "elsewhere in the sentence"
    return f"{said}. What moved most without being asked for is the {_name(name)} {place}: {_amount(name, value)}."
