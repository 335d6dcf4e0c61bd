"""Change a sentence after it was laid out as tokens: other symbols, further ones, or parts of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from genmend.tts.text.tokens import Tokens

__all__ = ["Symbol", "cut_tokens", "insert_symbol", "replace_symbols"]

Symbol = tuple[str, int, str]  # the symbol, its number, its kind
_Token = tuple[int, str, str, int]  # as the fields of `Tokens`


def replace_symbols(tokens: Tokens, changed: Mapping[int, Symbol]) -> Tokens:
    """Put other symbols at some positions."""
    rows = _rows(tokens)
    for place, (symbol, number, kind) in changed.items():
        rows[place] = (number, symbol, kind, tokens.word_of[place])
    return _with_rows(tokens, rows)


def insert_symbol(tokens: Tokens, position: int, symbol: Symbol, word: int = -1) -> Tokens:
    """Put a symbol before the spoken token at a position, or after the last one; a blank comes with it where it should.

    Parameters
    ----------
    word
        Index into `Tokens.words` that the new token belongs to.
    """
    rows = _rows(tokens)
    blank = next((row for row in rows if row[2] == "blank"), None)
    new: list[_Token] = [(symbol[1], symbol[0], symbol[2], word)]
    rows[position:position] = new if blank is None else [*new, blank]
    return _with_rows(tokens, rows)


def cut_tokens(tokens: Tokens, places: Sequence[int]) -> list[Tokens]:
    """Cut a sentence before the tokens at some positions; each part begins and ends as the voice's sentences do.

    The parts keep `words` of the whole sentence. Spaces at a cut are left out, and so is the mark of a pause before it:
    a part ends with the mark that the sentence ends with, where it has one.
    """
    rows = _rows(tokens)
    spoken = [i for i, said in enumerate(tokens.spoken) if said]
    begin, end = spoken[0], spoken[-1] + 1
    while end < len(rows) and rows[end][2] == "blank":
        end += 1
    last = rows[spoken[-1]]
    blanks = [row for row in rows if row[2] == "blank"][:1]
    mark = [last, *blanks] if last[2] == "punctuation" and last[1].strip() else []
    parts = []
    for start, stop in pairwise([begin, *places, end]):
        body = rows[start:stop]
        if stop != end:
            while body and body[-1][2] in ("blank", "punctuation"):
                body.pop()
            body += [*blanks, *mark]
        parts.append(_with_rows(tokens, [*rows[:begin], *body, *rows[end:]]))
    return parts


def _rows(tokens: Tokens) -> list[_Token]:
    return list(zip(tokens.ids, tokens.symbols, tokens.kinds, tokens.word_of, strict=True))


def _with_rows(tokens: Tokens, rows: Sequence[_Token]) -> Tokens:
    ids, symbols, kinds, word_of = (tuple(column) for column in zip(*rows, strict=True))
    return replace(tokens, ids=ids, symbols=symbols, kinds=kinds, word_of=word_of)
