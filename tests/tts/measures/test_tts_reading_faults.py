"""Faults of reading, word by word."""

import numpy as np
import pytest

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


def faults(path, hop=100, finished=True):
    attention = np.eye(8)[list(path)]
    speech = Speech(np.zeros(10, np.float32), 1_000, hop, attention=attention, finished=finished)
    return [(fault.word, fault.fault) for fault in find_reading_faults(TOKENS, speech)]


def test_a_whole_reading_has_none():
    assert faults([0, 0, 1, 1, 2, 3, 3, 4, 4, 5, 6, 7]) == []


def test_words_that_are_skipped_stalled_on_or_read_again_are_named():
    assert faults([0, 1, 2, 5, 6, 7]) == [("cd", "skipped")]
    assert faults([0, 1, 2, 3, 5, 6, 7]) == [("cd", "partly skipped")]
    assert faults([0, 1, 2, 3, 4, 5, *[6] * 11, 7]) == [("ef", "stalled")]
    assert faults([0, 1, 2, 3, 4, 5, 6, 6, 6, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 7, 7]) == [("ab", "repeated")]


def test_an_end_that_was_cut_or_never_found_is_named():
    assert faults([0, 1, 2, 3, 4, 5, 6]) == [("ef", "end cut")]
    assert faults([0, 0, 1, 2]) == [("cd", "end cut"), ("ef", "end cut")]
    assert faults([0, 1, 2, 3, 4, 5, 6, 7], finished=False) == [("ef", "did not end")]
    assert faults([0, 1, 2, 3, 4, 5, 6], finished=False) == [("ef", "partly skipped"), ("ef", "did not end")]


def test_a_return_to_the_beginning_is_one_to_the_word_there():
    gone_back = [1, 2, 3, 4, 5, 5, 5, 2, 2, 2, 3, 4, 5, 6, 7]
    assert faults([0, *gone_back]) == [("cd", "repeated")]


def test_faults_say_where_they_are_in_the_audio():
    def found(path):
        speech = Speech(np.zeros(10, np.float32), 1_000, 100, attention=np.eye(8)[list(path)])
        return {fault.fault: [*fault.seconds, *fault.tokens] for fault in find_reading_faults(TOKENS, speech)}

    assert found([0, 1, 2, 5, 6, 7])["skipped"] == pytest.approx([0.3, 0.3, 3, 4])
    assert found([0, 1, 2, 3, 4, 5, *[6] * 11, 7])["stalled"] == pytest.approx([0.6, 1.7, 6])
    assert found([0, 1, 2, 3, 4, 4, 4, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7])["repeated"] == pytest.approx([0.7, 1.3, 0])
    assert found([0, 1, 2, 3, 4, 5])["end cut"] == pytest.approx([0.6, 0.6, 6, 7])


def test_a_voice_without_attention_has_none():
    assert find_reading_faults(TOKENS, Speech(np.zeros(10, np.float32), 1_000, 100)) == ()
