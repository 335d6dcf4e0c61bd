"""Pinyin laid out as Piper lays it out for its Chinese voices, and spoken by a toy one."""

import numpy as np
import pytest
from piper_toys import write_piper

from genmend.tts.measures.voice_judge import judge_for
from genmend.tts.voices.piper import PiperVoice

# 20 symbols, as many as the toy voice has; two signs share a number, as in Piper's own table.
NAMES = ("_", "^", "$", "Ø", "n", "h", "l", "zh", "i", "ao", "v", "ang", "ai", "an", "2", "3", "4", "。", "，", "5")
TABLE = {name: [i] for i, name in enumerate(NAMES)} | {"；": [18]}


@pytest.fixture
def voice(tmp_path):
    return PiperVoice(write_piper(tmp_path, phoneme_type="pinyin", phoneme_id_map=TABLE, espeak=None))


def numbers(symbols):
    return tuple(TABLE[symbol][0] for symbol in symbols.split())


@pytest.mark.parametrize(
    ("text", "symbols"),
    [
        ("ni3 hao3.", "^ _ n i 3 _ h ao 3 _ 。 _ $"),
        ("Ni3hao3, zhang4", "^ _ n i 3 _ h ao 3 _ ， _ zh ang 4 _ $"),
        ("ai4；an2。", "^ _ Ø ai 4 _ ； _ Ø an 2 _ 。 _ $"),
        ("lü4 lv4 lu:4", "^ _ l v 4 _ l v 4 _ l v 4 _ $"),
        ("lu\N{COMBINING DIAERESIS}4", "^ _ l v 4 _ $"),
    ],
)
def test_blanks_stand_after_syllables_and_signs(voice, text, symbols):
    assert voice.tokenize(text).ids == numbers(symbols)
    assert voice.tokenize(phonemes=text).ids == numbers(symbols)


def test_a_sign_or_final_that_the_voice_does_not_know_is_listed(voice):
    tokens = voice.tokenize("ni3 hong3 hao3!")
    assert [lost.symbol for lost in tokens.dropped] == ["ong", "！"]
    assert tokens.ids == numbers("^ _ n i 3 _ h 3 _ h ao 3 _ $")
    assert tokens.words == ("ni3", "hong3", "hao3")


@pytest.mark.parametrize("text", ["你好。", "hello", "ni hao", "ni6"])
def test_what_is_no_pinyin_is_refused_with_what_to_do(voice, text):
    with pytest.raises(ValueError, match=r"reads pinyin with the number of each tone.*for example ni3 hao3"):
        voice.tokenize(text)


def test_it_is_spoken_and_nobody_compares_pinyin_with_words(voice):
    tokens = voice.tokenize("ni3 hao3.")
    speech = voice.speak(tokens)
    assert len(speech.frames) == len(tokens)
    assert np.isfinite(speech.audio).all()
    with pytest.raises(ValueError, match=r'judge="none"'):
        judge_for(voice)
