"""A lexicon: how words that espeak-ng misreads, names above all, are said; a file of two columns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

__all__ = ["read_lexicon", "split_at_words"]


def read_lexicon(path: str | Path) -> dict[str, str]:
    """Read a UTF-8 file of words, one a line: the word (or several), a tab, its phonemes in IPA.

    Empty lines and lines that begin with # are left out.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not UTF-8 text, a line has not two columns, a word stands twice with other phonemes, or there is none.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error}): give words, one a line: WORD, a tab, IPA.") from error
    found: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        word, _, phonemes = (" ".join(part.split()) for part in line.partition("\t"))
        if not word or not phonemes:
            raise ValueError(f"Line {number} of {path} is {line[:60]!r}: give a word, a tab and its phonemes in IPA.")
        if found.setdefault(word.casefold(), phonemes) != phonemes:
            raise ValueError(f"Line {number} of {path} has {word!r} again with other phonemes: leave one of the two.")
    if not found:
        raise ValueError(f"{path} holds no word: give words, one a line: WORD, a tab, IPA.")
    return found


def split_at_words(text: str, lexicon: Mapping[str, str]) -> list[str]:
    """Split a text at the words of the lexicon: what stands before, the word, what stands between, and so on.

    >>> split_at_words("Nguyen left Tbilisi.", {"nguyen": "ŋwiən", "tbilisi": "təbɪlˈiːsi"})
    ['', 'Nguyen', ' left ', 'Tbilisi', '.']
    """
    if not lexicon:
        return [text]
    # The longest first: of "New" and "New York" the latter.
    words = "|".join(re.escape(word).replace(r"\ ", r"\s+") for word in sorted(lexicon, key=len, reverse=True))
    return re.split(rf"(?<!\w)({words})(?!\w)", text, flags=re.IGNORECASE)
