"""Sentences as IPA symbols, one a code point, as Piper voices and the reference Tacotron read them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

from genmend.tts.text.lexicon import split_at_words
from genmend.tts.text.phonemes import espeak_phonemes, phonemes_alone
from genmend.tts.text.sentences import PHONEMES
from genmend.tts.text.symbol_table import Spoken, SymbolTable
from genmend.tts.text.tokens import Tokens
from genmend.tts.text.word_labels import Alone, is_spelled, label_words

__all__ = ["IpaReader", "ipa_of_clauses"]

_MARKS = set("ˈˌːˑ")
_PAUSES = re.compile(r"([.,;!?]|:(?![^\W\d_]))")
_APOSTROPHE = re.compile(r"['\u2019\u2032\u02b9\u00b4](?=[^\W\d_])")  # typed for the mark of stress
_COLON = re.compile(r"(?<=[^\W\d_]):(?=[^\W\d_])")  # typed for the mark of length
_TIES = "\u0361\u035c"  # over or under the two letters of one sound
# Other ways to write a symbol: the same sound, another code point, as keyboards and other tables have it.
_ALIKE = {"g": "ɡ", "ʤ": "dʒ", "ʧ": "tʃ", "ʦ": "ts", "ʣ": "dz", "ʨ": "tɕ", "ʥ": "dʑ", "ɝ": "ɜɹ", "ɚ": "əɹ", "ɫ": "l",
          "ɩ": "ɪ", "ı": "ɪ", "ɷ": "ʊ", "ε": "ɛ", "α": "ɑ", "γ": "ɣ", "ϑ": "θ", "∫": "ʃ", "ǝ": "ə", "ә": "ə",
          "꞉": "ː", "∶": "ː", "ß": "β"}  # fmt: skip
# Capitals and signs of X-SAMPA, which people type for lack of the letter; they could mean something else.
_SAMPA = {"I": "ɪ", "E": "ɛ", "U": "ʊ", "A": "ɑ", "O": "ɔ", "V": "ʌ", "Q": "ɒ", "N": "ŋ", "S": "ʃ", "Z": "ʒ", "T": "θ",
          "D": "ð", "@": "ə", "3": "ɜ", "{": "æ", "%": "ˌ", '"': "ˈ"}  # fmt: skip


class _Clause(NamedTuple):
    """A label and the sounds of each word, whether each label is sure, and the pause after them."""

    labels: Sequence[str]
    sounds: Sequence[str]
    sure: Sequence[bool]
    pause: str


@dataclass(frozen=True)
class IpaReader:
    """Reads text by espeak-ng, or phonemes in its place: IPA, words separated by spaces.

    Attributes
    ----------
    table : SymbolTable
    language : str
        Of espeak-ng's.
    as_written : bool
        Whether texts are phonemes themselves, for voices that were trained on such texts.
    replaced : mapping
        Symbol -> the symbols that the model was trained with in its place.
    lexicon : mapping
        Word in lower case -> its phonemes, in place of what espeak-ng makes of it.

    Notes
    -----
    ``Call [[ ɡaɪs ]] now.`` gives the phonemes of a word in the text. The longest symbol of the table is read first.
    What the table does not hold is read as its like where the sound is the same (ʤ as dʒ, g as ɡ).
    """

    table: SymbolTable
    language: str = "en-us"
    as_written: bool = False
    replaced: Mapping[str, Sequence[str]] = field(default_factory=dict)
    lexicon: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, texts: Sequence[str], phonemes: Sequence[str] | None = None) -> list[Tokens]:
        """Lay sentences out as tokens, with one run of espeak-ng where phonemes are not given."""
        if phonemes is None and self.as_written:
            phonemes, texts = texts, ["" for _ in texts]
        if phonemes is None:
            clauses = self._clauses_of_texts(texts)
        else:
            clauses = [_given_clauses(text, given) for text, given in zip(texts, phonemes, strict=True)]
            texts = [text or given for text, given in zip(texts, phonemes, strict=True)]
        return [self._tokens(text, parts) for text, parts in zip(texts, clauses, strict=True)]

    def _clauses_of_texts(self, texts: Sequence[str]) -> list[list[_Clause]]:
        """Clauses by espeak-ng, but for what stands in ``[[ ]]`` or in the lexicon."""
        parts = [self._parts(text) for text in texts]
        asked = [part for split in parts for part, phonemes in split if phonemes is None]
        read = espeak_phonemes(asked, self.language)
        alone = self._read_alone([words for clauses in read for words, _, _ in clauses])
        spoken = iter(read)
        found: list[list[_Clause]] = []
        for split in parts:
            clauses: list[_Clause] = []
            for i, (part, phonemes) in enumerate(split):
                mark = _PAUSES.match(part.lstrip())
                if i and mark and clauses and not clauses[-1].pause:  # behind a closing ]] or a word of the lexicon
                    clauses[-1] = clauses[-1]._replace(pause=mark[1])
                clauses += _label_clauses(next(spoken), alone) if phonemes is None else _given_clauses(part, phonemes)
            found.append(clauses)
        return found

    def _read_alone(self, clauses: Sequence[str]) -> dict[str, list[str]]:
        """How espeak-ng reads what letters do not spell, so that the labels of the words beside it don't slip."""
        odd = [word for clause in clauses for word in clause.split() if not is_spelled(word)]
        return phonemes_alone(odd, self.language) if odd else {}

    def _parts(self, text: str) -> list[tuple[str, str | None]]:
        """A text in parts: words with their phonemes where these are known, "" for the words of ``[[ ]]``."""
        found: list[tuple[str, str | None]] = []
        for i, part in enumerate(PHONEMES.split(text)):
            if i % 2:
                found.append(("", part))
                continue
            for j, words in enumerate(split_at_words(part, self.lexicon)):
                found.append((words, self.lexicon[" ".join(words.casefold().split())] if j % 2 else None))
        return found

    def _tokens(self, text: str, clauses: Sequence[_Clause]) -> Tokens:
        tokens = self.table.tokens(text, *self._symbols(clauses))
        sure = [one for clause in clauses for one in clause.sure]
        known = self.table.numbers
        dropped = (
            replace(lost, reason=f"{lost.reason}; write {_SAMPA[lost.symbol]} for it")
            if _SAMPA.get(lost.symbol, "") in known
            else lost
            for lost in tokens.dropped
        )
        unsure = tuple(number for number, one in enumerate(sure) if not one)
        return replace(tokens, dropped=tuple(dropped), unsure=unsure)

    def _symbols(self, clauses: Sequence[_Clause]) -> tuple[list[Spoken], list[str]]:
        spoken: list[Spoken] = []
        words: list[str] = []
        for number, (labels, sounds, _, pause) in enumerate(clauses):
            for i, (label, sound) in enumerate(zip(labels, sounds, strict=True)):
                if i or number:
                    spoken.append(Spoken(" ", "punctuation"))
                spoken += [Spoken(symbol, _kind(symbol), len(words)) for symbol in self._spell(sound)]
                words.append(label)
            spoken += [Spoken(symbol, "punctuation") for symbol in pause]
        return spoken, words

    @cached_property
    def _longest(self) -> int:
        """Code points of the longest symbol: found once, for a corpus has thousands of words."""
        return max(map(len, (*self.table.numbers, *self.replaced)), default=1)

    def _spell(self, sound: str) -> list[str]:
        """One word as symbols of the table, and what it does not hold."""
        left = unicodedata.normalize("NFD", sound)
        symbols: list[str] = []
        if "ˈ" in self.table.numbers:
            left = _APOSTROPHE.sub("ˈ", left)
        if "ː" in self.table.numbers:
            left = _COLON.sub("ː", left)
        while left:
            heads = (left[:n] for n in range(min(self._longest, len(left)), 0, -1))
            head = next((head for head in heads if head in self.replaced or head in self.table.numbers), left[0])
            left = left[len(head) :]
            if head in self.replaced:
                symbols += self.replaced[head]
            elif head in self.table.numbers or head not in (*_ALIKE, *_TIES):
                symbols.append(head)
            elif head in _ALIKE:
                alike = _ALIKE[head]
                symbols += alike if all(symbol in self.table.numbers for symbol in alike) else [head]
        return symbols


