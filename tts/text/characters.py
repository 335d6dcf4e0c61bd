"""Sentences as written characters, as MMS voices, SpeechT5 and torchaudio's character bundles read them."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
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
        Characters that the table writes otherwise, e.g. ``{" ": "▁"}``.
    romanize : bool
        Whether the model was trained on romanised text: letters beyond ASCII are romanised by the package uroman.
    """

    table: SymbolTable
    lower: bool = True
    replaced: Mapping[str, str] = field(default_factory=dict)
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
                spoken.append(Spoken(self.replaced.get(" ", " "), "punctuation"))
            spoken += [Spoken(self._known_form(character), _kind(character), number) for character in word]
        return self.table.tokens(text, spoken, [word.strip(".,;:!?\"'()") or word for word in words])

    def _known_form(self, character: str) -> str:
        for form in (character, character.lower()) if self.lower else (character,):
            form = self.replaced.get(form, form)
            if form in self.table.numbers:
                return form
        return character


def _kind(character: str) -> str:
    # Vowel signs and other combining marks are letters to those who write them.
    letter = character.isalnum() or unicodedata.category(character).startswith("M")
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
