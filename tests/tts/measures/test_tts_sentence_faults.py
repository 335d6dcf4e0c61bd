"""Faults of all kinds word by word: dropped symbols, far too short or long sounds, words heard otherwise."""

import numpy as np
import pytest

from genmend.tts.measures.heard_words import pair_words
from genmend.tts.measures.sentence_faults import faults_in_words, find_faults
from genmend.tts.measures.sound_lengths import find_duration_faults, measure_lengths
from genmend.tts.text.tokens import Dropped, Tokens
from genmend.tts.voices.voice import Speech

TOKENS = Tokens(
    "The cat sat.",
    tuple(range(7)),
    tuple("ab cd e"),
    ("phoneme", "phoneme", "punctuation", "phoneme", "phoneme", "punctuation", "phoneme"),
    (0, 0, -1, 1, 1, -1, 2),
    ("The", "cat", "sat"),
)


def spoken(frames):
    return Speech(np.zeros(1000, np.float32), 1_000, 10, frames=np.array(frames))


def heard(words):
    found = find_faults(TOKENS, spoken([10] * 7), heard=pair_words(TOKENS.text, words))
    return [(fault.word, fault.number, fault.fault, fault.detail, fault.seconds) for fault in found]


def test_words_that_are_missing_added_or_heard_otherwise_are_named_with_their_place():
    assert heard("the cat sat") == []
    assert heard("The hat sat.") == [("cat", 1, "heard otherwise", "hat", pytest.approx((0.3, 0.5)))]
    assert heard("The sat.") == [("cat", 1, "not heard", "", pytest.approx((0.3, 0.5)))]
    assert heard("The cat sat down.") == [("", 2, "added", "down.", pytest.approx((0.7, 0.7)))]
    assert heard("") == [("The cat sat.", 0, "not heard", "", pytest.approx((0.0, 0.7)))]


def test_sounds_far_from_their_like_are_named():
    usual = measure_lengths([TOKENS] * 30, [np.array([10, 20, 3, 10, 20, 3, 10])] * 30)
    assert usual["a"] == [30, 10, 10, 10]
    assert " " not in usual
    found = find_duration_faults(TOKENS, spoken([10, 20, 3, 4, 40, 3, 10]), usual)
    assert [(fault.word, fault.fault, fault.tokens) for fault in found] == [
        ("cat", "too short", (3,)),
        ("cat", "too long", (4,)),
    ]
    assert found[0].detail == "c 0.04 s, usually 0.10 s"
    assert found[1].seconds == pytest.approx((0.37, 0.77))
    assert find_duration_faults(TOKENS, spoken([10, 20, 3, 8, 25, 3, 10]), usual) == ()
    assert find_duration_faults(TOKENS, spoken([1] * 7), {}) == ()


def test_what_the_front_end_dropped_stands_among_them_and_all_is_told_in_words():
    lost = Tokens(**vars(TOKENS) | {"dropped": (Dropped("x", 1),)})
    found = find_faults(lost, spoken([10] * 7))
    assert [(fault.word, fault.fault) for fault in found] == [("cat", "dropped")]
    assert found[0].to_dict()["seconds"] == [0.3, 0.5]
    assert faults_in_words(found) == "The voice was not given all symbols of cat."
    assert faults_in_words(()) == ""
