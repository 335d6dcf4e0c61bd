"""Sentences as IPA symbols, one a code point, as Piper voices and the reference Tacotron read them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from tts.phonemes import espeak_phonemes
from tts.symbol_table import Spoken, SymbolTable
from tts.tokens import Tokens

__all__ = ["IpaReader", "ipa_of_clauses"]

_MARKS = set("ˈˌːˑ")
_PAUSES = re.compile(r"([.,;:!?])")


@dataclass(frozen=True)
class IpaReader:
    """Reads text by espeak-ng, or phonemes in its place: IPA, words apart by spaces.

    Attributes
    ----------
    table : SymbolTable
    language : str
        Of espeak-ng's.
    """

    table: SymbolTable
    language: str = "en-us"

    def __call__(self, texts: Sequence[str], phonemes: Sequence[str] | None = None) -> list[Tokens]:
        """Tokens of sentences, with one run of espeak-ng where phonemes are not given."""
        if phonemes is None:
            clauses = espeak_phonemes(texts, self.language)
        else:
            clauses = [_given_clauses(text, given) for text, given in zip(texts, phonemes, strict=True)]
            texts = [text or given for text, given in zip(texts, phonemes, strict=True)]
        return [self.table.tokens(text, *_symbols(parts)) for text, parts in zip(texts, clauses, strict=True)]


def ipa_of_clauses(clauses: Sequence[tuple[str, str, str]]) -> str:
    """Clauses of `espeak_phonemes` as one line, which `Voice.tokenize` takes as `phonemes` to the same tokens."""
    return " ".join(sounds + pause for _, sounds, pause in clauses)


def _symbols(clauses: Sequence[tuple[str, str, str]]) -> tuple[list[Spoken], list[str]]:
    spoken: list[Spoken] = []
    words: list[str] = []
    for number, (clause, ipa, pause) in enumerate(clauses):
        sounds = ipa.split()
        labels = _labels(clause.split(), sounds)
        for i, (label, sound) in enumerate(zip(labels, sounds, strict=True)):
            if i or number:
                spoken.append(Spoken(" ", "punctuation"))
            spoken += [Spoken(symbol, _kind(symbol), len(words)) for symbol in unicodedata.normalize("NFD", sound)]
            words.append(label)
        spoken += [Spoken(symbol, "punctuation") for symbol in pause]
    return spoken, words


def _given_clauses(text: str, phonemes: str) -> list[tuple[str, str, str]]:
    """One line of phonemes as clauses; the written words are matched where they are as many."""
    parts = _PAUSES.split(phonemes)
    clauses = [(sounds.strip(), pause) for sounds, pause in zip(parts[::2], [*parts[1::2], ""], strict=True)]
    clauses = [clause for clause in clauses if clause[0]]
    words = text.split()
    if len(words) != sum(len(sounds.split()) for sounds, _ in clauses):
        return [(sounds, sounds, pause) for sounds, pause in clauses]
    left = iter(word.strip('.,;:!?"') for word in words)
    return [(" ".join(next(left) for _ in sounds.split()), sounds, pause) for sounds, pause in clauses]


def _labels(words: list[str], sounds: list[str]) -> list[str]:
    """A label for each spoken word: the written ones where they match one to one, a number for all its words."""
    numbers = [i for i, word in enumerate(words) if any(map(str.isdigit, word))]
    if len(numbers) == 1 and len(sounds) > len(words):
        i, more = numbers[0], len(sounds) - len(words)
        words = [*words[:i], *[words[i]] * (1 + more), *words[i + 1 :]]
    return words if len(words) == len(sounds) else sounds


def _kind(symbol: str) -> str:
    if symbol in _MARKS or unicodedata.combining(symbol):
        return "mark"
    return "phoneme" if symbol.isalpha() else "punctuation"
