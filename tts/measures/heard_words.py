"""What was heard beside what was meant, word by word."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from genmend.tts.measures.edit_counts import align
from genmend.tts.text.languages import ENGLISH_CODE, UNSPACED
from genmend.tts.text.spoken_words import spoken_words

__all__ = ["WordPair", "in_words", "pair_words"]


@dataclass(frozen=True)
class WordPair:
    """Words of a text, and what was heard in their place.

    Attributes
    ----------
    meant : str
        As the text writes it; "" where something was heard that is not there.
    heard : str
        As the recogniser writes it; "" where nothing was heard.
    same : bool
        Whether both are the same spoken words; neighbours that are not stand together.
    """

    meant: str
    heard: str
    same: bool


def pair_words(text: str, heard: str, language: str = ENGLISH_CODE) -> list[WordPair]:
    """Lay what was heard beside the text, by the alignment with the fewest wrong words.

    Where the language is written without spaces between words, single characters stand for words.

    >>> [(one.meant, one.heard) for one in pair_words("He visited Tbilisi.", "He visited T by LSE.") if not one.same]
    [('Tbilisi.', 'T by LSE.')]
    """
    (meant_words, meant), (heard_words, given) = _spelled(text, language), _spelled(heard, language)
    space = "" if language in UNSPACED else " "
    rows: list[tuple[int | None, int | None, bool]] = []  # written words on either side, and whether they agree
    for i, j in align([word for word, _ in meant], [word for word, _ in given]):
        same = i is not None and j is not None and meant[i][0] == given[j][0]
        rows.append((None if i is None else meant[i][1], None if j is None else given[j][1], same))
    # A written word of several spoken ones (1984, $21) is right where all of them are.
    wrong_meant, wrong_heard = ({row[side] for row in rows if not row[2]} for side in (0, 1))
    marked = [(i, j, same and i not in wrong_meant and j not in wrong_heard) for i, j, same in rows]
    pairs = []
    for kind, group in groupby(marked, key=lambda row: (row[2], row[0]) if row[2] else (False, None)):
        places = list(group)
        left = dict.fromkeys(i for i, _, _ in places if i is not None)
        right = dict.fromkeys(j for _, j, _ in places if j is not None)
        pairs.append(
            WordPair(space.join(meant_words[i] for i in left), space.join(heard_words[j] for j in right), kind[0])
        )
    return pairs


def in_words(pairs: list[WordPair], most: int = 4) -> str:
    """What was heard otherwise, as a sentence; that all was heard, where it was."""
    wrong = [pair for pair in pairs if not pair.same]
    if not wrong:
        return "Every word was heard as it was meant."
    told = [
        f'"{_bare(pair.meant)}" was heard as "{_bare(pair.heard)}"'
        if pair.meant and pair.heard
        else f'"{_bare(pair.meant)}" was not heard'
        if pair.meant
        else f'"{_bare(pair.heard)}" was heard, which is not in the text'
        for pair in wrong[:most]
    ]
    more = f", and {len(wrong) - most} more" if len(wrong) > most else ""
    return f"{'; '.join(told)}{more}."


def _bare(text: str) -> str:
    return text.strip(" .,;:!?")


def _spelled(text: str, language: str) -> tuple[list[str], list[tuple[str, int]]]:
    """The written words, and each spoken word with the number of the written one that it belongs to."""
    written = spoken_words(text, language) if language in UNSPACED else text.split()
    spoken = [(word, number) for number, one in enumerate(written) for word in spoken_words(one, language)]
    return written, spoken
