"""What was heard beside what was meant, word by word."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from genmend.tts.measures.edit_counts import align
from genmend.tts.text.spoken_words import spoken_words

__all__ = ["HeardWords", "compare_words"]


@dataclass(frozen=True)
class HeardWords:
    """A word that was heard right, or a stretch of words that was not.

    Attributes
    ----------
    meant : str
        As `spoken_words` writes them; "" for words that were added.
    heard : str
        "" for words that were not heard.
    """

    meant: str
    heard: str

    @property
    def right(self) -> bool:
        """Whether it was heard as meant."""
        return self.meant == self.heard


def compare_words(text: str, heard: str) -> tuple[HeardWords, ...]:
    """Lay what a recogniser heard beside the text, along the alignment that `word_errors` counts over.

    Words in a row that were heard wrong stay together, since one name may be heard as three words.

    >>> [(part.meant, part.heard) for part in compare_words("She saw Tbilisi.", "She saw T by Lisi.")]
    [('she', 'she'), ('saw', 'saw'), ('tbilisi', 't by lisi')]
    """
    wanted, found = spoken_words(text), spoken_words(heard)
    parts: list[HeardWords] = []
    pairs = [("" if i is None else wanted[i], "" if j is None else found[j]) for i, j in align(wanted, found)]
    for right, group in groupby(pairs, key=lambda pair: pair[0] == pair[1]):
        same = list(group)
        if right:
            parts += [HeardWords(*pair) for pair in same]
        else:
            parts.append(HeardWords(*(" ".join(filter(None, side)) for side in zip(*same, strict=True))))
    return tuple(parts)
