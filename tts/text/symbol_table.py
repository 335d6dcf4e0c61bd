"""Symbols to the numbers a model reads: what it knows, what it wants around them, and what has to be dropped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from genmend.tts.text.tokens import Dropped, Tokens

__all__ = ["BLANK", "Reader", "Spoken", "SymbolTable"]

BLANK = "_"  # how blanks are called in `Tokens.symbols`, whatever number the model has for them

# Texts, and phonemes in their place where they are given -> tokens.
Reader = Callable[[Sequence[str], "Sequence[str] | None"], list[Tokens]]


@dataclass(frozen=True)
class Spoken:
    """One symbol of a sentence: what it is, one of `genmend.tts.text.tokens.KINDS`, and its word, -1 for none."""

    symbol: str
    kind: str
    word: int = -1


@dataclass(frozen=True)
class SymbolTable:
    """What a model reads.

    Attributes
    ----------
    voice : str
        Its name, for messages.
    numbers : mapping
        Symbol -> the number or numbers that stand for it; each is a token.
    begin, end : str or None
        Symbols put before and after every sentence.
    blank : tuple of int
        Numbers put between all of these; none by default.
    blank_outside : bool
        Whether the blank also comes before the first and after the last.
    """

    voice: str
    numbers: Mapping[str, Sequence[int]]
    begin: str | None = None
    end: str | None = None
    blank: tuple[int, ...] = ()
    blank_outside: bool = False

    def tokens(self, text: str, spoken: Sequence[Spoken], words: Sequence[str]) -> Tokens:
        """Lay a sentence out; symbols that are not in the table are left out and listed as dropped.

        Raises
        ------
        ValueError
            If no sound or letter of the sentence is known.
        """
        known = [one for one in spoken if one.symbol in self.numbers]
        dropped = tuple(Dropped(one.symbol, one.word) for one in spoken if one.symbol not in self.numbers)
        if not any(one.kind in ("phoneme", "character") for one in known):
            raise ValueError(f"{self.voice} knows no sound of {text!r}: give text or phonemes of its language.")
        edges = [None if symbol is None else Spoken(symbol, "special") for symbol in (self.begin, self.end)]
        known = [one for one in (edges[0], *known, edges[1]) if one is not None]
        blank = [(number, Spoken(BLANK, "blank")) for number in self.blank]
        laid = list(blank) if self.blank_outside else []
        for i, one in enumerate(known):
            laid += blank if i else []
            laid += [(number, one) for number in self.numbers[one.symbol]]
        laid += blank if self.blank_outside else []
        return Tokens(
            text,
            ids=tuple(number for number, _ in laid),
            symbols=tuple(one.symbol for _, one in laid),
            kinds=tuple(one.kind for _, one in laid),
            word_of=tuple(one.word for _, one in laid),
            words=tuple(words),
            dropped=dropped,
        )
