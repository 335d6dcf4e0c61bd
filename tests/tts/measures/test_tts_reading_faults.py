"""Faults of reading, word by word."""

import numpy as np

from genmend.tts.measures.reading_faults import find_reading_faults
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.voice import Speech

TOKENS = Tokens(
    "ab cd ef",
    tuple(range(8)),
    tuple("ab cd ef"),
    ("phoneme", "phoneme", "punctuation") * 2 + ("phoneme", "phoneme"),
    (0, 0, -1, 1, 1, -1, 2, 2),
    ("ab", "cd", "ef"),
)


def faults(path, hop=100):
    attention = np.eye(8)[list(path)]
    speech = Speech(np.zeros(10, np.float32), 1_000, hop, attention=attention)
    return [(fault.word, fault.fault) for fault in find_reading_faults(TOKENS, speech)]


def test_a_whole_reading_has_none():
    assert faults([0, 0, 1, 1, 2, 3, 3, 4, 4, 5, 6, 7]) == []


def test_words_that_are_skipped_stalled_on_or_read_again_are_named():
    assert faults([0, 1, 2, 5, 6, 7]) == [("cd", "skipped")]
    assert faults([0, 1, 2, 3, 5, 6, 7]) == [("cd", "partly skipped")]
    assert faults([0, 1, 2, 3, 4, 5, *[6] * 11, 7]) == [("ef", "stalled")]
    assert faults([0, 1, 2, 3, 4, 5, 6, 6, 6, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 7, 7]) == [("ab", "repeated")]


def test_a_voice_without_attention_has_none():
    assert find_reading_faults(TOKENS, Speech(np.zeros(10, np.float32), 1_000, 100)) == ()
