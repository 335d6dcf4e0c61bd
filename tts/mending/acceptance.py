"""Take a repair only if a judge hears it as better: what makes it safe to leave on.

The rule is our own: the specification's guard is "accept a correction only if a judge does not get worse", and this one
asks for more, because most sentences are heard alike before and after, and an unneeded change can only do harm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from genmend.tts.measures.judges import PhonemeJudge, WhisperJudge
from genmend.tts.measures.phoneme_errors import phoneme_errors, sounds_of_words
from genmend.tts.measures.word_errors import word_errors
from genmend.tts.text.languages import ENGLISH_CODE
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.voice import Speech

__all__ = ["FEWER_PHONEMES", "HAMA", "Verdict", "is_better", "judge_by_phonemes", "judge_by_whisper"]

HAMA = "hama"
FEWER_PHONEMES = 2
LEAST = -5.0  # natural logarithm of a word's probability, below which it counts as this


@dataclass(frozen=True)
class Verdict:
    """How a judge heard one sentence.

    Attributes
    ----------
    heard : str
    errors : int
        Words wrong, missing or added.
    log_probability : float
        Mean natural logarithm of the true words' probabilities, each from -5 to 0; higher is better.
    language : str
        Code of the language in which it listened, for `pair_words`.
    judge : str
        Who heard it; `HAMA` hears phonemes, and its errors are phonemes.
    """

    heard: str
    errors: int
    log_probability: float
    language: str = ENGLISH_CODE
    judge: str = "Whisper tiny"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; a sentence that could not be heard has no probability."""
        known = np.isfinite(self.log_probability)
        return {"heard": self.heard, "errors": self.errors, "log_probability": self.log_probability if known else None}


def judge_by_whisper(judge: WhisperJudge, speech: Speech, text: str) -> Verdict:
    """Have Whisper hear a sentence and compare it with its text; of silence every word is missing."""
    language: str = getattr(judge, "language", ENGLISH_CODE)  # a judge of one's own need not say
    name = "Whisper tiny" if language == ENGLISH_CODE else "Whisper base"
    try:
        heard, logs = judge.listen(speech.audio, speech.sample_rate, text)
    except ValueError:  # silence, or far too long
        return Verdict("", word_errors(text, "", language).errors, -np.inf, language, name)
    # What Whisper does not recognise at all is equally wrong, however improbable: one nonsense name must not decide.
    errors = word_errors(text, heard, language).errors
    return Verdict(heard, errors, float(np.mean(np.maximum(logs, LEAST))), language, name)


def judge_by_phonemes(judge: PhonemeJudge, speech: Speech, tokens: Tokens) -> Verdict:
    """Have hama hear a sentence and compare its sounds with those that the voice was given.

    No language model stands between, so a name counts as much as a common word; its own errors are many.
    """
    heard = judge(speech.audio, speech.sample_rate)
    return Verdict(heard, phoneme_errors(" ".join(sounds_of_words(tokens)), heard).errors, -np.inf, judge=HAMA)


def is_better(before: Verdict, after: Verdict, margin: float = 0.05) -> bool:
    """Decide for `after` if fewer words are wrong, or none in both and they are more probable by `margin` (nats).

    Between two wrong hearings with as many errors nobody can decide: the probability of words that Whisper does not
    recognise, such as rare names, says nothing of how well they are said. Of hama, which hears one phoneme in six
    wrongly itself, `FEWER_PHONEMES` fewer must be wrong.
    """
    if after.errors or before.errors:
        return after.errors <= before.errors - (FEWER_PHONEMES if after.judge == HAMA else 1)
    return after.log_probability > before.log_probability + margin
