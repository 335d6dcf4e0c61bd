"""What one shard of the reference says, and how the answers of several shards become those of the whole.

Plain functions over arrays: loops over files, processes and Ray actors share them. A shard's answer is the `Tallies` of
its pairs. Parts go together by `tallies.merge` in any grouping, and give the same bits as one pass over everything,
because they are exact: sums of counts, OR of flags, minima.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce

import numpy as np

from genmend.manifold.engine.balls import Balls
from genmend.manifold.engine.screens import AnyScreen
from genmend.manifold.engine.sweep import near_pairs
from genmend.manifold.engine.tallies import Tallies, merge, tally
from genmend.manifold.metrics.evaluation_sweep import query_limits

# The arrays of `Tallies` that have an entry for each reference sample; the others have one for each query.
PER_REFERENCE = ("query_count", "recalled", "reference_log_miss")
PER_QUERY = ("ball_count", "clipped_count", "rank", "ratio", "kept_ratio", "holds_reference", "log_miss")


def balls_of_rows(balls: Balls, rows: slice) -> Balls:
    """The balls of a shard, as they are among those of the whole reference: same ranks, same median radius."""
    own = {name: getattr(balls, name)[rows] for name in ("radii", "clipped", "kept", "rank")}
    return replace(balls, **own, by_radius=np.empty(0, dtype=np.int64))


def sweep_shard(
    screen: AnyScreen,
    shard: np.ndarray,
    query: np.ndarray,
    several: Sequence[Balls],
    *,
    n_reference: int,
    ratios: bool = True,
    skip_self: bool = False,
    block_size: int,
) -> list[Tallies]:
    """One sweep of the queries over one shard, for every k.

    Parameters
    ----------
    screen, shard, query
        The shard's screen; (n, d) and (m, d) checked features.
    several
        `balls_of_rows` of the shard by ascending k, with the queries' radii if `recalled` and `holds_reference` are
        wanted.
    n_reference
        Samples of the whole reference: the rank of a query in no ball.
    ratios
        Whether to find the least ratios, of the largest k: without, they are those of the pairs that came along.
    skip_self
        The query is the shard itself: leave out each sample's own ball.
    """
    largest = several[-1]
    tiles = near_pairs(
        screen,
        shard,
        query,
        largest.radii,
        query_limits(several, len(query)),
        closest_among=[np.ones(len(shard), dtype=bool), largest.kept] if ratios else [],
        skip_self=skip_self,
        block_size=block_size,
    )
    return tally(tiles, several, len(shard), len(query), n_ranks=n_reference)


def without_reference(tallies: Tallies) -> Tallies:
    """What the tallies say about the queries only: the arrays of the reference are empty."""
    return replace(tallies, **{name: getattr(tallies, name)[:0] for name in PER_REFERENCE})


def merge_references(parts: Sequence[Tallies]) -> Tallies:
    """The same queries against several shards, in the order of their rows, as one reference."""
    return _join(parts, PER_REFERENCE)


def merge_queries(parts: Sequence[Tallies]) -> Tallies:
    """Several pieces of a query, in order, against the same reference, as one query."""
    return _join(parts, PER_QUERY)


def _join(parts: Sequence[Tallies], names: Sequence[str]) -> Tallies:
    """The arrays called `names` put side by side, the others merged."""
    side_by_side = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    nothing = {name: values[:0] for name, values in side_by_side.items()}
    return replace(reduce(merge, [replace(part, **nothing) for part in parts]), **side_by_side)


def merge_nearest(parts: Sequence[np.ndarray], k: int) -> np.ndarray:
    """(m, k) ascending distances to the k nearest over several shards, from the (m, any) of each; inf where missing."""
    together = np.concatenate([*parts, np.full((len(parts[0]), k), np.inf)], axis=1)
    return np.sort(np.partition(together, k - 1, axis=1)[:, :k], axis=1)
