"""The page of the voices that run as ONNX graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.intervals import mean_with_interval
from experiments.markdown import document, estimate, number, percent, table

NAMES = {"hibari": "hibari", "kokoro": "Kokoro-82M, 8 bits, style jf_alpha", "joe": "joe (Piper)"}


def onnx_voices(results: dict[str, Any]) -> str:
    """Kokoro and hibari spoken, diagnosed and edited."""
    voices, n = results["voices"], results["n"]
    kinds = ("ordinary", "names", "shuffled")
    rows = [(NAMES[name], voices[name]) for name in NAMES if name in voices]

    def share(values: Sequence[float]) -> str:
        mean, *ends = mean_with_interval(np.array(values))
        return estimate(mean, ends)

    def errors(counts: Sequence[Sequence[int]]) -> str:
        return wrong(np.sum(counts, axis=0).tolist())

    told = []
    for name, of in rows:
        ordinary, mixed = (float(np.mean(of["outside"][kind])) for kind in ("ordinary", "shuffled"))
        told.append(f"{name} {mixed / max(ordinary, 1e-9):.1f} times")
    return document(
        "# Voices that people use: hibari, Kokoro and joe",
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
                    wrong(of["edits"]["word_errors_before"]),
                    wrong(of["edits"]["word_errors_after"]),
                )
                for name, of in rows
            ),
        ),
        *_higher(results, rows),
        *_mended(rows),
        *_japanese(voices),
        "## What it shows",
        f"Symbols of shuffled sentences lie outside more often than those of ordinary ones: {'; '.join(told)}. "
        "A word's duration is said as asked for, by whole frames, and the other tokens keep theirs: in hibari and "
        "Kokoro durations and pitch are set themselves"
        f"{', in joe they are moved through its vectors' if 'joe' in voices else ''}.",
    )


def _higher(results: dict[str, Any], rows: Sequence[tuple[str, Any]]) -> tuple[str, ...]:
    """A word's pitch, of the voices that tell it."""
    found = [(name, of["higher"]) for name, of in rows if "higher" in of]
    if not found:
        return ()
    measured = []
    for name, of in found:
        known = np.isfinite(np.array([of["achieved"], of["elsewhere"]], dtype=float)).all(axis=0)
        measured.append((name, *(np.array(of[part], dtype=float)[known] for part in ("achieved", "elsewhere")), of))

    def semitones(values: np.ndarray) -> str:
        mean, *ends = mean_with_interval(values)
        return estimate(mean, ends, 2, sign=True)

    return (
        f"## A word said {results['semitones']:g} semitones higher",
        table(
            ("voice", "measured in", "achieved", "the rest", "heard wrongly before", "after"),
            (
                (
                    name,
                    f"{len(inside)} of {len(of['achieved'])}",
                    semitones(inside),
                    semitones(rest),
                    wrong(of["word_errors_before"]),
                    wrong(of["word_errors_after"]),
                )
                for name, inside, rest, of in measured
            ),
        ),
    )


def _mended(rows: Sequence[tuple[str, Any]]) -> tuple[str, ...]:
    """Sentences with rare names, before and after `mend`."""
    found = [(name, of["mended"]) for name, of in rows if "mended" in of]
    if not found:
        return ()
    return (
        "## Sentences with rare names, mended",
        table(
            ("voice", "sentences", "changed", "words heard wrongly (Whisper tiny)", "phoneme errors (hama)",
             "further readings", "CPU s a sentence"),
            (
                (name, len(of), sum(bool(one["kept"]) for one in of), both(of, "misheard", 0),
                 both(of, "phoneme_errors", 3), number(np.mean([one["readings"] for one in of]), 1),
                 number(np.mean([one["cpu_seconds"] for one in of]), 1))
                for name, of in found
            ),
        ),
        "Whisper decides in `mend`, hama is never asked. Seconds are of saying, diagnosing, mending and hearing.",
    )  # fmt: skip


def both(of: Sequence[dict[str, Any]], name: str, digits: int) -> str:
    """Before and after, summed where they are counts, else the mean."""
    values = np.array([one[name] for one in of], dtype=float)
    before, after = values.mean(axis=0) if digits else values.sum(axis=0)
    return f"{number(before, digits)} to {number(after, digits)}"


def wrong(count: Sequence[int]) -> str:
    """Words heard wrongly, of how many."""
    return f"{count[0]} of {count[1]} ({percent(count[0] / count[1], 1)})"


def _japanese(voices: dict[str, Any]) -> tuple[str, ...]:
    heard = voices.get("kokoro", {}).get("japanese", ())
    if not heard:
        return ()
    rows = ((of["written"], of["heard"], number(of["seconds"], 1)) for of in heard)
    return ("## Kokoro's Japanese, given in kana", table(("meant", "heard (Whisper base)", "seconds"), rows))
