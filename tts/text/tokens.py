"""What a voice reads: sentences as tokens with their kinds and words, what the front end dropped, and batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

__all__ = ["AT_ONCE", "KINDS", "Dropped", "Tokens", "check_same_layout", "group_by_length", "pad_ids"]

# phoneme: a sound; mark: stress and length; character: a letter of voices that read letters; punctuation: also the
# space; blank: between symbols; special: begin and end.
KINDS = ("phoneme", "mark", "character", "punctuation", "blank", "special")
AT_ONCE = 32  # sentences of one batch


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
    unsure : tuple of int
        Indices into `words` of those that another word of the text may stand for, beside a number or a sign.
    """

    text: str
    ids: tuple[int, ...]
    symbols: tuple[str, ...]
    kinds: tuple[str, ...]
    word_of: tuple[int, ...]
    words: tuple[str, ...]
    dropped: tuple[Dropped, ...] = ()
    unsure: tuple[int, ...] = ()

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
    """Check that there is one vector (n, d) for each token, and give them as float32.

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
    """Put ids of sentences into one array (b, longest) int64, filled up with 0; return it and lengths (b,) int64."""
    lengths = np.array([len(tokens) for tokens in batch], dtype=np.int64)
    ids = np.zeros((len(batch), int(lengths.max())), dtype=np.int64)
    for row, tokens in zip(ids, batch, strict=True):
        row[: len(tokens)] = tokens.ids
    return ids, lengths


def group_by_length(batch: Sequence[Tokens], *, padded: bool = True) -> Iterator[list[int]]:
    """Give the positions in `batch` of sentences to be encoded together, from short to long, `AT_ONCE` at most.

    With ``padded=False`` only sentences of equal length come together, for models that do not mask their padding.
    """
    order = sorted(range(len(batch)), key=lambda i: len(batch[i]))
    groups = [order] if padded else [list(rows) for _, rows in groupby(order, key=lambda i: len(batch[i]))]
    for group in groups:
        for start in range(0, len(group), AT_ONCE):
            yield group[start : start + AT_ONCE]
