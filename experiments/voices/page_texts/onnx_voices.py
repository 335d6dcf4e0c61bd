"""The page of the voices that run as ONNX graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.intervals import mean_with_interval
from experiments.markdown import document, estimate, number, percent, table

_NAMES = {"hibari": "hibari", "kokoro": "Kokoro-82M, 8 bits, style jf_alpha", "joe": "joe (Piper)"}


def onnx_voices(results: dict[str, Any]) -> str:
    """Kokoro and hibari spoken, diagnosed and edited."""
    voices, n = results["voices"], results["n"]
    kinds = ("ordinary", "names", "shuffled")
    rows = [(_NAMES[name], voices[name]) for name in _NAMES if name in voices]

    def share(values: Sequence[float]) -> str:
        mean, *ends = mean_with_interval(np.array(values))
        return estimate(mean, ends)

    def errors(counts: Sequence[Sequence[int]]) -> str:
        wrong, words = np.sum(counts, axis=0)
        return f"{wrong} of {words} ({percent(wrong / words, 1)})"

    told = []
    for name, of in rows:
        ordinary, mixed = (float(np.mean(of["outside"][kind])) for kind in ("ordinary", "shuffled"))
        told.append(f"{name} {mixed / max(ordinary, 1e-9):.1f} times")
    return document(
        "# Voices that people use: hibari and Kokoro",
        "**Asked**: are ONNX voices of other makers spoken, diagnosed and edited as Piper voices are, and what does it "
        "cost?",
        f"**On**: {n['ordinary']} ordinary sentences that no reference holds and 40 with rare names, frozen before; "
        f"each voice's reference is {n['reference']} sentences of genmend's English text; k = 5, the middle layer, no "
        "noise.",
        "**Command**: `python -m experiments.voices.onnx_voices` (seed 0).",
        "**Controls**: the ordinary sentences with their sounds in another order"
        f"{'; the voice joe' if 'joe' in voices else ''}.",
        table(
            (
                "CPU seconds of one thread",
                "loading",
                "its reference, once",
                "diagnosing a sentence",
                "speaking it",
                "seconds of audio",
            ),
            (
                (
                    name,
                    number(of["cpu_seconds"]["loading"], 1),
                    number(of["cpu_seconds"]["reference"], 0),
                    number(of["cpu_seconds"]["diagnosis_of_a_sentence"]),
                    number(of["cpu_seconds"]["speaking_a_sentence"], 2),
                    number(of["audio_seconds_of_a_sentence"], 1),
                )
                for name, of in rows
            ),
        ),
        "## Share of symbols outside the normal region",
        table(
            ("voice", "layer", "held-out corpus", *(f"{kind}, 95 %" for kind in kinds)),
            (
                (name, of["layer"], number(of["base_rate"]), *(share(of["outside"][kind]) for kind in kinds))
                for name, of in rows
            ),
        ),
        f"## A word said {results['factor']:g} times as long, in {n['edited']} sentences",
        table(
            (
                "voice",
                f"words heard wrongly (Whisper tiny, {n['heard']} sentences)",
                "achieved",
                "the rest",
                "heard wrongly before",
                "after",
            ),
            (
                (
                    name,
                    errors(of["word_errors"]),
                    share(of["edits"]["achieved"]),
                    share(of["edits"]["elsewhere"]),
                    errors([of["edits"]["word_errors_before"]]),
                    errors([of["edits"]["word_errors_after"]]),
                )
                for name, of in rows
            ),
        ),
        *_japanese(voices),
        "## What it shows",
        f"Symbols of shuffled sentences lie outside more often than those of ordinary ones: {'; '.join(told)}. "
        "A word's duration is said as asked for, by whole frames, and the other tokens keep theirs: in hibari and "
        "Kokoro durations are set themselves"
        f"{', in joe they are moved through its predictor' if 'joe' in voices else ''}.",
    )


def _japanese(voices: dict[str, Any]) -> tuple[str, ...]:
    heard = voices.get("kokoro", {}).get("japanese", ())
    if not heard:
        return ()
    rows = ((of["written"], of["heard"], number(of["seconds"], 1)) for of in heard)
    return ("## Kokoro's Japanese, given in kana", table(("meant", "heard (Whisper base)", "seconds"), rows))
