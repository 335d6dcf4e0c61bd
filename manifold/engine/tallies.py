"""What the pairs of a sweep add up to, for one k: counts, flags, least ratios and sums, all of which merge.

Each number is a sum, a minimum or an "or" over pairs. So it does not matter in which order or in how many parts the
pairs come: `merge` of the tallies of two parts is the tally of both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np

from genmend.manifold.engine.balls import Balls, is_within, log_misses, relative_distance
from genmend.manifold.engine.sweep import Pairs

__all__ = ["Tallies", "add_pairs", "add_ratios", "merge", "tally"]


@dataclass
class Tallies:
    """What all pairs seen so far add up to: m queries, n reference samples.

    Attributes
    ----------
    ball_count, clipped_count
        (m,) int64, sums: reference balls that contain the query, with radii as they are and clipped.
    query_count
        (n,) int64, sum: queries in the reference sample's ball.
    rank
        (m,) int64, minimum: place in `Balls.by_radius` of the smallest ball that contains the query, n for none.
    ratio, kept_ratio
        (m,) float64, minima: distance / radius over all balls, and over those that lend realism.
    recalled
        (n,) bool, or: the reference sample lies in a ball of the query.
    holds_reference
        (m,) bool, or: the query's own ball contains a reference sample.
    log_miss, reference_log_miss
        (m,) and (n,) float64, sums: log of the probability to be missed (`engine.balls.log_misses`).
    """

    ball_count: np.ndarray
    clipped_count: np.ndarray
    query_count: np.ndarray
    rank: np.ndarray
    ratio: np.ndarray
    kept_ratio: np.ndarray
    recalled: np.ndarray
    holds_reference: np.ndarray
    log_miss: np.ndarray
    reference_log_miss: np.ndarray

    @classmethod
    def empty(cls, n: int, m: int) -> Tallies:
        """Nothing seen yet of n reference and m query samples."""
        return cls(
            ball_count=np.zeros(m, dtype=np.int64),
            clipped_count=np.zeros(m, dtype=np.int64),
            query_count=np.zeros(n, dtype=np.int64),
            rank=np.full(m, n),
            ratio=np.full(m, np.inf),
            kept_ratio=np.full(m, np.inf),
            recalled=np.zeros(n, dtype=bool),
            holds_reference=np.zeros(m, dtype=bool),
            log_miss=np.zeros(m),
            reference_log_miss=np.zeros(n),
        )


# How two parts of a sweep go together; sums where nothing is said.
_MERGED_BY = {
    "rank": np.minimum,
    "ratio": np.minimum,
    "kept_ratio": np.minimum,
    "recalled": np.logical_or,
    "holds_reference": np.logical_or,
}


def merge(one: Tallies, other: Tallies) -> Tallies:
    """Tallies of two disjoint parts of the pairs of the same two sets, as if one sweep had seen both."""
    names = [field.name for field in fields(Tallies)]
    return Tallies(**{name: _MERGED_BY.get(name, np.add)(getattr(one, name), getattr(other, name)) for name in names})


def add_pairs(tallies: Tallies, pairs: Pairs, balls: Balls) -> None:
    """Add what the pairs (query i, reference j, distance) of a tile say, in place."""
    i, j, distances = pairs
    inside = is_within(distances, balls.radii[j], balls.closed)
    np.add.at(tallies.ball_count, i[inside], 1)
    np.add.at(tallies.query_count, j[inside], 1)
    np.minimum.at(tallies.rank, i[inside], balls.rank[j[inside]])
    np.add.at(tallies.clipped_count, i[is_within(distances, balls.clipped[j], balls.closed)], 1)
    add_ratios(tallies.ratio, tallies.kept_ratio, pairs, balls)
    if balls.query_radii is not None:
        reached = is_within(distances, balls.query_radii[i], balls.closed)
        tallies.holds_reference[i[reached]] = True
        tallies.recalled[j[reached]] = True
    if balls.reach is not None:
        np.add.at(tallies.log_miss, i, log_misses(distances, balls.reach))
    if balls.query_reach is not None:
        np.add.at(tallies.reference_log_miss, j, log_misses(distances, balls.query_reach))


def add_ratios(ratio: np.ndarray, kept_ratio: np.ndarray, pairs: Pairs, balls: Balls) -> None:
    """Lower the two (m,) minima of distance / radius to what the pairs attain, in place."""
    i, j, distances = pairs
    found, kept = relative_distance(distances, balls.radii[j]), balls.kept[j]
    np.minimum.at(ratio, i, found)
    np.minimum.at(kept_ratio, i[kept], found[kept])


def tally(
    tiles: Iterable[Pairs], balls: Sequence[Balls], n: int, m: int, *, n_ranks: int | None = None
) -> list[Tallies]:
    """The tallies of each k over all tiles of pairs of n reference and m query samples.

    `n_ranks` is the rank of a query in no ball, where that is not n: the reference is a shard of so many samples.
    """
    found = [Tallies.empty(n, m) for _ in balls]
    if n_ranks is not None:
        for tallies in found:
            tallies.rank[:] = n_ranks
    for pairs in tiles:
        for one, tallies in zip(balls, found, strict=True):
            add_pairs(tallies, pairs, one)
    return found
