"""Best of several seeds, by what the attention did or by any judge."""

import numpy as np
import pytest
from voice_toys import toy_voice

from genmend.tts.mending.best_of import attention_errors, best_of
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.voice import Speech


def speech(path, n):
    """A speech whose attention rests wholly on these tokens, frame by frame."""
    return Speech(np.zeros(10), 8_000, 80, attention=np.eye(n)[path])


TOKENS = Tokens(
    "ab", (0, 1, 2, 3), ("^", "a", "b", "$"), ("special", "phoneme", "phoneme", "special"), (-1, 0, 0, -1), ("ab",)
)


def test_a_skipped_sound_is_an_error_and_begin_and_end_are_none():
    assert attention_errors(TOKENS, speech([0, 1, 2, 3], 4)) == (0.0, 0.0)
    assert attention_errors(TOKENS, speech([1, 1, 2, 2], 4))[0] == 0.0
    assert attention_errors(TOKENS, speech([0, 1, 1, 3], 4))[0] == 0.5
    with pytest.raises(ValueError, match="has no attention"):
        attention_errors(TOKENS, Speech(np.zeros(10), 8_000, 80))


def test_the_lowest_judgement_wins_and_the_first_of_equals():
    voice = toy_voice()
    tokens = voice.tokenize(phonemes="dˈasə mɔn")
    said = [voice.speak(tokens, seed=seed) for seed in range(4)]
    judgements = [float(s.audio.sum()) for s in said]
    best = best_of(voice, tokens, lambda _, s: float(s.audio.sum()), range(4))
    np.testing.assert_array_equal(best.audio, said[int(np.argmin(judgements))].audio)
    np.testing.assert_array_equal(best_of(voice, tokens, lambda *_: 0, (2, 1)).audio, said[2].audio)
    with pytest.raises(ValueError, match="no seeds"):
        best_of(voice, tokens, attention_errors, ())
