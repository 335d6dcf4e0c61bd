"""Which written words each group of sounds stands for: espeak-ng joins "on the" to one, and reads 1984 as three.

Matched by their consonants, so that a reader sees words of the text and not phonemes; a label is no more than that.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache

__all__ = ["word_labels"]

_MOST = 4  # words of one group, or groups of one word
_SPELLINGS = (("tch", "C"), ("ch", "C"), ("sh", "S"), ("th", "D"), ("ph", "f"), ("wh", "w"), ("kn", "n"), ("wr", "r"),
              ("dg", "j"), ("ng", "N"), ("gh", ""), ("ck", "k"), ("q", "k"), ("c", "k"), ("x", "ks"),
              ("z", "s"))  # fmt: skip
_SOUNDS = (("tʃ", "C"), ("dʒ", "j"), ("ʃ", "S"), ("ʒ", "S"), ("ð", "D"), ("θ", "D"), ("ŋ", "N"), ("ɹ", "r"), ("ɚ", "r"),
           ("ɜː", "r"), ("ɾ", "t"), ("ʔ", "t"), ("ɡ", "g"), ("j", "y"), ("z", "s"))  # fmt: skip


def word_labels(words: Sequence[str], sounds: Sequence[str]) -> list[str]:
    """Label each group of sounds by the word or words that it reads; the group itself where that is unknown.

    >>> word_labels(["Put", "it", "on", "the", "table"], ["pˌʊt", "ɪt", "ɔnðə", "tˈeɪbəl"])
    ['Put', 'it', 'on the', 'table']
    """
    if len(words) == len(sounds):
        return list(words)
    written = [_consonants(word.lower(), _SPELLINGS) if _is_spelled(word) else None for word in words]
    spoken = [_consonants(_letters(sound), _SOUNDS) for sound in sounds]

    @cache
    def best(i: int, j: int) -> tuple[float, tuple[tuple[int, int], ...]]:
        """Cost of reading the words from i with the groups from j, and how many of each go together."""
        if i == len(words) and j == len(sounds):
            return 0.0, ()
        if i == len(words) or j == len(sounds):
            return float("inf"), ()
        steps = [(1, 1), *((n, 1) for n in range(2, _MOST + 1)), *((1, n) for n in range(2, _MOST + 1))]
        found = []
        for n, m in steps:
            if i + n <= len(words) and j + m <= len(sounds):
                cost, rest = best(i + n, j + m)
                # A tenth for each that is joined: among equal readings the plainer one.
                found.append((_cost(written[i : i + n], spoken[j : j + m]) + 0.1 * (n + m - 2) + cost, ((n, m), *rest)))
        return min(found, default=(float("inf"), ()))

    cost, steps = best(0, 0)
    if cost == float("inf"):
        return list(sounds)
    labels: list[str] = []
    at = 0
    for n, m in steps:
        labels += [" ".join(words[at : at + n])] * m
        at += n
    return labels


def _is_spelled(word: str) -> bool:
    """Whether letters alone say how it is read: not of a number, an emoji or another sign."""
    return any(map(str.isalpha, word)) and not any(map(str.isdigit, word))


def _cost(written: Sequence[str | None], spoken: Sequence[str]) -> float:
    if None in written:  # a number or a sign is read as anything
        return 0.2 if len(written) == 1 else 2.0
    return _distance("".join(map(str, written)), "".join(spoken))


def _distance(one: str, other: str) -> int:
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, start=1):
        previous, row[0] = row[0], i
        for j, b in enumerate(other, start=1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (a != b))
    return row[-1]


def _letters(sound: str) -> str:
    return re.sub(r"[ˈˌ]", "", unicodedata.normalize("NFD", sound))


def _consonants(text: str, table: Sequence[tuple[str, str]]) -> str:
    for old, new in table:
        text = text.replace(old, new)
    return re.sub(r"(.)\1", r"\1", re.sub(r"[^bdfghjklmnprstvwyCDNSkw]", "", text))
