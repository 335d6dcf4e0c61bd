"""One set of samples in shards: what is asked of all of them at once, and the one answer that their answers make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from genmend.manifold.engine.balls import Balls
from genmend.manifold.engine.tallies import Tallies
from genmend.manifold.sharded.shard_sums import balls_of_rows, merge_nearest, merge_queries, merge_references
from genmend.manifold.sharded.workers import HereCalls, RayCalls

__all__ = ["ShardGroup"]

Calls = HereCalls | RayCalls


class ShardGroup:
    """One set in shards.

    Parameters
    ----------
    calls
        What holds the shards.
    shards
        Their numbers there, in the order of the set's rows.
    sizes
        Rows of each.
    chosen
        The rows that count of each shard, ascending, where the set is a part of them; `sizes` are those of the parts.
    tag
        Tells the codes of the part from those of other parts.

    Attributes
    ----------
    starts
        Row at which each shard begins, and at the end n.
    """

    def __init__(
        self,
        calls: Calls,
        shards: Sequence[int],
        sizes: Sequence[int],
        chosen: Sequence[np.ndarray] | None = None,
        tag: int = 0,
    ) -> None:
        self._calls, self.shards, self._rows = calls, tuple(shards), chosen
        self._chosen = [None] * len(self.shards) if chosen is None else [calls.share((tag, one)) for one in chosen]
        self.starts = tuple(accumulate(sizes, initial=0))

    def __len__(self) -> int:
        return self.starts[-1]

    @property
    def slices(self) -> list[slice]:
        """Rows of each shard."""
        return [slice(start, stop) for start, stop in pairwise(self.starts)]

    def part(self, rows: np.ndarray, tag: int) -> ShardGroup:
        """The set of some of the rows, ascending; `tag` tells their codes from those of other parts."""
        cuts = np.searchsorted(rows, self.starts)
        filled = [place for place, (first, last) in enumerate(pairwise(cuts)) if last > first]
        here = [rows[cuts[place] : cuts[place + 1]] - self.starts[place] for place in filled]
        if self._rows is not None:  # a part of a part
            here = [self._rows[place][one] for place, one in zip(filled, here, strict=True)]
        return ShardGroup(self._calls, [self.shards[place] for place in filled], list(map(len, here)), here, tag)

    def segments(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """(place of the shard, first, last) of the rows `start` to `stop`."""
        for place, rows in enumerate(self.slices):
            first, last = max(start, rows.start), min(stop, rows.stop)
            if first < last:
                yield place, first - rows.start, last - rows.start

    def rows(self, place: int, first: int, last: int) -> Any:
        """A handle of some rows of one shard."""
        return self._calls.call("rows", self.shards[place], first, last, self._chosen[place])

    def nearest(self, start: int, stop: int, k: int) -> np.ndarray:
        """(stop - start, k) ascending distances of some rows to the k nearest others of the set."""
        found = []
        for place, first, last in self.segments(start, stop):
            rows = self.rows(place, first, last)
            found.append(merge_nearest(self._calls.get([
                self._calls.call("nearest", shard, rows, k, first if other == place else None, self._chosen[other])
                for other, shard in enumerate(self.shards)
            ]), k))  # fmt: skip
        return np.concatenate(found)

    def share_balls(self, several: Sequence[Balls]) -> list[Any]:
        """For each shard a handle of its balls of every k."""
        return [self._calls.share([balls_of_rows(one, rows) for one in several]) for rows in self.slices]

    def sweep(
        self,
        query: Any,
        shared: Sequence[Any],
        query_radii: np.ndarray | None = None,
        *,
        ratios: bool,
        about_reference: bool,
    ) -> list[Tallies]:
        """Queries (a handle) against the balls of all shards at once, for every k.

        Parameters
        ----------
        query, query_radii
            Handle of (m, d) features; (m, number of k) radii of theirs, where something needs them.
        shared
            `share_balls`.
        ratios
            Whether to find the least ratios, of the largest k.
        about_reference
            Whether the arrays of the reference are wanted.
        """
        return self._swept([query], shared, query_radii, ratios=ratios, about_reference=about_reference)

    def own_shard(self, place: int, shared: Sequence[Any], piece_size: int) -> list[Tallies]:
        """The samples of one shard against all balls but their own, for every k: what it says of the queries."""
        n = self.starts[place + 1] - self.starts[place]
        starts = range(0, n, piece_size)
        pieces = [self.rows(place, first, min(first + piece_size, n)) for first in starts]
        return self._swept(pieces, shared, None, ratios=True, about_reference=False, own=place)

    def _swept(
        self,
        queries: Sequence[Any],
        shared: Sequence[Any],
        query_radii: np.ndarray | None,
        *,
        ratios: bool,
        about_reference: bool,
        own: int | None = None,
    ) -> list[Tallies]:
        """Pieces of a query, or (`own`) all of a shard, whose own samples it gets as none."""
        called = [
            [
                self._calls.call(
                    "sweep", self.shards[place], query, balls, len(self), query_radii, ratios, about_reference,
                    self._chosen[place],
                )
                for query in (queries if place != own else [None])
            ]
            for place, balls in enumerate(shared)
        ]  # fmt: skip
        answers = iter(self._calls.get([handle for handles in called for handle in handles]))
        parts = [[next(answers) for _ in handles] for handles in called]
        n_several = len(parts[0][0])
        return [
            merge_references([merge_queries([piece[k] for piece in pieces]) for pieces in parts])
            for k in range(n_several)
        ]
