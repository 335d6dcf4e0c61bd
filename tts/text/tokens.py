"""What a voice reads: a sentence as tokens, each with its kind and word, and what the front end had to drop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

__all__ = ["KINDS", "Dropped", "Tokens", "check_same_layout", "group_by_length"]

# phoneme: a sound; mark: stress and length; character: a letter of voices that read letters; punctuation: also the
# space; blank: between symbols; special: begin and end.
KINDS = ("phoneme", "mark", "character", "punctuation", "blank", "special")


@dataclass(frozen=True)
class Dropped:
    """A symbol that the voice does not know, left out by its front end: no repair of vectors brings it back.

    Attributes
    ----------
    symbol : str
    word : int
        Index into `Tokens.words` of the word it belonged to; -1 where it belonged to none.
    reason : str
    """

    symbol: str
    word: int
    reason: str = "not in the voice's table of symbols"


@dataclass(frozen=True)
class Tokens:
    """One sentence as a voice reads it.

    Attributes
    ----------
    text : str
        What was given.
    ids : tuple of int
        (n,) the numbers the model takes.
    symbols : tuple of str
        (n,) what each stands for; `groups` of the normal region.
    kinds : tuple of str
        (n,) each one of `KINDS`.
    word_of : tuple of int
        (n,) index into `words`; -1 for tokens of no word.
    words : tuple of str
        The words as a reader knows them: those of the text where they can be matched, else their phonemes.
    dropped : tuple of Dropped
        What the front end left out.
    """

    text: str
    ids: tuple[int, ...]
    symbols: tuple[str, ...]
    kinds: tuple[str, ...]
    word_of: tuple[int, ...]
    words: tuple[str, ...]
    dropped: tuple[Dropped, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def spoken(self) -> np.ndarray:
        """(n,) bool: tokens that are judged, which are all but blanks, begin and end."""
        return np.array([kind not in ("blank", "special") for kind in self.kinds], dtype=bool)

    @property
    def sounds(self) -> list[int]:
        """Positions of the tokens that have a sound of their own: phonemes and characters."""
        return [i for i, kind in enumerate(self.kinds) if kind in ("phoneme", "character")]

    @property
    def phonemes(self) -> str:
        """The symbols of the spoken tokens, joined."""
        return "".join(symbol for symbol, spoken in zip(self.symbols, self.spoken, strict=True) if spoken)


def check_same_layout(tokens: Tokens, vectors: np.ndarray, layer: str) -> np.ndarray:
    """The vectors (n, d) as float32, one for each token.

    Raises
    ------
    ValueError
        If there are not as many as tokens, or any is not finite.
    """
    array = np.asarray(vectors, dtype=np.float32)
    if array.ndim != 2 or len(array) != len(tokens):
        raise ValueError(
            f"vectors of {layer!r} have shape {array.shape}, but the sentence has {len(tokens)} tokens; "
            f"give an array ({len(tokens)}, d), as encode returns it."
        )
    if not np.isfinite(array).all():
        raise ValueError(f"vectors of {layer!r} hold NaN or infinity; only finite numbers can be spoken.")
    return array


def pad_ids(batch: Sequence[Tokens]) -> tuple[np.ndarray, np.ndarray]:
    """Ids of several sentences as one array (b, longest) int64, filled up with 0, and their lengths (b,) int64."""
    lengths = np.array([len(tokens) for tokens in batch], dtype=np.int64)
    ids = np.zeros((len(batch), int(lengths.max())), dtype=np.int64)
    for row, tokens in zip(ids, batch, strict=True):
        row[: len(tokens)] = tokens.ids
    return ids, lengths


AT_ONCE = 32


def group_by_length(batch: Sequence[Tokens], *, padded: bool = True) -> Iterator[list[int]]:
    """Positions in `batch` of the sentences to be encoded together, from short to long, at most `AT_ONCE`.

    With ``padded=False`` only sentences of equal length come together, for models that do not mask their padding.
    """
    order = sorted(range(len(batch)), key=lambda i: len(batch[i]))
    groups = [order] if padded else [list(rows) for _, rows in groupby(order, key=lambda i: len(batch[i]))]
    for group in groups:
        for start in range(0, len(group), AT_ONCE):
            yield group[start : start + AT_ONCE]
