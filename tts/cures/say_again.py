"""Cures that leave text and vectors alone: hold the attention in a window, or say the sentence with another seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from genmend.tts.cures.case import Case
from genmend.tts.cures.way import Way
from genmend.tts.voices.voice import Voice

__all__ = ["N_SEEDS", "WINDOWS", "has_seeds", "has_window", "other_seeds", "other_windows"]

#: (back, ahead) in tokens: the one that mended most first.
WINDOWS = ((1, 3), (0, 2), (1, 5), (2, 4))
N_SEEDS = 5


def has_window(voice: Voice) -> bool:
    """Whether the voice's attention can be held in a window."""
    return hasattr(voice, "with_attention_window")


def other_windows(case: Case) -> Iterator[tuple[str, Way]]:
    """Hold the attention within so many tokens back and ahead of where it was a frame before."""
    voice = case.way.voice
    for window in WINDOWS:
        if getattr(voice, "attention_window", None) != window:
            held: Voice = voice.with_attention_window(*window)  # type: ignore[attr-defined]  # see has_window
            yield f"{window[0]} back, {window[1]} ahead", replace(case.way, voice=held)


def has_seeds(voice: Voice) -> bool:
    """Whether another seed may be another reading of the voice."""
    return voice.is_random


def other_seeds(case: Case) -> Iterator[tuple[str, Way]]:
    """Say the sentence with other seeds."""
    first = case.way.seed + 1
    for seed in range(first, first + N_SEEDS):
        yield f"seed {seed}", replace(case.way, seed=seed)
