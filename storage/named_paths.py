"""What users name on a command line beside a plain path: ``PATH:KEY`` for a part of it, braces and stars for several.

``shards/{000000..000009}.tar`` and ``data/train-*.parquet`` name files, ``FILE.npz:KEY`` an array of one.
"""

from __future__ import annotations

import glob
import os
import re
from itertools import chain
from pathlib import Path
from typing import NamedTuple

__all__ = ["NamedPaths", "named_paths"]

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_CHOICE = re.compile(r"\{([^{}]*,[^{}]*)\}")
_MOST = 1_000_000  # files that one pattern may name


class NamedPaths(NamedTuple):
    """The files or the folder that a text names, in the order of their names, and the part that is named of each."""

    paths: list[Path]
    key: str
    is_pattern: bool


def named_paths(source: str | os.PathLike[str]) -> NamedPaths:
    """Find what a text names: what is there as it is written first, then without its ``:KEY``, then as a pattern.

    Raises
    ------
    FileNotFoundError
        If nothing is there of that name, or a file is missing that braces name.
    ValueError
        If braces name more than a million files.
    """
    text = os.fspath(source)
    head, _, key = text.rpartition(":")
    for path, part in ((text, ""), (head, key)):
        if path and os.path.exists(path) and not set(part) & {"/", "\\"}:
            return NamedPaths([Path(path)], part, False)
    for path, part in ((text, ""), (head, key)):
        if (found := _matching(path)) and not set(part) & {"/", "\\"}:
            return NamedPaths(found, part, True)
    raise FileNotFoundError(f"There is no {text}")


def _matching(pattern: str) -> list[Path]:
    """The files that a pattern names; none where it is no pattern, or nothing matches."""
    texts = _braces_expanded([pattern])
    if texts == [pattern] and not glob.has_magic(pattern):
        return []
    found = [sorted(glob.glob(text)) if glob.has_magic(text) else [text] for text in texts]
    missing = [text for text, one in zip(texts, found, strict=True) if not glob.has_magic(text) and not
               os.path.exists(text)]  # fmt: skip
    if missing and len(missing) < len(texts):
        raise FileNotFoundError(f"{pattern} names {len(texts)} files, of which {len(missing)} are missing, the first "
                                f"{missing[0]}")  # fmt: skip
    return [] if missing else [Path(one) for one in chain.from_iterable(found)]


def _braces_expanded(texts: list[str]) -> list[str]:
    found: list[str] = []
    for text in texts:
        numbers, choice = _RANGE.search(text), _CHOICE.search(text)
        if numbers:
            first, last = int(numbers[1]), int(numbers[2])
            if last - first >= _MOST:
                raise ValueError(f"{text} names {last - first + 1} files; {_MOST} are the most")
            parts = [str(number).zfill(len(numbers[1])) for number in range(first, last + 1)]
        elif choice:
            parts = choice[1].split(",")
        else:
            found.append(text)
            continue
        start, end = (numbers or choice).span()  # type: ignore[union-attr]
        found += _braces_expanded([f"{text[:start]}{part}{text[end:]}" for part in parts])
        if len(found) > _MOST:
            raise ValueError(f"{text} names more than {_MOST} files")
    return found
