"""Sentences as written characters, as MMS voices, SpeechT5 and torchaudio's character bundles read them."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

from genmend.tts.text.symbol_table import Spoken, SymbolTable
from genmend.tts.text.tokens import Tokens

__all__ = ["CharacterReader"]


@dataclass(frozen=True)
class CharacterReader:
    """Reads text character by character; phonemes cannot be given in its place.

    Attributes
    ----------
    table : SymbolTable
    lower : bool
        Whether capitals are read as small letters, where the table does not hold them.
    replaced : mapping
        Characters -> the symbol, or the symbols, that the table has for them, e.g. ``{" ": "▁"}``.
    romanize : bool
        Whether the model was trained on romanised text: letters beyond ASCII are romanised by the package uroman.
    """

    table: SymbolTable
    lower: bool = True
    replaced: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    romanize: bool = False

    def __call__(self, texts: Sequence[str], phonemes: Sequence[str] | None = None) -> list[Tokens]:
        """Lay sentences out as tokens."""
        if phonemes is not None:
            raise ValueError(f"{self.table.voice} reads characters and takes no phonemes: give text alone.")
        return [self._tokens(text) for text in texts]

    def _tokens(self, text: str) -> Tokens:
        written = _romanize(text, self.table.voice) if self.romanize and not text.isascii() else text
        spoken: list[Spoken] = []
        words = written.split()
        for number, word in enumerate(words):
            if number:
                spoken.append(Spoken(next(iter(self._known_symbols(" ")), " "), "punctuation"))
            spoken += [Spoken(symbol, _kind(character), number) for character, symbol in self._spell(word)]
        return self.table.tokens(text, spoken, [word.strip(".,;:!?\"'()") or word for word in words])

    @cached_property
    def _longest(self) -> int:
        """Characters of the longest symbol; names such as <pad> are never written."""
        return max((len(symbol) for symbol in (*self.table.numbers, *self.replaced) if symbol[:1] != "<"), default=1)

    def _spell(self, word: str) -> list[tuple[str, str]]:
        """A word as what is written and the symbol for it: the longest that the table holds, or else the character."""
        left = unicodedata.normalize("NFC", word)
        found: list[tuple[str, str]] = []
        while left:
            for n in range(min(self._longest, len(left)), 0, -1):
                symbols = self._known_symbols(left[:n])
                if symbols:
                    break
            else:
                n, symbols = 1, self._decomposed(left[0])
            found += [(left[:n], symbol) for symbol in symbols]
            left = left[n:]
        return found

    def _known_symbols(self, written: str) -> list[str]:
        for form in (written, written.lower()) if self.lower else (written,):
            given = self.replaced.get(form, form)
            symbols = [given] if isinstance(given, str) else list(given)
            if all(symbol in self.table.numbers for symbol in symbols):
                return symbols
        return []

    def _decomposed(self, character: str) -> list[str]:
        """A letter and its accents apart, where the table holds them so."""
        parts = [self._known_symbols(part) for part in unicodedata.normalize("NFD", character)]
        return [symbol for part in parts for symbol in part] if all(parts) else [character]


def _kind(character: str) -> str:
    # Vowel signs and other combining marks are letters to those who write them.
    letter = any(one.isalnum() or unicodedata.category(one).startswith("M") for one in character)
    return "character" if letter else "punctuation"


def _romanize(text: str, voice: str) -> str:
    try:
        return str(_uroman().romanize_string(text))
    except ImportError as error:
        raise ModuleNotFoundError(
            f"{voice} reads romanised text, and {text!r} is not: install uroman (pip install uroman), "
            "or give the text in Latin letters."
        ) from error


@cache  # it reads its tables for seconds
def _uroman() -> Any:
    from uroman import Uroman

    return Uroman()
