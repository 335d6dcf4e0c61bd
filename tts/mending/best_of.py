"""Say a sentence several times and keep the best: the competitor that every repair has to beat."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from genmend.tts.measures.alignment import alignment_of
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.voice import Speech, Voice

__all__ = ["attention_errors", "best_of", "best_seed"]


def best_of(voice: Voice, tokens: Tokens, judge: Callable[[Tokens, Speech], Any], seeds: Sequence[int]) -> Speech:
    """Say a sentence once for each seed, and return the speech that is judged lowest; of equals the first.

    Parameters
    ----------
    judge
        Gives something that can be compared, lower is better: `attention_errors`, or word errors of a recogniser.
    seeds
        One for each time it is said. A voice without randomness says the same every time.

    Raises
    ------
    ValueError
        If there is no seed.
    """
    return best_seed(voice, tokens, judge, seeds)[1]


def best_seed(
    voice: Voice, tokens: Tokens, judge: Callable[[Tokens, Speech], Any], seeds: Sequence[int]
) -> tuple[int, Speech]:
    """Do as `best_of`, and return the seed too, by which the sentence can be said so again."""
    if not seeds:
        raise ValueError("There are no seeds; give one for each time that the sentence is to be said.")
    said = [(seed, voice.speak(tokens, seed=seed)) for seed in seeds]
    return min(said, key=lambda one: judge(tokens, one[1]))


def attention_errors(tokens: Tokens, speech: Speech) -> tuple[float, float]:
    """Count skips, repeats and stalls a sound; of equals, 1 - the mean of the largest weights decides.

    Raises
    ------
    ValueError
        If the voice has no attention.
    """
    if speech.attention is None:
        raise ValueError("The voice has no attention to read errors from; judge the audio instead.")
    found = alignment_of(tokens, speech)
    return found.error_rate, float(found.align_error or 0.0)
