"""The sweeps of `evaluate`: from two sets of features to per-sample arrays for every k.

One self-join a set gives the radii. One sweep over reference and query serves all k and all metrics; one more over the
reference alone gives its leave-one-out values, where something needs them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from genmend.manifold.engine.balls import Balls, hit_probability, reciprocal
from genmend.manifold.engine.radii import radii_of
from genmend.manifold.engine.screens import AnyScreen, screen_of, screens_of
from genmend.manifold.engine.sweep import near_pairs
from genmend.manifold.engine.tallies import Tallies, add_ratios, tally

__all__ = [
    "arrays_of",
    "leave_one_out_arrays",
    "per_sample_arrays",
    "query_limits",
    "rarity_percentile",
    "rows_with_open_ratios",
]

# Blocks of queries that a follow-up copies at a time.
_BLOCKS = 16


def per_sample_arrays(
    reference: np.ndarray,
    query: np.ndarray,
    several: Sequence[int],
    *,
    closed: bool,
    query_balls: bool,
    ratios: bool,
    probabilistic: bool,
    leave_one_out: bool,
    device: str,
    block_size: int,
    known: Mapping[int, np.ndarray] | None = None,
    nearest: dict[str, np.ndarray] | None = None,
) -> dict[int, dict[str, np.ndarray]]:
    """For each k of `several` (ascending) the arrays by name; `Evaluation.per_sample` says what they are.

    Parameters
    ----------
    reference, query
        (n, d) and (m, d) checked features.
    query_balls, ratios, probabilistic, leave_one_out
        Which of the costlier ones to compute: those of the query's balls; realism and score; the probabilities of
        P-precision and, with the query's balls, of P-recall; those of the reference itself.
    device
        Where the features came from; see `engine.screens.screen_of`.
    known
        Radii (n,) of the reference by k; computed unless those of every k are there.
    nearest
        Where to put how far each sample is from the nearest other one of its set, by the set's name, where radii are
        computed (or known for k = 1, too): (n,) of "reference", (m,) of "query".
    """
    n, m = len(reference), len(query)
    query_radii = query_screen = None
    if query_balls:
        screen, query_screen = screens_of(reference, query, device)
        query_nearest, query_radii = _radii(query_screen, query, several, block_size)
        if nearest is not None:
            nearest["query"] = query_nearest
    else:
        screen = screen_of(reference, device)
    if known is not None and set(several) <= set(known):
        radii, own_nearest = np.column_stack([known[k] for k in several]), known.get(1)
    else:
        own_nearest, radii = _radii(screen, reference, several, block_size)
    if nearest is not None and own_nearest is not None:
        nearest["reference"] = own_nearest
    balls = [
        Balls.of(
            radii[:, c],
            None if query_radii is None else query_radii[:, c],
            closed=closed,
            probabilistic=probabilistic,
        )
        for c in range(len(several))
    ]
    largest, limits = balls[-1], query_limits(balls, m)
    ball_sets = [np.ones(n, dtype=bool), largest.kept] if ratios else []
    tiles = near_pairs(
        screen,
        reference,
        query,
        largest.radii,
        limits,
        closest_among=ball_sets,
        query_screen=query_screen,
        block_size=block_size,
    )
    found = tally(tiles, balls, n, m)
    if ratios:
        for one, tallies in zip(balls[:-1], found[:-1], strict=True):
            _settle_ratios(tallies, one, limits, screen, reference, query, block_size)
    arrays = {k: arrays_of(tallies, one, ratios=ratios) for k, one, tallies in zip(several, balls, found, strict=True)}
    if leave_one_out:
        own = [replace(one, query_radii=None, reach=None, query_reach=None) for one in balls]
        tiles = near_pairs(screen, reference, reference, largest.radii, skip_self=True, block_size=block_size)
        for k, one, tallies in zip(several, own, tally(tiles, own, n, n), strict=True):
            arrays[k] |= leave_one_out_arrays(tallies, one, arrays[k]["rarity"])
    return arrays


def _radii(
    screen: AnyScreen, features: np.ndarray, several: Sequence[int], block_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """(n,) distances of the nearest other sample, and (n, len(several)) radii."""
    found = radii_of(screen, features, (1, *several), block_size)
    return found[:, 0], found[:, 1:]


def query_limits(balls: Sequence[Balls], m: int) -> np.ndarray | None:
    """(m,) how far round each query the sweep has to see every reference sample, beyond the reference's own balls.

    The reaches of P-precision stand here and not among the reference's radii, which are to stay those of the largest
    k: the sweep's closest balls are closest by distance / radius.
    """
    reaches = [reach for one in balls for reach in (one.reach, one.query_reach) if reach is not None]
    query_radii = balls[-1].query_radii
    if query_radii is None:
        return np.full(m, max(reaches)) if reaches else None
    return np.maximum(query_radii, max(reaches, default=0.0))


def rows_with_open_ratios(tallies: Tallies, balls: Balls, limits: np.ndarray | None) -> np.ndarray:
    """Queries whose least ratios, for a k below the largest, a pair may undercut that the sweep has left out.

    The sweep looked for those of the largest k. A pair that it left out is farther apart than the larger ball's radius
    and than the query's limit. Ratios that no such pair can undercut are settled, among them all up to 1.
    """
    open_ = np.zeros(len(tallies.ratio), dtype=bool)
    for least, members in zip((tallies.ratio, tallies.kept_ratio), _ball_sets(balls), strict=True):
        farthest = balls.radii[members].max()
        if farthest > 0:  # beyond a radius of 0 every ratio is infinite
            open_ |= least > np.maximum(1, 0 if limits is None else limits / farthest)
    return np.flatnonzero(open_)


def _ball_sets(balls: Balls) -> list[np.ndarray]:
    return [np.ones(len(balls.radii), dtype=bool), balls.kept]


def _settle_ratios(
    tallies: Tallies,
    balls: Balls,
    limits: np.ndarray | None,
    screen: AnyScreen,
    reference: np.ndarray,
    query: np.ndarray,
    block_size: int,
) -> None:
    """Finish the least ratios of a k below the largest, by a sweep over `rows_with_open_ratios`."""
    rows = rows_with_open_ratios(tallies, balls, limits)
    for start in range(0, len(rows), _BLOCKS * block_size):
        part = rows[start : start + _BLOCKS * block_size]
        for i, j, distances in near_pairs(
            screen, reference, query[part], balls.radii, closest_among=_ball_sets(balls), block_size=block_size
        ):
            add_ratios(tallies.ratio, tallies.kept_ratio, (part[i], j, distances), balls)


def arrays_of(tallies: Tallies, balls: Balls, *, ratios: bool) -> dict[str, np.ndarray]:
    """The per-sample arrays of one k by name; `ratios`: the tallies hold the least ratios, so realism and score too."""
    nearest = balls.by_radius[tallies.rank]
    arrays = {
        "radius": balls.radii,
        "inside": tallies.ball_count > 0,
        "ball_count": tallies.ball_count,
        "clipped_count": tallies.clipped_count,
        "nearest_ball": nearest,
        "rarity": np.append(balls.radii, np.nan)[nearest],
        "covered": tallies.query_count > 0,
        "query_count": tallies.query_count,
    }
    if ratios:
        arrays |= {"score": tallies.ratio, "realism": reciprocal(tallies.kept_ratio)}
    if balls.query_radii is not None:
        arrays |= {"recalled": tallies.recalled, "holds_reference": tallies.holds_reference}
    if balls.reach is not None:
        arrays["p_inside"] = hit_probability(tallies.log_miss)
    if balls.query_reach is not None:
        arrays["p_recalled"] = hit_probability(tallies.reference_log_miss)
    return arrays


def leave_one_out_arrays(tallies: Tallies, balls: Balls, rarity: np.ndarray) -> Mapping[str, np.ndarray]:
    """Of one k what the reference says of itself, each sample left out of its own ball, beside the query's rarity."""
    own = np.append(balls.radii, np.nan)[balls.by_radius[tallies.rank]]
    return {
        "reference_rarity": own,
        "reference_clipped_count": tallies.clipped_count,
        "rarity_percentile": rarity_percentile(rarity, own),
    }


def rarity_percentile(rarity: np.ndarray, reference_rarity: np.ndarray) -> np.ndarray:
    """(m,) share of the reference's leave-one-out rarities that are no larger, in [0, 1]; higher is rarer.

    Comparable across features and sizes, as rarity itself is not. Equal values count as no larger (an empirical
    distribution function), so the rarest possible is 1 and many equal values lift all of them. Reference samples
    without a rarity, in no ball but their own, are left out. For equal distributions the mean lies above one half
    (2,000 samples of each, seeds 0 and 1, k = 5: 0.51 for 256 normal features, 0.63 for 3 uniform ones): a reference
    sample is itself among the neighbours that set the radii of the balls round it, and keeps them smaller than they are
    round a query. NaN where the query has no rarity or no reference sample has one.
    """
    known = np.sort(reference_rarity[~np.isnan(reference_rarity)])
    if not len(known):
        return np.full(len(rarity), np.nan)
    return np.where(np.isnan(rarity), np.nan, np.searchsorted(known, rarity, side="right") / len(known))
