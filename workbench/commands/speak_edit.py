"""``genmend speak --edit``: words longer, higher, louder or darker; asked for against achieved, and what else moved."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genmend.storage.tables import without_nan, write_csv, write_json
from genmend.tts import Voice
from genmend.tts.prosody.edit_requests import UNITS, EditRequest, parse_edit
from genmend.tts.prosody.learnt_moves import _editable, _moves
from genmend.workbench.pages.page import Facts, Figure, Paragraph, Section, Table, need_packages, write_report
from genmend.workbench.pages.sounds import audio_block

if TYPE_CHECKING:
    from genmend.tts.mending.mend import SpeakSettings
    from genmend.tts.prosody.prosody import ProsodyEdit

__all__ = ["SpeakEdit", "run_speak_edit"]


@dataclass(frozen=True)
class SpeakEdit:
    """Result of ``genmend speak --edit``: each wish on its own, applied to the sentence as the voice says it."""

    voice: str
    edits: tuple[ProsodyEdit, ...]
    settings: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """JSON's view, as in ``summary.json``."""
        return {
            "voice": self.voice,
            "edits": [without_nan(e.to_dict()) for e in self.edits],
            "settings": self.settings,
        }


def run_speak_edit(
    voice: Voice, text: str, out: Path, settings: SpeakSettings, edits: Sequence[str], *, progress: bool = True
) -> SpeakEdit:
    """Edit one sentence and write everything to `out`.

    Files: ``original.wav``, ``edited.wav`` (``edited_2.wav``, ... for further wishes), ``edits.csv``, ``summary.json``,
    ``report.html``. What is learnt of a voice for pitch, energy and tilt is kept in the user's cache.

    Raises
    ------
    ValueError
        For voices other than Piper's and VITS, or a text of several sentences.
    """
    from genmend.tts.mending.mend import tokens_of
    from genmend.tts.prosody.prosody import edit_prosody
    from genmend.workbench.commands.speak import write_wav

    need_packages()
    requests = [parse_edit(text) for text in edits]
    voice, model = _editable(voice, any("duration" in request.changes for request in requests))
    sentences = tokens_of(voice, text, settings.phonemes)
    if len(sentences) > 1:
        raise ValueError(f"--edit takes one sentence, and the text has {len(sentences)}; give one of them.")
    others = any(set(request.changes) - {"duration"} for request in requests)
    moves = _moves(voice, settings, progress) if others else None
    done = tuple(
        edit_prosody(voice, sentences[0], request, model=model, moves=moves, seed=settings.seed) for request in requests
    )
    out.mkdir(parents=True, exist_ok=True)
    write_wav(out / "original.wav", [done[0].before])
    for number, edit in enumerate(done, start=1):
        write_wav(out / ("edited.wav" if number == 1 else f"edited_{number}.wav"), [edit.after])
    run = SpeakEdit(voice.name, done, {"text": text, "edits": list(edits), "seed": settings.seed})
    write_csv(out / "edits.csv", _columns(done))
    write_json(out / "summary.json", run.to_dict())
    _write_report(out / "report.html", run, requests)
    return run


def _rows(edit: ProsodyEdit) -> list[list[Any]]:
    """Attribute, asked for, achieved, elsewhere, in its unit; attributes that were not asked for too."""
    values = without_nan(edit.to_dict())
    return [
        [name, unit or "factor", values["requested"].get(name), values["achieved"][name], values["elsewhere"][name]]
        for name, unit in UNITS.items()
    ]


def _columns(edits: Sequence[ProsodyEdit]) -> dict[str, Any]:
    import numpy as np

    rows = [[edit.request.word, *row] for edit in edits for row in _rows(edit)]
    names = ("word", "attribute", "unit", "requested", "achieved", "elsewhere")
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    return {
        name: np.array([np.nan if v is None else v for v in values], dtype=float)
        if name in names[3:]
        else np.array(values)
        for name, values in columns.items()
    }


def _write_report(path: Path, run: SpeakEdit, requests: Sequence[EditRequest]) -> None:
    first = run.edits[0]
    sections = [Section("As the voice says it", [audio_block(first.text, first.before)])]
    words = []
    for edit, request in zip(run.edits, requests, strict=True):
        changes = request.changes.items()
        wish = ", ".join(f"{n} ×{v:g}" if n == "duration" else f"{n} {v:+g} {UNITS[n]}" for n, v in changes)
        silent = [name for name in request.changes if math.isnan(edit.achieved[name])]
        missed = [name for name, found in edit.calibrations.items() if not found.reached and name not in silent]
        blocks: list[Any] = [
            audio_block(f"{request.word}: {wish}.", edit.after),
            Table(
                "Measured on the audio. What was not asked for moved too, in the word and elsewhere.",
                ["attribute", "unit", "asked for", "achieved", "all other sounds"],
                _rows(edit),
            ),
            Figure("Pitch before and after.", edit.plot()),
        ]
        if missed:
            blocks.append(Paragraph(f"Not reached, the nearest that was found is kept: {', '.join(missed)}."))
        if silent:
            blocks.append(
                Paragraph(
                    f"Left as it is, for the word has nothing to measure it on, before or after: {', '.join(silent)}. "
                    "Of pitch that is a word without a voiced sound that lasts; choose a longer word, or several."
                )
            )
        sections.append(Section(f"{request.word}: {wish}", blocks))
        unmet = [*missed, *(f"{name} (nothing to measure it on)" for name in silent)]
        reached = f"not reached: {', '.join(unmet)}" if unmet else "reached"
        words.append(f"{request.word}: {wish}, {reached}.")
    sections.append(Section("Settings", [Facts("What this run used", run.settings)], closed=True))
    write_report(path, f"genmend speak: {run.voice}, edited", " ".join(words), sections)
