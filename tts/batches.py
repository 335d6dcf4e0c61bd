"""Many sentences in batches: of like length, so that little is padding, or of equal length, so that nothing is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from tts.tokens import Tokens

__all__ = ["rows_at_once"]

AT_ONCE = 32


def rows_at_once(batch: Sequence[Tokens], *, padded: bool = True) -> Iterator[list[int]]:
    """Positions in `batch` of the sentences to be encoded together, from short to long, at most `AT_ONCE`.

    With ``padded=False`` only sentences of equal length come together, for models that do not mask their padding.
    """
    order = sorted(range(len(batch)), key=lambda i: len(batch[i]))
    groups = [order] if padded else [list(rows) for _, rows in groupby(order, key=lambda i: len(batch[i]))]
    for group in groups:
        for start in range(0, len(group), AT_ONCE):
            yield group[start : start + AT_ONCE]
