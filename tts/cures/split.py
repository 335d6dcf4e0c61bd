"""Cures: say a sentence in parts, with a short silence between: cut at its commas, or a long one at its clauses.

A voice whose training text hardly had a comma loses its place at one, however short the sentence is: of those that the
failing voice of experiments/voices reads badly, nearly all are read well in the parts that their commas make.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from genmend.tts.cures.case import Case
from genmend.tts.cures.way import Way
from genmend.tts.text.token_edits import cut_tokens
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.voice import Voice

__all__ = ["clause_starts", "mark_places", "split_at_clauses", "split_at_marks"]

_LONG, _LEAST = 7, 3  # words of a sentence that is split, and of each part
_MARKS = frozenset(",;:—–、，；：")
# English ones: of other languages the marks alone are known.
_CONJUNCTIONS = re.compile(
    "and|but|or|nor|so|yet|because|although|though|while|when|where|whereas|if|unless|until|since|before|after|as|that"
    "|which|who|than"
)


def split_at_marks(case: Case) -> Iterator[tuple[str, Way]]:
    """Cut after the comma, semicolon, colon or dash nearest to the middle, then after all of them."""
    if case.tokens is not None:
        yield from _cut(case, case.tokens, mark_places(case.tokens))


def split_at_clauses(case: Case) -> Iterator[tuple[str, Way]]:
    """Cut a long sentence at the clause nearest to the middle, then at all clauses."""
    if case.tokens is not None:
        yield from _cut(case, case.tokens, clause_starts(case.tokens, case.way.voice))


def _cut(case: Case, tokens: Tokens, starts: list[int]) -> Iterator[tuple[str, Way]]:
    if not starts:
        return
    middle = min(starts, key=lambda place: abs(place - len(tokens) / 2))
    for places in ([middle], starts) if len(starts) > 1 else ([middle],):
        words = ", ".join(f'"{tokens.words[tokens.word_of[place]]}"' for place in places)
        parts = tuple(cut_tokens(tokens, places))
        yield f"before {words}", replace(case.way, parts=parts, vectors={})


def mark_places(tokens: Tokens) -> list[int]:
    """Positions of the first tokens of words that a mark of a pause stands before."""
    return [place for before, place in pairwise(_first_tokens(tokens)) if _has_mark(tokens, before, place)]


def clause_starts(tokens: Tokens, voice: Voice) -> list[int]:
    """Where clauses begin, parts of at least three words on each side: the positions of their first tokens."""
    firsts = _first_tokens(tokens)
    if len(firsts) < _LONG:
        return []
    found: list[int] = []
    last = 0
    for number, place in enumerate(firsts):
        marked = number > 0 and _has_mark(tokens, firsts[number - 1], place)
        label = tokens.words[tokens.word_of[place]].split()[0].strip(".,;:!?\"'").casefold()
        begins = marked or (voice.speaks_english and _CONJUNCTIONS.fullmatch(label))
        if begins and number - last >= _LEAST and len(firsts) - number >= _LEAST:
            found.append(place)
            last = number
    return found


def _first_tokens(tokens: Tokens) -> list[int]:
    """Where each word begins."""
    said = sorted({word for word in tokens.word_of if word >= 0})
    return [tokens.word_of.index(word) for word in said]


def _has_mark(tokens: Tokens, start: int, stop: int) -> bool:
    return any(tokens.symbols[i] in _MARKS for i in range(start, stop) if tokens.kinds[i] == "punctuation")
