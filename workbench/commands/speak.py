"""``genmend speak``: say a text, show where the voice is lost, repair it, edit it; everything as files and a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genmend.storage.atomic import whole_file
from genmend.storage.tables import write_csv, write_json
from genmend.tts import Speech, Voice, VoiceReference, diagnose
from genmend.tts.mending.cached_reference import reference_for
from genmend.tts.mending.combination_file import load_repairs
from genmend.tts.mending.kept_repairs import SpeakRun, check_targets, kept_repairs
from genmend.tts.mending.mend import SpeakSettings, SpokenSentence, _judge, _spoken, tokens_of
from genmend.workbench.pages.page import need_packages
from genmend.workbench.pages.sounds import wav_bytes
from genmend.workbench.pages.speak import write_speak_report

__all__ = ["run_speak", "settings_with", "write_wav"]

PAUSE = 0.25  # seconds between two sentences of one text


def run_speak(voice: Voice, text: str, out: Path, settings: SpeakSettings, *, progress: bool = True) -> SpeakRun:
    """Say a text and write everything to `out`.

    Files: ``original.wav``, with a repair ``repaired.wav`` (the sentences whose repair was refused as they were),
    ``tokens.csv``, ``summary.json``, ``report.html``.
    """
    need_packages()
    check_targets(voice, settings)
    known = None if settings.use_repairs is None else load_repairs(settings.use_repairs, voice)
    sentences = tokens_of(voice, text, settings.phonemes)
    reference = reference_for(
        voice, settings.corpus, settings.k, settings.seed, folder=settings.reference, progress=progress
    )
    judge = _judge(settings) if settings.repairs or settings.best_of > 1 else None
    found = diagnose(voice, reference, sentences, layer=settings.layer or None)
    spoken = tuple(_spoken(voice, reference, diagnosis, settings, known, judge) for diagnosis in found)
    kept = kept_repairs(voice, reference, spoken, settings, judge)
    out.mkdir(parents=True, exist_ok=True)
    write_wav(out / "original.wav", [sentence.speech for sentence in spoken])
    if settings.repairs:
        write_wav(out / "repaired.wav", [sentence.final for sentence in spoken])
    run = SpeakRun(voice.name, spoken, settings_with(settings, reference), kept)
    write_csv(out / "tokens.csv", _token_columns(spoken))
    write_json(out / "summary.json", run.to_dict())
    write_speak_report(out / "report.html", run)
    return run


def write_wav(path: Path, speeches: Sequence[Speech]) -> None:
    """Several sentences as one 16-bit file, short pauses between them; louder than full scale is made quieter."""
    rate = speeches[0].sample_rate
    pause = np.zeros(round(PAUSE * rate), dtype=np.float32)
    parts = [part for speech in speeches for part in (pause, speech.audio.astype(np.float32))][1:]
    with whole_file(path) as temporary:
        temporary.write_bytes(wav_bytes(np.concatenate(parts), rate))


def settings_with(settings: SpeakSettings, reference: VoiceReference) -> dict[str, Any]:
    """The settings as JSON's view, and what the reference was."""
    paths = {name: str(value) for name, value in vars(settings).items() if isinstance(value, Path)}
    n = {"n_reference_sentences": len(reference.phonemes), "base_rates": reference.base_rates}
    return {**vars(settings), **paths, **n}


def _token_columns(spoken: Sequence[SpokenSentence]) -> dict[str, Any]:
    """One row for each spoken token."""
    rows: list[dict[str, Any]] = []
    for number, sentence in enumerate(spoken):
        diagnosis, tokens = sentence.diagnosis, sentence.diagnosis.tokens
        spans = sentence.speech.spans
        for i in np.flatnonzero(tokens.spoken).tolist():
            word = tokens.word_of[i]
            rows.append(
                {
                    "sentence": number,
                    "position": i,
                    "symbol": tokens.symbols[i],
                    "word": tokens.words[word] if word >= 0 else "",
                    "state": diagnosis.states[i],
                    "begin_s": np.nan if spans is None else float(spans[i, 0]),
                    "end_s": np.nan if spans is None else float(spans[i, 1]),
                    **{f"score_{layer}": float(row[i]) for layer, row in diagnosis.scores.items()},
                    "nearest": " | ".join(diagnosis.nearest[i]),
                }
            )
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}
