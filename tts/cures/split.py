"""Cure: say a long sentence in parts, cut at a comma, a semicolon or a conjunction, with a short silence between."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from genmend.tts.cures.case import Case
from genmend.tts.cures.way import Way
from genmend.tts.text.token_edits import cut_tokens
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.voice import Voice

__all__ = ["clause_starts", "split_at_clauses"]

_LONG, _LEAST = 7, 3  # words of a sentence that is split, and of each part
_MARKS = frozenset(",;:—–、，；：")
# English ones: of other languages the marks alone are known.
_CONJUNCTIONS = re.compile(
    "and|but|or|nor|so|yet|because|although|though|while|when|where|whereas|if|unless|until|since|before|after|as|that"
    "|which|who|than"
)


def split_at_clauses(case: Case) -> Iterator[tuple[str, Way]]:
    """Cut at the clause nearest to the middle, then at all clauses."""
    tokens = case.tokens
    starts = [] if tokens is None else clause_starts(tokens, case.way.voice)
    if tokens is None or not starts:
        return
    middle = min(starts, key=lambda place: abs(place - len(tokens) / 2))
    for places in ([middle], starts) if len(starts) > 1 else ([middle],):
        words = ", ".join(f'"{tokens.words[tokens.word_of[place]]}"' for place in places)
        parts = tuple(cut_tokens(tokens, places))
        yield f"before {words}", replace(case.way, parts=parts, vectors={})


def clause_starts(tokens: Tokens, voice: Voice) -> list[int]:
    """Where clauses begin, parts of at least three words on each side: the positions of their first tokens."""
    firsts = [next(i for i, of in enumerate(tokens.word_of) if of == word) for word in sorted(_said(tokens))]
    if len(firsts) < _LONG:
        return []
    found: list[int] = []
    last = 0
    for number, place in enumerate(firsts):
        before = [tokens.symbols[i] for i in range(firsts[number - 1], place) if tokens.kinds[i] == "punctuation"]
        label = tokens.words[tokens.word_of[place]].split()[0].strip(".,;:!?\"'").casefold()
        begins = any(symbol in _MARKS for symbol in before) or (voice.speaks_english and _CONJUNCTIONS.fullmatch(label))
        if begins and number - last >= _LEAST and len(firsts) - number >= _LEAST:
            found.append(place)
            last = number
    return found


def _said(tokens: Tokens) -> set[int]:
    return {word for word in tokens.word_of if word >= 0}
