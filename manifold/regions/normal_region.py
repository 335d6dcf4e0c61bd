"""The region of normal vectors, group by group: which vectors left it, and the smallest move that brings them back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from genmend.manifold.engine.distances import pair_distances
from genmend.manifold.engine.inputs import as_closed, as_count, as_features, like, need_samples, to_array
from genmend.manifold.engine.nearest import nearest_balls, nearest_samples
from genmend.manifold.engine.radii import BLOCK_SIZE
from genmend.manifold.engine.screens import screen_of
from genmend.manifold.regions.manifold import Manifold
from genmend.manifold.regions.smallest_move import step_inside, stored_like
from genmend.storage.hub.shareable import Shareable

Group = str | int | None


class RegionState(IntEnum):
    """What a region says about a vector. Compare with `==`: both INSIDE and NO_REFERENCE are true as a bool."""

    NO_REFERENCE = -1
    OUTSIDE = 0
    INSIDE = 1


@dataclass(frozen=True)
class NormalNeighbors:
    """The nearest normal vectors of m vectors, nearest first; of equally near ones the first that was fitted.

    Where a group has fewer than n of them, or no reference: NaN, -1, NaN.

    Attributes
    ----------
    distances
        (m, n) float64, in feature units; lower is nearer.
    rows
        (m, n) int64, rows of the array given to `fit`.
    vectors
        (m, n, d), the neighbours.
    """

    distances: Any
    rows: Any
    vectors: Any


@dataclass(frozen=True)
class Moves:
    """What `NormalRegion.move_inside` did to m vectors.

    Attributes
    ----------
    vectors
        (m, d), of the type and on the device they came (integers become floats): bit for bit as given except where
        `moved`.
    states
        (m,) int8 `RegionState` of the vectors as given; those with NO_REFERENCE were left alone.
    moved
        (m,) bool: the vector was outside, and is now inside.
    distances
        (m,) float64, in feature units: how far it was moved; 0 where it was not.
    rows
        (m,) int64: the normal vector towards which, as a row of the array given to `fit`; -1 where it was not.
    """

    vectors: Any
    states: Any
    moved: Any
    distances: Any
    rows: Any


class NormalRegion(Shareable, BaseEstimator):
    """Where normal vectors lie: for each group (class, phoneme, layer, ...) the union of its vectors' k-NN balls.

    A vector is inside or outside the balls of its own group, or that group has no reference: too few vectors, or none.
    Every decision is that of `Manifold`, equal to a float64 brute-force check.

    Parameters
    ----------
    k
        Number of neighbours that a ball reaches to, at least 1. With 5 to 10 the normal and the abnormal encoder
        vectors of a real voice were told apart best.
    quantile
        In (0, 1]: radii above this quantile of their group's radii are cut down to it, so that the huge balls of a few
        outliers do not make everything normal. Every fitted vector keeps a ball. 1 cuts nothing.
    closed
        Whether a ball contains its sphere.
    min_size
        A group with fewer fitted vectors has no reference; at least k + 1, which is what `None` stands for.
    block_size
        Rows and columns of the tiles compared at a time; never changes a result.

    Attributes
    ----------
    vectors_
        (n, d) the fitted vectors, group after group; not a copy where they came in this form, so do not write to them.
        They do not depend on k: `refit` learns from them again.
    rows_
        (n,) int64: which row of the array given to `fit` each of them was.
    radii_
        (n,) float64: distance to the k-th nearest other vector of the group, before any cut; NaN without a reference.
    groups_
        dict group -> slice of these three. Without groups the only key is `None`.
    manifolds_
        dict group -> `Manifold`, for groups with a reference.
    without_reference_
        Tuple of the fitted groups that were too small.
    settings_
        dict of the parameters it was fitted with: all answers are theirs, whatever `set_params` says, until `refit`.
    n_features_in_
        d.

    Notes
    -----
    Sources: Kynkäänniemi et al. 2019, arXiv 1904.06991, eq. 1 (balls); Jeong et al., TASLP 2025 (balls per layer and
    phoneme of a text encoder). Our reading of both papers on outliers: neither says what to do about their balls here,
    so `quantile` is 1 by default; cutting radii at a percentile is our own option, as are `score_samples` and the
    smallest move.

    Examples
    --------
    >>> region = NormalRegion(k=1).fit([[0.0], [1.0], [3.0], [50.0], [52.0]], groups=["a", "a", "a", "b", "b"])
    >>> region.contains([[5.5], [50.0], [50.0]], groups=["a", "a", "b"])
    array([0, 0, 1], dtype=int8)
    >>> region.move_inside([[5.5], [50.0]], groups=["a", "b"]).vectors
    array([[ 5.],
           [50.]])
    """

    _kinds = ("normal-region",)

    def __init__(
        self,
        k: int = 5,
        *,
        quantile: float = 1.0,
        closed: bool = True,
        min_size: int | None = None,
        block_size: int = BLOCK_SIZE,
    ) -> None:
        self.k = k
        self.quantile = quantile
        self.closed = closed
        self.min_size = min_size
        self.block_size = block_size

    def fit(self, vectors: Any, y: None = None, *, groups: Any = None) -> Self:
        """Learn the balls of the normal `vectors` (n, d). `y` is ignored.

        Parameters
        ----------
        vectors
            (n, d) features; numpy, or torch (computed on the CPU). Drop repeated ones: k + 1 copies have radius 0.
        groups
            (n,) strings, or (n,) integers: the group of each vector. `None` is one group for all.

        Raises
        ------
        ValueError, TypeError
            If not even one group has `min_size` vectors, for features that are not finite real numbers in two
            dimensions, or for groups that are neither strings nor integers.
        """
        features = as_features(vectors, "vectors")
        rows = rows_by_group(groups, len(features))
        order = np.concatenate(list(rows.values()))
        stops = np.cumsum([len(part) for part in rows.values()]).tolist()
        slices = {group: slice(stop - len(part), stop) for (group, part), stop in zip(rows.items(), stops, strict=True)}
        in_order = features if (np.diff(order) == 1).all() else features[order]
        return self._learn(in_order, order, slices)

    def refit(self) -> Self:
        """Learn the same vectors again, after `set_params(k=..., quantile=..., ...)`."""
        check_is_fitted(self, "radii_")
        return self._learn(self.vectors_, self.rows_, self.groups_)

    def contains(self, vectors: Any, groups: Any = None) -> Any:
        """(m,) int8 `RegionState` of each vector: 1 inside, 0 outside, -1 no reference (a small or unknown group)."""
        features, parts = self._parts(vectors, groups)
        states = np.full(len(features), RegionState.NO_REFERENCE, dtype=np.int8)
        for _, manifold, rows in parts:
            states[rows] = manifold.contains(features[rows])
        return like(states, vectors)

    def score_samples(self, vectors: Any, groups: Any = None) -> Any:
        """(m,) float64 in [0, inf]: the smallest distance / radius over the group's balls; LOWER is more normal.

        Unitless; at most 1 inside, above 1 outside closed balls; NaN where there is no reference.
        """
        features, parts = self._parts(vectors, groups)
        scores = np.full(len(features), np.nan)
        for _, manifold, rows in parts:
            scores[rows] = manifold.score_samples(features[rows])
        return like(scores, vectors)

    def nearest(self, vectors: Any, groups: Any = None, n: int = 1) -> NormalNeighbors:
        """The n nearest fitted vectors of each vector's group. Exact: as a float64 brute-force search finds them."""
        features, parts = self._parts(vectors, groups)
        n, m = as_count(n, "n"), len(features)
        distances, found = np.full((m, n), np.nan), np.full((m, n), -1)
        neighbors = np.full((m, n, self.n_features_in_), np.nan, dtype=self.vectors_.dtype)
        for group, manifold, rows in parts:
            reference = manifold.reference_
            columns = slice(min(n, len(reference)))
            distances[rows, columns], j = nearest_samples(
                manifold._current_screen(), reference, features[rows], columns.stop, manifold.block_size
            )
            found[rows, columns] = self.rows_[self.groups_[group]][j]
            neighbors[rows, columns] = reference[j]
        return NormalNeighbors(like(distances, vectors), like(found, vectors), like(neighbors, vectors))

    def move_inside(self, vectors: Any, groups: Any = None) -> Moves:
        """Bring each vector inside by the smallest move: straight to the sphere whose distance - radius is least.

        Vectors inside, and those without a reference, come back bit for bit. `contains` says INSIDE of every moved
        one: it ends on the sphere, or deeper by no more than rounding to its type asks. A vector stays outside, with
        `moved` False, only if its nearest ball is smaller than its type resolves, or all balls are empty (open balls
        of radius 0).
        """
        features, parts = self._parts(vectors, groups)
        states = to_array(self.contains(vectors, groups), "states")
        toward, ended = np.full(len(features), -1), features.astype(np.float64)
        for group, manifold, rows in parts:
            rows = rows[states[rows] == RegionState.OUTSIDE]
            if not len(rows):
                continue
            balls, screen = np.arange(len(manifold.radii_)), manifold._current_screen()
            centers, radii = manifold.reference_, manifold.radii_
            if not manifold.closed and not radii.all():  # open balls of radius 0 are empty
                balls = np.flatnonzero(radii)
                if not len(balls):
                    continue
                centers, radii = centers[balls], radii[balls]
                screen = screen_of(centers)
            ball = nearest_balls(screen, centers, radii, features[rows], manifold.block_size)[1]
            ended[rows], arrived = step_inside(features[rows], centers[ball], radii[ball], manifold.closed, vectors)
            toward[rows[arrived]] = self.rows_[self.groups_[group]][balls[ball[arrived]]]
        moved = np.flatnonzero(toward >= 0)
        distances = np.zeros(len(features))
        distances[moved] = pair_distances(ended, moved, features, moved)
        return Moves(
            vectors=_with_rows(vectors, features, moved, ended[moved]),
            states=like(states, vectors),
            moved=like(toward >= 0, vectors),
            distances=like(distances, vectors),
            rows=like(toward, vectors),
        )

    def _check_parameters(self) -> tuple[int, int, int, float]:
        """The checked k, min_size, block_size and quantile; not checked in the constructor, by the contract."""
        as_closed(self.closed)
        k, block_size = as_count(self.k, "k"), as_count(self.block_size, "block_size")
        min_size = k + 1 if self.min_size is None else as_count(self.min_size, "min_size")
        if min_size <= k:
            raise ValueError(f"min_size is {min_size}; at least k + 1 = {k + 1}, or None, is accepted")
        if not isinstance(self.quantile, Real) or not 0 < self.quantile <= 1:
            raise ValueError(f"quantile is {self.quantile!r}; a number above 0 and up to 1 is accepted")
        return k, min_size, block_size, float(self.quantile)

    def _learn(self, vectors: np.ndarray, rows: np.ndarray, groups: Mapping[Group, slice]) -> Self:
        k, min_size, block_size, _ = self._check_parameters()
        largest = max(part.stop - part.start for part in groups.values())
        if largest < min_size:
            need_samples(largest, k, "vectors" if None in groups else "vectors of the largest group")
            raise ValueError(f"the largest group has {largest} vectors; at least min_size = {min_size} are needed")
        radii, manifolds = np.full(len(vectors), np.nan), {}
        for group, part in groups.items():
            if part.stop - part.start >= min_size:
                manifolds[group] = Manifold(k, closed=self.closed, block_size=block_size).fit(vectors[part])
                radii[part] = manifolds[group].radii_
        return self._assemble(vectors, rows, radii, groups, manifolds)

    def _restore(self, vectors: np.ndarray, rows: np.ndarray, radii: np.ndarray, groups: Mapping[Group, slice]) -> Self:
        """Set everything that is learnt from what is kept in a file; the same bits as `fit`."""
        k, _, block_size, _ = self._check_parameters()
        manifolds = {
            group: Manifold.from_radii(vectors[part], radii[part], k=k, closed=self.closed, block_size=block_size)
            for group, part in groups.items()
            if not np.isnan(radii[part.start])
        }
        return self._assemble(vectors, rows, radii, groups, manifolds)

    def _assemble(
        self,
        vectors: np.ndarray,
        rows: np.ndarray,
        radii: np.ndarray,
        groups: Mapping[Group, slice],
        manifolds: dict[Group, Manifold],
    ) -> Self:
        """Set the learnt attributes, and cut the radii of the manifolds."""
        k, min_size, block_size, quantile = self._check_parameters()
        self.settings_: dict[str, Any] = {
            "k": k,
            "quantile": quantile,
            "closed": bool(self.closed),
            "min_size": None if self.min_size is None else min_size,
            "block_size": block_size,
        }
        self.vectors_, self.rows_, self.radii_, self.groups_ = vectors, rows, radii, dict(groups)
        self.n_features_in_ = vectors.shape[1]
        for manifold in manifolds.values():
            longest = np.quantile(manifold.radii_, quantile, method="inverted_cdf")
            manifold.radii_ = np.minimum(manifold.radii_, longest)
        self.manifolds_ = manifolds
        self.without_reference_ = tuple(group for group in groups if group not in manifolds)
        return self

    def _parts(self, vectors: Any, groups: Any) -> tuple[np.ndarray, Iterator[tuple[Group, Manifold, np.ndarray]]]:
        """The checked vectors, and for each group among them that has a reference its manifold and their rows."""
        check_is_fitted(self, "radii_")
        features = as_features(vectors, "vectors", self.n_features_in_)
        given = rows_by_group(groups, len(features))
        known, asked = type(next(iter(self.groups_))), type(next(iter(given)))
        if known is not asked:
            names = {type(None): "no groups", str: "strings", int: "integers"}
            raise ValueError(f"groups: {names[asked]} given, but the region was fitted with {names[known]}; pass "
                             f"groups=... of the same kind to fit and here")  # fmt: skip
        return features, ((g, self.manifolds_[g], rows) for g, rows in given.items() if g in self.manifolds_)


