"""What one shard of the reference says, and how the answers of several shards become those of the whole.

Plain functions over arrays: loops over files, processes and Ray actors share them. Each merge takes its parts in any
grouping and gives the same bits as one pass over everything, because the parts are exact: sums of counts, OR of flags,
minima.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from manifold.engine import AnyScreen
from manifold.prdc_result import PRDCAtK
from manifold.scores import ManifoldScores, reciprocal, relative_distance
from manifold.sweep import BallHits, is_within, near_pairs


@dataclass(frozen=True)
class ShardScores:
    """What n reference samples say about m queries, before it is known what other samples say.

    Attributes
    ----------
    ball_count
        (m,) int64: balls that contain the query.
    least_radius
        (m,) float64: least radius among them, inf where there is none.
    ball
        (m,) int64: the ball that attains it (of equal ones the first), as a row of the whole reference; -1 for none.
    ratio
        (m,) float64: least distance / radius over all balls; inf if not asked for.
    kept_ratio
        (m,) float64: the same over the balls that count for realism.
    covered
        (n,) bool: the ball contains a query.
    recalled
        (n,) bool: the sample lies in a ball of the query; False if those were not given.
    """

    ball_count: np.ndarray
    least_radius: np.ndarray
    ball: np.ndarray
    ratio: np.ndarray
    kept_ratio: np.ndarray
    covered: np.ndarray
    recalled: np.ndarray


def sweep_shard(
    screen: AnyScreen,
    shard: np.ndarray,
    query: np.ndarray,
    radii: np.ndarray,
    *,
    start: int,
    closed: bool,
    kept: np.ndarray | None = None,
    query_radii: np.ndarray | None = None,
    skip_self: bool = False,
    block_size: int,
) -> ShardScores:
    """One sweep of the queries over one shard.

    Parameters
    ----------
    screen, shard, query
        The shard's screen; (n, d) and (m, d) checked features.
    radii, query_radii
        (n,) and, if `recalled` is wanted, (m,) float64, both measured in their whole sets.
    start
        Row of the whole reference at which the shard begins.
    closed
        Whether balls contain their sphere.
    kept
        (n,) bool, the balls that count for realism (`realism_balls` of all radii); without it no ratios.
    skip_self
        The query is the shard itself: leave out each sample's own ball.
    """
    hits = BallHits(radii, len(query), closed)
    ball_sets = [] if kept is None else [np.ones(len(shard), dtype=bool), kept]
    ratios = np.full((2, len(query)), np.inf)
    recalled = np.zeros(len(shard), dtype=bool)
    for pairs in near_pairs(
        screen, shard, query, radii, query_radii, closest_among=ball_sets, skip_self=skip_self, block_size=block_size
    ):
        hits.add(pairs)
        i, j, distances = pairs
        if query_radii is not None:
            recalled[j[is_within(distances, query_radii[i], closed)]] = True
        for least, balls in zip(ratios, ball_sets, strict=False):
            own = balls[j]
            np.minimum.at(least, i[own], relative_distance(distances[own], radii[j[own]]))
    ball = hits.smallest_ball
    return ShardScores(
        ball_count=hits.ball_count,
        least_radius=np.append(radii, np.inf)[ball],
        ball=np.where(ball < 0, -1, ball + start),
        ratio=ratios[0],
        kept_ratio=ratios[1],
        covered=hits.covered,
        recalled=recalled,
    )


def merge_references(parts: Sequence[ShardScores]) -> ShardScores:
    """The same queries against several shards, in the order of their rows, as one reference."""
    radius = np.stack([part.least_radius for part in parts])
    # Where several shards tie for the least radius, the ball that comes first in the whole reference.
    ball = np.where(radius == radius.min(axis=0), [part.ball for part in parts], np.iinfo(np.int64).max)
    return ShardScores(
        ball_count=np.sum([part.ball_count for part in parts], axis=0),
        least_radius=radius.min(axis=0),
        ball=ball.min(axis=0),
        ratio=np.min([part.ratio for part in parts], axis=0),
        kept_ratio=np.min([part.kept_ratio for part in parts], axis=0),
        covered=np.concatenate([part.covered for part in parts]),
        recalled=np.concatenate([part.recalled for part in parts]),
    )


def merge_queries(parts: Sequence[ShardScores]) -> ShardScores:
    """Several pieces of a query, in order, against the same reference, as one query."""
    flags = {name: np.any([getattr(part, name) for part in parts], axis=0) for name in ("covered", "recalled")}
    per_query = [field.name for field in fields(ShardScores) if field.name not in flags]
    return ShardScores(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in per_query}, **flags)


def merge_nearest(parts: Sequence[np.ndarray], k: int) -> np.ndarray:
    """(m, k) ascending distances to the k nearest over several shards, from the (m, any) of each; inf where missing."""
    together = np.concatenate([*parts, np.full((len(parts[0]), k), np.inf)], axis=1)
    return np.sort(np.partition(together, k - 1, axis=1)[:, :k], axis=1)


def realism_balls(radii: np.ndarray, median_filter: bool = True) -> np.ndarray:
    """(n,) bool: the balls that count for realism, from the radii of the *whole* reference.

    Those below the median radius; where none is below it (more than half tie for the smallest), those equal to it;
    without the filter all.
    """
    if not median_filter:
        return np.ones(len(radii), dtype=bool)
    median = np.median(radii)
    below = radii < median
    return below if below.any() else radii == median


def as_manifold_scores(scores: ShardScores) -> ManifoldScores:
    """The merged answers in the form `Manifold.evaluate` gives them."""
    return ManifoldScores(
        inside=scores.ball_count > 0,
        ball_count=scores.ball_count,
        rarity=np.where(scores.ball < 0, np.nan, scores.least_radius),
        nearest_ball=scores.ball,
        score=scores.ratio,
        realism=reciprocal(scores.kept_ratio),
    )


def as_prdc(scores: ShardScores, k: int) -> PRDCAtK:
    """The merged answers, query radii included, in the form `prdc` gives them for one k."""
    return PRDCAtK(
        k=k,
        inside=scores.ball_count > 0,
        ball_count=scores.ball_count,
        covered=scores.covered,
        recalled=scores.recalled,
    )
