"""Japanese in kana as the sounds that Kokoro-82M and its like were trained on: one symbol a code point."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from genmend.tts.text.ipa import IpaReader
from genmend.tts.text.symbol_table import SymbolTable
from genmend.tts.text.tokens import Tokens

__all__ = ["KanaReader", "kana_to_ipa"]

# A row of the syllabary: its kana for a, i, u, e, o with their sounds.
_ROWS = (
    ("あいうえお", "a i ɯ e o"), ("かきくけこ", "ka kʲi kɯ ke ko"), ("がぎぐげご", "ɡa ɡʲi ɡɯ ɡe ɡo"),
    ("さしすせそ", "sa ɕi sɨ se so"), ("ざじずぜぞ", "ʣa ʥi zɨ ʣe ʣo"), ("たちつてと", "ta ʨi ʦɨ te to"),
    ("だぢづでど", "da ʥi zɨ de do"), ("なにぬねの", "na ɲi nɯ ne no"), ("はひふへほ", "ha çi ɸɯ he ho"),
    ("ばびぶべぼ", "ba bʲi bɯ be bo"), ("ぱぴぷぺぽ", "pa pʲi pɯ pe po"), ("まみむめも", "ma mʲi mɯ me mo"),
    ("らりるれろ", "ɾa ɾʲi ɾɯ ɾe ɾo"), ("やゆよわを", "ja jɯ jo βa o"), ("ぁぃぅぇぉ", "a i ɯ e o"), ("ゔー", "vɯ ː"),
)  # fmt: skip
_SYLLABLES = {kana: sound for row, sounds in _ROWS for kana, sound in zip(row, sounds.split(), strict=True)}
# Consonants of the i column before a small ya, yu, yo, e.
_GLIDES = dict(
    zip(
        "きぎしじちぢにひびぴみり",
        (*("kʲ", "ɡʲ", "ɕ", "ʥ", "ʨ", "ʥ"), *("ɲ", "ç", "bʲ", "pʲ", "mʲ", "ɾʲ")),
        strict=True,
    )
)
_SMALL = {"ゃ": "a", "ゅ": "ɨ", "ょ": "o", "ぇ": "e"}
# Sounds of loan words: a consonant before a small vowel.
_LOANS = {"ふ": "ɸ", "て": "t", "で": "d", "う": "β", "ゔ": "v", "つ": "ʦ", "と": "t", "ど": "d"}
_NASALS = (("mpb", "m"), ("kɡ", "ŋ"), ("ɲʨʥ", "ɲ"), ("ntdɾz", "n"))  # what ん is before these; else ɴ
_MARKS = str.maketrans(
    {"。": ".", "、": ",", "！": "!", "？": "?", "・": " ", "　": " ", "「": " ", "」": " ", "…": "."}
)
_PARTICLES = re.compile(r"(?<![^\W\d_])[はへ](?![^\W\d_])")  # which alone are read wa and e
_LETTERS = re.compile(r"[A-Za-zÀ-ɏͰ-ӿ]+")
_KANJI = re.compile(r"[\u3400-\u9fff々]")


@dataclass(frozen=True)
class KanaReader:
    """Reads hiragana and katakana, or phonemes in their place; words are what spaces separate.

    Attributes
    ----------
    table : SymbolTable
    """

    table: SymbolTable

    def __call__(self, texts: Sequence[str], phonemes: Sequence[str] | None = None) -> list[Tokens]:
        """Lay sentences out as tokens.

        Raises
        ------
        ValueError
            If a text holds kanji, whose reading depends on more than the sign, or letters, which are no kana.
        """
        read = IpaReader(self.table, as_written=True)
        if phonemes is None:
            for letters in filter(None, map(_LETTERS.search, texts)):
                raise ValueError(
                    f"The text holds {letters[0]!r}, and kana are read here: give it as it is said, in katakana "
                    "(ハロー), or give phonemes (--phonemes)."
                )
            phonemes = [kana_to_ipa(text) for text in texts]
        return read(texts, phonemes)


def kana_to_ipa(text: str) -> str:
    """Turn kana into phonemes; anything else is kept as it is.

    Raises
    ------
    ValueError
        If there is a kanji.

    Examples
    --------
    >>> kana_to_ipa("きょう は がっこう へ いきます。")
    'kʲoː βa ɡaʔkoː e ikʲimasɨ.'
    """
    kanji = _KANJI.search(text)
    if kanji:
        raise ValueError(
            f"The text holds the kanji {kanji[0]!r}, and how it is read here is not written: give the sentence in "
            "kana (きょう は いい てんき です。), with spaces between words, or phonemes."
        )
    left = "".join(map(_hiragana, unicodedata.normalize("NFKC", text.translate(_MARKS))))
    left = _PARTICLES.sub(lambda found: "わ" if found[0] == "は" else "え", left)
    sounds = ""
    while left:
        sound, n = _syllable(left)
        # A vowel that is written twice is a long one.
        if left[0] in "うお" and sounds.endswith("o") and n == 1:
            sound = "ː"
        sounds += sound
        left = left[n:]
    return _assimilate(sounds)


def _hiragana(sign: str) -> str:
    return chr(ord(sign) - 0x60) if "ァ" <= sign <= "ヶ" else sign


def _syllable(text: str) -> tuple[str, int]:
    """The sounds of what a text begins with, and of how many signs it is."""
    first, second = text[0], text[1:2]
    if first in _GLIDES and second in _SMALL:
        return _GLIDES[first] + _SMALL[second], 2
    if first in _LOANS and second and second in "ぁぃぅぇぉゃゅょ":
        vowel = _SMALL.get(second) or _SYLLABLES[second]
        return _LOANS[first] + ("j" if second in "ゃゅょ" else "") + vowel, 2
    return {"ん": "ɴ", "っ": "ʔ"}.get(first, _SYLLABLES.get(first, first)), 1


def _assimilate(sounds: str) -> str:
    for before, nasal in _NASALS:
        sounds = re.sub(rf"ɴ(?=[{before}])", nasal, sounds)
    return sounds
