"""Edits as they are typed, and the tokens they mean."""

from dataclasses import replace

import numpy as np
import pytest
from prosody_toys import hummed_tokens

from genmend.tts.prosody.edit_requests import EditRequest, parse_edit, select_tokens


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ("word:duration=1.5,pitch=+2st", EditRequest("word", {"duration": 1.5, "pitch": 2.0})),
        (" home#2 : pitch = -1.5 st ", EditRequest("home", {"pitch": -1.5}, 2)),
        ("*:energy=3dB,tilt=-2", EditRequest("*", {"energy": 3.0, "tilt": -2.0})),
        ("a:b:duration=.5x", EditRequest("a:b", {"duration": 0.5})),
    ],
)
def test_edits_are_read(text, request_):
    assert parse_edit(text) == request_


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no word"),
        ("duration=1.5", "names no word"),
        (":pitch=1st", "names no word"),
        ("word#0:pitch=1st", "names no word"),
        ("word#x:pitch=1st", "names no word"),
        ("word:", "cannot be read"),
        ("word:loudness=2", "cannot be read"),
        ("word:pitch=high", "cannot be read"),
        ("word:pitch=1st,", "cannot be read"),
        ("word:pitch=nan", "cannot be read"),
        ("word:pitch=2dB", "pitch is in st"),
        ("word:duration=2st", "duration is a factor"),
        ("word:pitch=1st,pitch=2st", "pitch twice"),
        ("word:duration=0", "a factor from 0.25 to 4"),
        ("word:duration=9", "a factor from 0.25 to 4"),
        ("word:pitch=-13st", "give -12 to 12 st"),
    ],
)
def test_what_cannot_be_meant_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_edit(text)


def letters(tokens, chosen):
    return "".join(symbol for symbol, picked in zip(tokens.symbols, chosen, strict=True) if picked)


def test_a_word_is_its_symbols_with_their_blanks():
    tokens = hummed_tokens(("Hum", "drum,", "hum"))
    assert letters(tokens, select_tokens(tokens, EditRequest("drum", {}))) == "d_r_u_m_,_"
    assert letters(tokens, select_tokens(tokens, EditRequest("hum", {}))) == "H_u_m_h_u_m_"
    assert letters(tokens, select_tokens(tokens, EditRequest("hum", {}, 2))) == "h_u_m_"
    everything = select_tokens(tokens, EditRequest("*", {}))
    assert np.flatnonzero(~everything).tolist() == [0, len(tokens) - 1]


def test_words_that_are_not_there_are_named():
    tokens = hummed_tokens(("hum", "drum"))
    with pytest.raises(LookupError, match="no word 'drm'; it has drum, hum; choose one"):
        select_tokens(tokens, EditRequest("drm", {}))
    with pytest.raises(LookupError, match="no occurrence 2 of word 'hum'"):
        select_tokens(tokens, EditRequest("hum", {}, 2))


def test_a_word_of_which_the_sounds_are_not_sure_is_refused():
    tokens = replace(hummed_tokens(("hum", "drum")), unsure=(1,))
    assert letters(tokens, select_tokens(tokens, EditRequest("hum", {}))) == "h_u_m_"
    with pytest.raises(LookupError, match="Which sounds are the word 'drum' can't be told for sure"):
        select_tokens(tokens, EditRequest("drum", {}))


def test_an_occurrence_of_a_number_is_all_its_words():
    tokens = replace(hummed_tokens(("hum", "m", "u", "hum", "m")), words=("1984", "21", "21", "1984", "21"))
    assert letters(tokens, select_tokens(tokens, EditRequest("21", {}, 1))) == "m_u_"
    assert letters(tokens, select_tokens(tokens, EditRequest("21", {}, 2))) == "m_"