def rows_by_group(groups: Any, n: int) -> dict[Group, np.ndarray]:
    """Which of n rows belong to each group, in the order in which the groups first come up; `None`: all to one."""
    if groups is None:
        return {None: np.arange(n)}
    labels = groups.tolist() if hasattr(groups, "tolist") else groups
    if isinstance(labels, str) or not isinstance(labels, Sequence) or len(labels) != n:
        size = len(labels) if isinstance(labels, Sequence) and not isinstance(labels, str) else "not a sequence of"
        raise ValueError(f"groups is {size} entries, but there are {n} vectors; give one group for each")
    strings = all(isinstance(label, str) for label in labels)
    if not strings and not all(isinstance(label, Integral) and not isinstance(label, bool) for label in labels):
        kinds = ", ".join(sorted({type(label).__name__ for label in labels}))
        raise TypeError(f"groups holds {kinds}; either strings only or integers only are accepted")
    number: dict[Group, int] = {}
    codes = [number.setdefault(str(label) if strings else int(label), len(number)) for label in labels]
    order = np.argsort(codes, kind="stable")
    stops = np.cumsum(np.bincount(codes))
    return dict(zip(number, np.split(order, stops[:-1]), strict=True))


def _with_rows(given: Any, features: np.ndarray, rows: np.ndarray, values: np.ndarray) -> Any:
    """A copy of the vectors as they were given, with `values` in these rows."""
    stored = stored_like(values, given, features.dtype)
    if hasattr(given, "detach"):
        copy = given.detach().clone().to(stored.dtype)
        copy[rows.tolist()] = stored
        return copy
    copy = np.array(given, dtype=stored.dtype)
    copy[rows] = stored
    return copy
