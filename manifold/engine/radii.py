"""Radii of the k-NN balls: the distance of every sample to its k-th nearest other sample."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from genmend.manifold.engine.distances import pair_distances
from genmend.manifold.engine.inputs import as_count, as_features, device_of, like, need_samples
from genmend.manifold.engine.native_screen import NativeScreen
from genmend.manifold.engine.numpy_screen import Screen
from genmend.manifold.engine.screens import AnyScreen, screen_of
from genmend.manifold.engine.tiles import exclude, near, smallest

BLOCK_SIZE = 1024


def knn_radii(reference: Any, k: int | Sequence[int], *, block_size: int = BLOCK_SIZE) -> Any:
    """Distance of each sample to its k-th nearest other sample of the same set.

    A sample is excluded from its own neighbours by index, so an exact duplicate is a neighbour at distance 0. Equal
    to a float64 brute-force search (direct differences), whatever offset the features share.

    Parameters
    ----------
    reference
        (n, d) features, n >= k + 1; numpy, or a torch tensor (screened on its device, measured on the CPU).
    k
        One number of neighbours, or several: they share one pass.
    block_size
        Rows and columns of the tiles compared at a time; memory beyond the features is 4 n (d + 2) bytes for the
        screen plus tens of bytes for each pair of one tile. Does not change the result.

    Returns
    -------
    (n,) float64 for one k, (n, len(k)) for several, in feature units, non-decreasing in k; a tensor on the same
    device for a tensor.

    Raises
    ------
    ValueError
        If there are fewer than k + 1 samples, or features are not finite.

    Notes
    -----
    Source: the radii of Kynkäänniemi et al., "Improved Precision and Recall Metric", section 2, eq. 1, arXiv
    1904.06991.

    Examples
    --------
    >>> knn_radii([[0.0], [1.0], [3.0], [7.0]], k=1)
    array([1., 1., 2., 4.])
    """
    features = as_features(reference, "reference")
    several = counts(k)
    need_samples(len(features), max(several), "reference")
    radii = radii_of(screen_of(features, device_of(reference)), features, several, as_count(block_size, "block_size"))
    return like(radii if isinstance(k, Sequence) else radii[:, 0], reference)


def counts(k: int | Sequence[int]) -> tuple[int, ...]:
    """One or several k as a tuple, checked."""
    if isinstance(k, Sequence) and not isinstance(k, str):
        if not k:
            raise ValueError("k is empty; give one integer of at least 1, or several")
        return tuple(as_count(one, "k") for one in k)
    return (as_count(k, "k"),)


def radii_of(screen: AnyScreen, features: np.ndarray, several: Sequence[int], block_size: int) -> np.ndarray:
    """(n, len(several)) radii of checked features and their own screen."""
    if isinstance(screen, NativeScreen):
        nearest = screen.nearest(None, max(several), own=0)
    else:
        nearest = _nearest_of_itself(screen, features, max(several), block_size)
    return nearest[:, np.asarray(several) - 1]


def nearest_distances(
    screen: AnyScreen,
    reference: np.ndarray,
    query: np.ndarray,
    k: int,
    own: int | None = None,
    *,
    block_size: int = BLOCK_SIZE,
) -> np.ndarray:
    """Distances of each query to its k nearest reference samples.

    Parameters
    ----------
    screen, reference, query
        The reference's screen; (n, d) and (m, d) checked features.
    k
        At most n, or n - 1 where the queries are samples of the reference.
    own
        Where the queries are reference samples: the reference's row that query 0 is. Each is excluded from its own
        neighbours by this index.

    Returns
    -------
    (m, k) float64, ascending.
    """
    if isinstance(screen, NativeScreen):
        return screen.nearest(query, k, own)
    n, block = len(reference), max(block_size, k + 1)
    nearest = np.full((len(query), k), np.inf)
    buffer = np.empty(min(block, len(query)) * min(block, n), dtype=np.float32)
    for top in range(0, len(query), block):
        rows = slice(top, min(top + block, len(query)))
        codes = screen.encode(query[rows])
        for left in range(0, n, block):
            columns = slice(left, min(left + block, n))
            bounds = screen.bounds(codes, columns, buffer)
            if own is not None:
                excluded = np.arange(max(own + top, left), min(own + rows.stop, columns.stop))
                exclude(bounds, excluded - own - top, excluded - left)
            if left == 0:  # k neighbours to start with; a tile of fewer columns than that leaves none out
                i, j = smallest(bounds, k)
                _insert(nearest[rows], i, pair_distances(query[rows], i, reference[columns], j))
                exclude(bounds, i, j)
            i, j = near(bounds, _limits(screen, nearest[rows]))
            _insert(nearest[rows], i, pair_distances(query[rows], i, reference[columns], j))
    return nearest


def _nearest_of_itself(screen: Screen, features: np.ndarray, k: int, block_size: int) -> np.ndarray:
    """(n, k) ascending distances of each sample to its k nearest others."""
    n = len(features)
    # Every tile on the diagonal must hold k neighbours for each of its points, so that a finite radius prunes the rest.
    n_blocks = max(1, min(-(-n // block_size), n // (k + 1)))
    edges = [n * b // n_blocks for b in range(n_blocks + 1)]
    blocks = [slice(start, stop) for start, stop in pairwise(edges)]
    buffer = np.empty(max(b.stop - b.start for b in blocks) ** 2, dtype=np.float32)
    nearest = np.full((n, k), np.inf)  # ascending distances to the k nearest found so far

    for block in blocks:
        bounds = screen.bounds(screen.encode_own(block), block, buffer)
        own = np.arange(len(bounds))
        exclude(bounds, own, own)  # not one's own neighbour, by index
        i, j = smallest(bounds, k)
        _insert(nearest[block], i, pair_distances(features[block], i, features[block], j))
        exclude(bounds, i, j)
        i, j = near(bounds, _limits(screen, nearest[block]))
        _insert(nearest[block], i, pair_distances(features[block], i, features[block], j))

    for number, rows in enumerate(blocks):  # each pair of blocks once: a distance serves both of its ends
        codes = screen.encode_own(rows)
        for columns in blocks[number + 1 :]:
            bounds = screen.bounds(codes, columns, buffer)
            i, j = near(bounds, _limits(screen, nearest[rows]), _limits(screen, nearest[columns]))
            distances = pair_distances(features[rows], i, features[columns], j)
            _insert(nearest[rows], i, distances)
            _insert(nearest[columns], j, distances)
    return nearest


def _limits(screen: Screen, nearest: np.ndarray) -> np.ndarray:
    """Up to which bound a pair can still lower the k-th distance; nothing lowers a zero."""
    limits = screen.thresholds(nearest[:, -1])
    limits[nearest[:, -1] == 0] = -np.inf
    return limits


def _insert(nearest: np.ndarray, i: np.ndarray, distances: np.ndarray) -> None:
    """Merge new neighbours, `distances[p]` of point `i[p]`, into the ascending rows of `nearest`, in place."""
    k = nearest.shape[1]
    useful = distances < nearest[i, -1]
    i, distances = i[useful], distances[useful]
    order = np.lexsort((distances, i))
    i, distances = i[order], distances[order]
    points, first = np.unique(i, return_index=True)
    rank = np.arange(len(i)) - np.repeat(first, np.diff(first, append=len(i)))
    row = np.searchsorted(points, i)
    keep = rank < k
    new = np.full((len(points), k), np.inf)
    new[row[keep], rank[keep]] = distances[keep]
    nearest[points] = np.sort(np.concatenate([nearest[points], new], axis=1), axis=1)[:, :k]
