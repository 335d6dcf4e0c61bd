"""The sweeps of `evaluate` over two sets in shards: the arrays of `per_sample_arrays`, by whatever holds the shards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np

from genmend.manifold.engine.balls import Balls
from genmend.manifold.engine.tallies import Tallies
from genmend.manifold.metrics.evaluation_sweep import (
    arrays_of,
    leave_one_out_arrays,
    query_limits,
    rows_with_open_ratios,
)
from genmend.manifold.sharded.shard_group import Calls, ShardGroup
from genmend.manifold.sharded.shard_sums import merge_queries
from genmend.storage.progress import counted, with_progress

__all__ = ["ShardedSweep"]

Found = TypeVar("Found")


class ShardedSweep:
    """Two sets in shards; called it gives what `evaluation_sweep.per_sample_arrays` gives of them, or of some rows.

    Every array is the same, bit for bit, but the probabilities of P-precision and P-recall, whose sums are added up in
    another order: these differ by rounding.

    Parameters
    ----------
    calls
        What holds the shards of both sets.
    reference, query
        The sets.
    piece_size
        Rows handed over at a time.
    progress
        Whether to show how far it is.
    n_parts
        How many parts of the sets will be asked for after both wholes: for the progress.
    """

    def __init__(
        self,
        calls: Calls,
        reference: ShardGroup,
        query: ShardGroup,
        *,
        piece_size: int,
        progress: bool = False,
        n_parts: int = 0,
    ) -> None:
        self._calls, self._piece_size, self._progress = calls, piece_size, progress
        self._reference, self._query = reference, query
        self._tag, self._n_parts, self._stack = 0, n_parts, ExitStack()
        self._part_done: Callable[[], None] | None = None

    def __call__(
        self,
        rows: tuple[np.ndarray, np.ndarray] | None = None,
        *,
        several: Sequence[int],
        closed: bool,
        query_balls: bool,
        ratios: bool,
        probabilistic: bool,
        leave_one_out: bool,
        known: Mapping[int, np.ndarray] | None = None,
        nearest: dict[str, np.ndarray] | None = None,
    ) -> dict[int, dict[str, np.ndarray]]:
        """For each k of `several` (ascending) the arrays by name.

        Parameters
        ----------
        rows
            Of the reference and of the query, ascending, where parts of them are meant.
        several, closed, query_balls, ratios, probabilistic, leave_one_out, known, nearest
            As for `per_sample_arrays`.
        """
        x, y, progress = self._reference, self._query, self._progress
        if rows is not None:
            if self._part_done is None:
                self._part_done = self._stack.enter_context(counted("intervals", self._n_parts, show=progress))
            self._tag, progress = self._tag + 1, False
            x, y = x.part(rows[0], self._tag), y.part(rows[1], self._tag)
        query_radii = None
        if query_balls:
            of_query, query_radii = self._radii(y, several, "radii of the query", progress)
            if nearest is not None:
                nearest["query"] = of_query
        if known is not None and set(several) <= set(known):
            radii, of_reference = np.column_stack([known[k] for k in several]), known.get(1)
        else:
            of_reference, radii = self._radii(x, several, "radii of the reference", progress)
        if nearest is not None and of_reference is not None:
            nearest["reference"] = of_reference
        balls = [
            Balls.of(
                radii[:, c],
                None if query_radii is None else np.ascontiguousarray(query_radii[:, c]),
                closed=closed,
                probabilistic=probabilistic,
            )
            for c in range(len(several))
        ]
        found = self._swept(x, y, balls, query_radii, ratios, progress)
        if ratios:
            limits = query_limits(balls, len(y))
            for one, tallies in zip(balls[:-1], found[:-1], strict=True):
                self._settle_ratios(tallies, one, limits, x, y)
        arrays = {
            k: arrays_of(tallies, one, ratios=ratios) for k, one, tallies in zip(several, balls, found, strict=True)
        }
        if leave_one_out:
            own = [replace(one, query_radii=None, reach=None, query_reach=None) for one in balls]
            for k, one, tallies in zip(several, own, self._left_out(x, own, progress), strict=True):
                arrays[k] |= leave_one_out_arrays(tallies, one, arrays[k]["rarity"])
        if rows is not None and self._part_done is not None:
            self._part_done()
        return arrays

    def close(self) -> None:
        """Let the shards go."""
        self._stack.close()
        self._calls.close()

    def _radii(
        self, group: ShardGroup, several: Sequence[int], description: str, progress: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """(n,) distances of the nearest other sample, and (n, len(several)) radii."""
        found = self._by_piece(
            group, lambda start, stop: group.nearest(start, stop, several[-1]), description, progress
        )
        nearest = np.concatenate(found)
        return nearest[:, 0], nearest[:, np.asarray(several) - 1]

    def _swept(
        self,
        x: ShardGroup,
        y: ShardGroup,
        balls: Sequence[Balls],
        query_radii: np.ndarray | None,
        ratios: bool,
        progress: bool,
        description: str = "distances",
    ) -> list[Tallies]:
        """The query against all shards, piece by piece, for every k."""
        shared = x.share_balls([replace(one, query_radii=None) for one in balls])

        def compute(start: int, stop: int) -> list[list[Tallies]]:
            found, first = [], start
            for place, top, end in y.segments(start, stop):
                last = first + end - top
                radii = None if query_radii is None else query_radii[first:last]
                query = y.rows(place, top, end)
                found.append(x.sweep(query, shared, radii, ratios=ratios, about_reference=True))
                first = last
            return found

        parts = [part for found in self._by_piece(y, compute, description, progress) for part in found]
        return [merge_queries([part[k] for part in parts]) for k in range(len(balls))]

    def _settle_ratios(
        self, tallies: Tallies, balls: Balls, limits: np.ndarray | None, x: ShardGroup, y: ShardGroup
    ) -> None:
        """Finish the least ratios of a k below the largest, of the queries where they are open."""
        rows = rows_with_open_ratios(tallies, balls, limits)
        if not len(rows):
            return
        self._tag += 1
        plain = replace(balls, query_radii=None, reach=None, query_reach=None)
        (found,) = self._swept(x, y.part(rows, self._tag), [plain], None, True, False)
        for name in ("ratio", "kept_ratio"):
            least = getattr(tallies, name)
            least[rows] = np.minimum(least[rows], getattr(found, name))

    def _left_out(self, x: ShardGroup, balls: Sequence[Balls], progress: bool) -> list[Tallies]:
        """Each sample of the reference against the balls of all others, shard by shard, for every k."""
        shared = x.share_balls(balls)
        places = range(len(x.shards))
        found = [
            self._calls.attempt(partial(x.own_shard, place, shared, self._piece_size))
            for place in with_progress(places, "the reference itself", len(places), show=progress)
        ]
        return [merge_queries([part[k] for part in found]) for k in range(len(balls))]

    def _by_piece(
        self, group: ShardGroup, compute: Callable[[int, int], Found], description: str, progress: bool
    ) -> list[Found]:
        n = len(group)
        starts = range(0, n, self._piece_size)
        return [
            self._calls.attempt(partial(compute, start, min(start + self._piece_size, n)))
            for start in with_progress(starts, description, len(starts), show=progress)
        ]
