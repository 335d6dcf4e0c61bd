"""Sentences as IPA symbols, one a code point, as Piper voices and the reference Tacotron read them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from genmend.tts.text.phonemes import espeak_phonemes
from genmend.tts.text.symbol_table import Spoken, SymbolTable
from genmend.tts.text.tokens import Tokens
from genmend.tts.text.word_labels import word_labels

__all__ = ["IpaReader", "ipa_of_clauses"]

_MARKS = set("ˈˌːˑ")
_PAUSES = re.compile(r"([.,;:!?])")


@dataclass(frozen=True)
class IpaReader:
    """Reads text by espeak-ng, or phonemes in its place: IPA, words separated by spaces.

    Attributes
    ----------
    table : SymbolTable
    language : str
        Of espeak-ng's.
    """

    table: SymbolTable
    language: str = "en-us"

    def __call__(self, texts: Sequence[str], phonemes: Sequence[str] | None = None) -> list[Tokens]:
        """Lay sentences out as tokens, with one run of espeak-ng where phonemes are not given."""
        if phonemes is None:
            clauses = [_label_clauses(parts) for parts in espeak_phonemes(texts, self.language)]
        else:
            clauses = [_given_clauses(text, given) for text, given in zip(texts, phonemes, strict=True)]
            texts = [text or given for text, given in zip(texts, phonemes, strict=True)]
        return [self.table.tokens(text, *_symbols(parts)) for text, parts in zip(texts, clauses, strict=True)]


def ipa_of_clauses(clauses: Sequence[tuple[str, str, str]]) -> str:
    """Join clauses of `espeak_phonemes` to one line, of which `Voice.tokenize` makes the same tokens."""
    return " ".join(sounds + pause for _, sounds, pause in clauses)


_Clause = tuple[list[str], list[str], str]  # a label and the sounds of each word, the pause after them


def _symbols(clauses: Sequence[_Clause]) -> tuple[list[Spoken], list[str]]:
    spoken: list[Spoken] = []
    words: list[str] = []
    for number, (labels, sounds, pause) in enumerate(clauses):
        for i, (label, sound) in enumerate(zip(labels, sounds, strict=True)):
            if i or number:
                spoken.append(Spoken(" ", "punctuation"))
            spoken += [Spoken(symbol, _kind(symbol), len(words)) for symbol in unicodedata.normalize("NFD", sound)]
            words.append(label)
        spoken += [Spoken(symbol, "punctuation") for symbol in pause]
    return spoken, words


def _label_clauses(clauses: Sequence[tuple[str, str, str]]) -> list[_Clause]:
    return [(word_labels(text.split(), ipa.split()), ipa.split(), pause) for text, ipa, pause in clauses]


def _given_clauses(text: str, phonemes: str) -> list[_Clause]:
    """One line of phonemes as clauses, with the written words where a text is given too."""
    parts = _PAUSES.split(phonemes)
    clauses = [(ipa.split(), pause) for ipa, pause in zip(parts[::2], [*parts[1::2], ""], strict=True) if ipa.strip()]
    words = [word.strip('.,;:!?"()') for word in text.split()]
    labels = iter(word_labels(words, [sound for sounds, _ in clauses for sound in sounds]))
    return [([next(labels) for _ in sounds], sounds, pause) for sounds, pause in clauses]


def _kind(symbol: str) -> str:
    if symbol in _MARKS or unicodedata.combining(symbol):
        return "mark"
    return "phoneme" if symbol.isalpha() else "punctuation"
