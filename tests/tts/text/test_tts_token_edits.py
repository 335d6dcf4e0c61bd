"""Sentences changed after they were laid out: symbols put in, replaced, and parts cut, with blanks and without."""

import pytest

from genmend.tts.text.token_edits import cut_tokens, insert_symbol, replace_symbols
from genmend.tts.text.tokens import Tokens

KINDS = {"^": "special", "$": "special", "_": "blank", " ": "punctuation", ",": "punctuation", ".": "punctuation"}


def laid_out(symbols):
    """Tokens of a row of symbols; words are numbered at spaces."""
    word_of, word = [], 0
    for symbol in symbols:
        word += symbol == " "
        word_of.append(-1 if symbol in KINDS else word)
    kinds = tuple(KINDS.get(symbol, "phoneme") for symbol in symbols)
    return Tokens("ab cd ef.", tuple(map(ord, symbols)), tuple(symbols), kinds, tuple(word_of), ("ab", "cd", "ef"))


def shown(tokens):
    assert tokens.ids == tuple(map(ord, tokens.symbols))
    return "".join(tokens.symbols)


@pytest.mark.parametrize(
    ("symbols", "inserted", "parts"),
    [
        ("^ab, cd ef.$", "^ab, x cd ef.$".replace("x ", "x"), ["^ab.$", "^cd ef.$"]),
        ("^_a_b_,_ _c_d_ _e_f_._$", "^_a_b_,_ _x_c_d_ _e_f_._$", ["^_a_b_._$", "^_c_d_ _e_f_._$"]),
        ("_a_b_,_ _c_d_", "_a_b_,_ _x_c_d_", ["_a_b_", "_c_d_"]),
        ("ab cd ef", "ab xcd ef", ["ab", "cd ef"]),
    ],
)
def test_symbols_come_with_their_blanks_and_parts_are_sentences(symbols, inserted, parts):
    tokens = laid_out(symbols)
    place = symbols.index("c")
    new = insert_symbol(tokens, place, ("x", ord("x"), "phoneme"), 1)
    assert shown(new) == inserted
    assert new.word_of[new.symbols.index("x")] == 1
    cut = cut_tokens(tokens, [place])
    assert [shown(part) for part in cut] == parts
    assert [part.words for part in cut] == [tokens.words] * 2
    assert {word for part in cut for word in part.word_of} == set(tokens.word_of)


def test_a_symbol_is_put_in_place_of_another():
    new = replace_symbols(laid_out("^ab cd$"), {2: ("z", ord("z"), "phoneme")})
    assert shown(new) == "^az cd$"
    assert new.word_of == laid_out("^ab cd$").word_of
