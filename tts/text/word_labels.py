"""Which written words each group of sounds stands for: espeak-ng joins "on the" to one, and reads 1984 as three.

Matched by their consonants, so that a reader sees words of the text and not phonemes; a label is no more than that.
What letters do not spell (numbers, faces, words in another script) is matched by how it is read alone, where that is
given.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence

__all__ = ["Alone", "is_spelled", "label_words", "word_labels"]

_MOST = 4  # words of one group, or groups of one word that letters spell
_MOST_OF_SIGN = 12  # groups of one word of which nobody knows how it is read
_APART = 16  # groups that words may run ahead of an even pace, or behind it
_SURE = 0.5  # cost by which another reading is worse
_SPELLINGS = (("tch", "C"), ("ch", "C"), ("sh", "S"), ("th", "D"), ("ph", "f"), ("wh", "w"), ("kn", "n"), ("wr", "r"),
              ("dg", "j"), ("ng", "N"), ("gh", ""), ("ck", "k"), ("q", "k"), ("c", "k"), ("x", "ks"),
              ("z", "s"))  # fmt: skip
_SOUNDS = (("tʃ", "C"), ("dʒ", "j"), ("ʃ", "S"), ("ʒ", "S"), ("ð", "D"), ("θ", "D"), ("ŋ", "N"), ("ɹ", "r"), ("ɚ", "r"),
           ("ɜː", "r"), ("ɾ", "t"), ("ʔ", "t"), ("ɡ", "g"), ("j", "y"), ("z", "s"))  # fmt: skip

Alone = Mapping[str, Sequence[str]]  # word -> the groups of sounds that it is read as when it stands alone
_Step = tuple[int, int]  # how many words are read as how many groups


def word_labels(words: Sequence[str], sounds: Sequence[str], alone: Alone | None = None) -> list[str]:
    """Label each group of sounds by the word or words that it reads; the group itself where that is unknown.

    >>> word_labels(["Put", "it", "on", "the", "table"], ["pˌʊt", "ɪt", "ɔnðə", "tˈeɪbəl"])
    ['Put', 'it', 'on the', 'table']
    """
    return label_words(words, sounds, alone)[0]


def label_words(
    words: Sequence[str], sounds: Sequence[str], alone: Alone | None = None
) -> tuple[list[str], list[bool]]:
    """As `word_labels`, and whether each label is sure: whether no other one would fit nearly as well.

    Labels are taken to be sure where letters spell every word.
    """
    odd = [not is_spelled(word) for word in words]
    if len(words) == len(sounds) and not any(odd):
        return list(words), [True] * len(words)
    costs = _Costs(words, sounds, alone or {})
    steps = costs.steps()
    if not steps:
        return list(sounds), [not any(odd)] * len(sounds)
    labels: list[str] = []
    at = 0
    for n, m in steps:
        labels += [" ".join(words[at : at + n])] * m
        at += n
    return labels, costs.sure(steps) if any(odd) else [True] * len(labels)


def is_spelled(word: str) -> bool:
    """Whether Latin letters alone say how it is read: not of a number, a face, another sign or script."""
    bare = word.replace("'", "").replace("’", "").strip("-.,;:!?")
    return bare != "" and all(letter == "-" or unicodedata.name(letter, "").startswith("LATIN") for letter in bare)


class _Costs:
    """What it costs to read words by groups of sounds, from every place on and up to it."""

    def __init__(self, words: Sequence[str], sounds: Sequence[str], alone: Alone) -> None:
        self.n, self.m = len(words), len(sounds)
        self.groups = [len(alone[word]) if alone.get(word) else None for word in words]
        self.spelled = [is_spelled(word) for word in words]
        self.written = [_written(word, alone.get(word)) for word in words]
        self.spoken = [_consonants(_letters(sound), _SOUNDS) for sound in sounds]
        self.rest = {(self.n, self.m): 0.0}  # cost of reading the words from i with the groups from j
        self.next: dict[tuple[int, int], _Step] = {}
        for i in range(self.n - 1, -1, -1):
            for j in self._near(i):
                found = [(self.of(i, j, *step) + self.rest[at], step) for step, at in self._steps(i, j, self.rest)]
                if found:
                    self.rest[i, j], self.next[i, j] = min(found)

    def steps(self) -> list[_Step]:
        """The cheapest reading: how many words and how many groups go together each time; empty if there is none."""
        found, at = [], (0, 0)
        while at in self.next:
            n, m = self.next[at]
            found.append((n, m))
            at = at[0] + n, at[1] + m
        return found

    def of(self, i: int, j: int, n: int, m: int) -> float:
        """Cost of reading n words from i with m groups from j."""
        written, spoken = self.written[i : i + n], "".join(self.spoken[j : j + m])
        if n == 1 and not self.spelled[i]:
            groups = self.groups[i]
            if groups is None:  # read as anything
                return 0.2 + 0.1 * (m - 1)
            return _distance(str(written[0]), spoken) / 2 + 0.5 * abs(m - groups)
        if None in written:
            return 2.0 + 0.1 * (n - 1)
        # A tenth for each that is joined: among equal readings the plainer one.
        return _distance("".join(map(str, written)), spoken) + 0.1 * (n + m - 2)

    def sure(self, steps: Sequence[_Step]) -> list[bool]:
        """For each group whether every reading of it by other words is clearly worse than the cheapest, `steps`."""
        own: list[_Step] = []  # the words of each group
        at = 0
        for n, m in steps:
            own += [(at, n)] * m
            at += n
        others = [float("inf")] * self.m
        before = {(0, 0): 0.0}
        for i in range(self.n):
            for j in self._near(i):
                if (i, j) not in before:
                    continue
                for (n, m), after in self._steps(i, j, self.rest):
                    cost = before[i, j] + self.of(i, j, n, m)
                    before[after] = min(before.get(after, float("inf")), cost)
                    for group in range(j, j + m):
                        if own[group] != (i, n):
                            others[group] = min(others[group], cost + self.rest[after])
        return [other >= self.rest[0, 0] + _SURE for other in others]

    def _near(self, i: int) -> range:
        """The groups with which the words from i can begin: near those of an even pace."""
        middle = i * self.m // self.n
        return range(max(0, middle - _APART), min(self.m, middle + _APART + 1))

    def _steps(self, i: int, j: int, there: Mapping[_Step, float]) -> list[tuple[_Step, _Step]]:
        """How many words from i and groups from j can go together, and where that leads, if it is `there`."""
        most = _MOST if self.spelled[i] else (self.groups[i] or _MOST_OF_SIGN - 1) + 1
        steps = [*((1, m) for m in range(1, most + 1)), *((n, 1) for n in range(2, _MOST + 1))]
        return [((n, m), (i + n, j + m)) for n, m in steps if (i + n, j + m) in there]


def _written(word: str, read: Sequence[str] | None) -> str | None:
    """The consonants of a word, by its letters or by how it is read alone; None where nobody knows."""
    if is_spelled(word):
        return _consonants(word.lower(), _SPELLINGS)
    return "".join(_consonants(_letters(sound), _SOUNDS) for sound in read) if read else None


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