def ipa_of_clauses(clauses: Sequence[tuple[str, str, str]]) -> str:
    """Join clauses of `espeak_phonemes` to one line, of which `Voice.tokenize` makes the same tokens."""
    return " ".join(sounds + pause for _, sounds, pause in clauses)


def _label_clauses(clauses: Sequence[tuple[str, str, str]], alone: Alone) -> list[_Clause]:
    found = []
    for text, ipa, pause in clauses:
        labels, sure = label_words(text.split(), ipa.split(), alone)
        found.append(_Clause(labels, ipa.split(), sure, pause))
    return found


def _given_clauses(text: str, phonemes: str) -> list[_Clause]:
    """One line of phonemes as clauses, with the written words where a text is given too."""
    parts = _PAUSES.split(phonemes)
    clauses = [(ipa.split(), pause) for ipa, pause in zip(parts[::2], [*parts[1::2], ""], strict=True) if ipa.strip()]
    words = [word.strip('.,;:!?"()') for word in text.split()]
    labels, sure = label_words(words, [sound for sounds, _ in clauses for sound in sounds])
    found, at = [], 0
    for sounds, pause in clauses:
        here = slice(at, at + len(sounds))
        found.append(_Clause(labels[here], sounds, sure[here], pause))
        at = here.stop
    return found


def _kind(symbol: str) -> str:
    if symbol in _MARKS or all(map(unicodedata.combining, symbol)):
        return "mark"
    return "phoneme" if symbol.isalpha() else "punctuation"
