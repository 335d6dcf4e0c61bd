"""One pass over reference and query that finds every pair which can matter, with its exact distance.

Whatever yields at least these pairs, exactly measured, may replace `near_pairs`: that is where a faster pass goes in.
`engine.tallies` adds up what the pairs say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from genmend.manifold.engine.distances import pair_distances
from genmend.manifold.engine.native_screen import NativeScreen
from genmend.manifold.engine.numpy_screen import LEAST_SQUARED_RADIUS, squared_limits
from genmend.manifold.engine.screens import AnyScreen
from genmend.manifold.engine.tiles import exclude, least_in_rows, near, scaled_columns, some_columns

Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]

_ROUND_UP = 1 + 2.0**-20


def near_pairs(
    screen: AnyScreen,
    reference: np.ndarray,
    query: np.ndarray,
    radii: np.ndarray,
    query_radii: np.ndarray | None = None,
    *,
    closest_among: Sequence[np.ndarray] = (),
    skip_self: bool = False,
    query_screen: AnyScreen | None = None,
    block_size: int,
) -> Iterator[Pairs]:
    """Yield (i, j, distance) arrays: query i, reference j, each pair at most once, tile by tile.

    Among them are all pairs with distance <= radii[j], all with distance <= query_radii[i], and, for every set of
    balls in `closest_among`, the pairs of each query with the least distance / radius. Further pairs may come along.

    Parameters
    ----------
    screen, reference, query
        The reference's screen; (n, d) and (m, d) checked features.
    radii, query_radii
        (n,) and (m,) float64.
    closest_among
        (n,) boolean masks of balls. Balls of radius 0 are left out: they have a finite ratio at distance 0 only, and
        such pairs come anyway.
    skip_self
        Leave out the pairs i == j: query and reference are the same set.
    query_screen
        The query's own screen of `engine.screens.screens_of`, if there is one: saves encoding it again.
    block_size
        Rows and columns of a tile; bounds the memory, never changes what the pairs add up to.
    """
    ball_sets = [mask & (radii > 0) for mask in closest_among]
    if isinstance(screen, NativeScreen):
        encoded = query_screen if isinstance(query_screen, NativeScreen) else None
        yield from screen.near_pairs(query, radii, query_radii, ball_sets, skip_self, block_size**2, encoded)
        return
    n, m = len(reference), len(query)
    ball_limits = screen.thresholds(radii)
    query_limits = None if query_radii is None else screen.thresholds(query_radii)
    # Of the limits as they are: rounding of the product, which raises them, is taken off the bounds instead.
    inverse = screen.shrink / np.maximum(squared_limits(radii, screen.scale), LEAST_SQUARED_RADIUS)
    buffer = np.empty(min(block_size, m) * min(block_size, n), dtype=np.float32)

    for top in range(0, m, block_size):
        rows = slice(top, min(top + block_size, m))
        codes = screen.encode(query[rows])
        # Per ball set and query: the least squared distance / radius found so far, rounded up.
        best = np.full((len(ball_sets), rows.stop - top), np.inf)
        for left in range(0, n, block_size):
            columns = slice(left, min(left + block_size, n))
            bounds = screen.bounds(codes, columns, buffer)
            if skip_self:
                own = np.arange(max(top, left), min(rows.stop, columns.stop))
                exclude(bounds, own - top, own - left)
            found = [near(bounds, None if query_limits is None else query_limits[rows], ball_limits[columns])]
            if ball_sets:
                bounds = scaled_columns(bounds, inverse[columns])  # now lower bounds of (distance / radius)^2
            for least, balls in zip(best, ball_sets, strict=True):
                inside = np.flatnonzero(balls[columns])
                if not inside.size:
                    continue
                ratios = some_columns(bounds, inside)
                j, lowest = least_in_rows(ratios)
                i = np.flatnonzero(lowest < least)
                j = left + inside[j[i]]
                with np.errstate(over="ignore"):  # an infinite ratio rules nothing out
                    exact = np.square(pair_distances(query[rows], i, reference, j) / radii[j])
                least[i] = np.minimum(least[i], exact * _ROUND_UP)
                i, j = near(ratios, least)
                found.append((i, inside[j]))
            i, j = _together(found, columns.stop - left)
            yield top + i, left + j, pair_distances(query[rows], i, reference[columns], j)


def _together(found: Sequence[tuple[np.ndarray, np.ndarray]], width: int) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of several lists, each pair once."""
    if len(found) == 1:
        return found[0]
    return np.divmod(np.unique(np.concatenate([i * width + j for i, j in found])), width)
