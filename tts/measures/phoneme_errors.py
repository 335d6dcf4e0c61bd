"""Phoneme errors: which sounds, and of which words, were not heard as they should have been said.

Two symbol tables meet here, espeak-ng's of the reference and that of the recogniser hama. `phonemes` writes both in
one: what the two only write differently (stress and length, the flapped t, the vowels of "cot" and "caught", of "cup"
and "sofa") must not count as an error. Some differences stay, e.g. the recogniser's v as f in "of": compare rates of
the same sentences, not with other recognisers' rates.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from genmend.tts.measures.edit_counts import EditCounts, align, edit_counts
from genmend.tts.text.tokens import Tokens

__all__ = ["phoneme_errors", "phonemes", "sounds_of_words", "word_phoneme_errors"]

# Both tables' ways to write the same American English sound -> one. Rhotic vowels become two sounds, since hama writes
# them either way.
_SAME = {
    "g": "ɡ",
    "r": "ɹ",
    "ɾ": "t",
    "ʔ": "t",
    "ɫ": "l",
    "ɐ": "ə",
    "ʌ": "ə",
    "ᵻ": "ɪ",
    "ɨ": "ɪ",
    "ɚ": "əɹ",
    "ɝ": "əɹ",
    "ɜ": "əɹ",
    "ɜɹ": "əɹ",
    "ɔ": "ɑ",
    "ɒ": "ɑ",
    "o": "ɑ",  # only before ɹ; everywhere else it is oʊ
    "e": "eɪ",
    "a": "ɑ",
}
_ONE_SOUND = ("tʃ", "dʒ", "aɪ", "aʊ", "ɔɪ", "oʊ", "eɪ", "ɜɹ")
_SOUND = re.compile("|".join((*_ONE_SOUND, r"[^\W\d_]")))
_UNHEARD = re.compile(r"[\u02b0-\u02ff]")  # modifier letters: stress, length, aspiration


def phonemes(ipa: str) -> list[str]:
    """The sounds of an IPA string, written as one table; no marks, pauses or spaces. Diphthongs and affricates are one.

    >>> phonemes("ɐ mˌæɡɐzˈiːn")
    ['ə', 'm', 'æ', 'ɡ', 'ə', 'z', 'i', 'n']
    """
    plain = unicodedata.normalize("NFD", _UNHEARD.sub("", ipa))
    found: list[str] = []
    for word in plain.split():
        letters = "".join(letter for letter in word if not unicodedata.combining(letter))
        for sound in _SOUND.findall(letters):
            same = _SAME.get(sound, sound)
            found += [same] if same in _ONE_SOUND else same
    return found


def phoneme_errors(reference: str, heard: str) -> EditCounts:
    """Count the phoneme errors of one sentence (`rate` is its PER); over several, add up the counts.

    Parameters
    ----------
    reference
        IPA of what should have been said, as espeak-ng writes it.
    heard
        IPA of what was heard, as `PhonemeJudge` gives it; nothing heard is all phonemes deleted.

    Raises
    ------
    ValueError
        If the reference has no sounds.
    """
    return edit_counts(_reference(reference), phonemes(heard))


def word_phoneme_errors(words: Sequence[str], heard: str) -> np.ndarray:
    """(n_words,) phoneme errors of each word, as a share of its sounds; 0 is read right, NaN a word without sounds.

    The whole sentence is aligned, then each error goes to the word of its phoneme; an insertion goes to the word of the
    phoneme before it, at the begin of the sentence to the first word.

    Parameters
    ----------
    words
        IPA of each word, as `sounds_of_words` gives it.
    heard
        IPA of the whole sentence.

    Raises
    ------
    ValueError
        If no word has a sound.
    """
    sounds = [phonemes(word) for word in words]
    reference = _reference(" ".join(words))
    word_of = np.repeat(np.arange(len(words)), [len(of_word) for of_word in sounds])
    found = phonemes(heard)
    errors = np.zeros(len(words))
    current = word_of[0]
    for i, j in align(reference, found):
        if i is not None:
            current = word_of[i]
        if i is None or j is None or reference[i] != found[j]:
            errors[current] += 1
    lengths = np.array([len(of_word) for of_word in sounds], dtype=float)
    return np.divide(errors, lengths, out=np.full(len(words), np.nan), where=lengths > 0)


def sounds_of_words(tokens: Tokens) -> list[str]:
    """Collect the IPA of each of `Tokens.words`, from a voice that reads phonemes."""
    spoken: list[list[str]] = [[] for _ in tokens.words]
    for symbol, word in zip(tokens.symbols, tokens.word_of, strict=True):
        if word >= 0:
            spoken[word].append(symbol)
    return ["".join(symbols) for symbols in spoken]


def _reference(ipa: str) -> list[str]:
    sounds = phonemes(ipa)
    if not sounds:
        raise ValueError(f"The reference {ipa!r} has no sounds to be heard; give the phonemes that were spoken.")
    return sounds
