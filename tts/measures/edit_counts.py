"""How two sequences differ: substitutions, deletions and insertions of the shortest way from one to the other."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["EditCounts", "align", "edit_counts"]


@dataclass(frozen=True)
class EditCounts:
    """Errors of what was heard against a reference; ``sum(counts, EditCounts())`` is over several sentences.

    Attributes
    ----------
    substitutions, deletions, insertions : int
        Deletions are what was skipped, insertions what was added or repeated.
    length : int
        Of the reference.
    """

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    length: int = 0

    @property
    def errors(self) -> int:
        """All of them."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors a unit of the reference: 0 if equal, may exceed 1; lower is better. NaN for an empty reference."""
        return self.errors / self.length if self.length else float("nan")

    def __add__(self, other: EditCounts) -> EditCounts:
        return EditCounts(*(a + b for a, b in zip(self._values, other._values, strict=True)))

    @property
    def _values(self) -> tuple[int, int, int, int]:
        return self.substitutions, self.deletions, self.insertions, self.length

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the counts, and their rate, None for an empty reference."""
        return {**asdict(self), "rate": self.rate if self.length else None}


def edit_counts(reference: Sequence[Hashable], heard: Sequence[Hashable]) -> EditCounts:
    """Count the errors of the alignment that `align` finds."""
    pairs = align(reference, heard)
    kept = [(i, j) for i, j in pairs if i is not None and j is not None]
    return EditCounts(
        substitutions=sum(reference[i] != heard[j] for i, j in kept),
        deletions=len(reference) - len(kept),
        insertions=len(heard) - len(kept),
        length=len(reference),
    )


def align(reference: Sequence[Hashable], heard: Sequence[Hashable]) -> list[tuple[int | None, int | None]]:
    """Pairs of positions, in order, of a way with the fewest errors: (i, None) is a deletion, (None, j) an insertion.

    Of ways with as many errors it takes, from the end, a pair before a deletion before an insertion.

    Source: Wagner and Fischer, "The string-to-string correction problem", 1974.
    """
    n, m = len(reference), len(heard)
    cost = [list(range(m + 1))]
    for i in range(1, n + 1):
        above, row = cost[-1], [i]
        for j in range(1, m + 1):
            paired = above[j - 1] + (reference[i - 1] != heard[j - 1])
            row.append(min(paired, above[j] + 1, row[j - 1] + 1))
        cost.append(row)
    pairs: list[tuple[int | None, int | None]] = []
    i, j = n, m
    while i or j:
        if i and j and cost[i][j] == cost[i - 1][j - 1] + (reference[i - 1] != heard[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif i and cost[i][j] == cost[i - 1][j] + 1:
            i -= 1
            pairs.append((i, None))
        else:
            j -= 1
            pairs.append((None, j))
    return pairs[::-1]
