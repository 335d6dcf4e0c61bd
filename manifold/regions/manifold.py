"""The manifold of normal data as a scikit-learn estimator: the union of the k-NN balls of a reference."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from genmend.manifold.engine.balls import Balls
from genmend.manifold.engine.inputs import as_closed, as_count, as_features, device_of, like, need_samples, to_array
from genmend.manifold.engine.radii import BLOCK_SIZE, radii_of
from genmend.manifold.engine.screens import AnyScreen, screen_of
from genmend.manifold.engine.sweep import near_pairs
from genmend.manifold.engine.tallies import tally
from genmend.manifold.kept_features.given import Given, given_features
from genmend.manifold.kept_features.same_space import check_same_space
from genmend.manifold.regions.scores import ManifoldScores

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Manifold", "nearest_ball_distance"]


class Manifold(BaseEstimator):
    """Union of balls round the reference samples, each reaching to its sample's k-th nearest other sample.

    Every answer equals a float64 brute-force check by direct differences, whatever offset the features share. Query and
    reference may be numpy arrays or torch tensors of floats or integers; per-sample answers are arrays, or tensors on
    the query's device for a tensor (distances are measured on the CPU). Where a method takes
    `leave_one_out=True` instead of a query, it scores the reference itself, each sample against the balls of all the
    others.

    Parameters
    ----------
    k
        Number of neighbours, at least 1. The published metrics take 3.
    closed
        Whether a ball contains its sphere: distance <= radius, as the papers write. `False` (distance < radius)
        matches the prdc and Rarity-Score code; leave-one-out then rarely finds a ball.
    block_size
        Rows and columns of the tiles compared at a time (memory against speed; never changes a result).

    Attributes
    ----------
    reference_
        (n, d) float32 or float64, the reference: not a copy where it came in such a form, so do not write to it.
    radii_
        (n,) float64, radius of each ball, in feature units.
    n_features_in_
        d.
    pipeline_
        What made the features, where the reference says it, else None.

    Notes
    -----
    Sources: Kynkäänniemi et al. 2019, arXiv 1904.06991, eq. 1-3 (balls, membership, realism); Han et al. 2023, arXiv
    2206.08549 (rarity).

    Examples
    --------
    >>> manifold = Manifold(k=1).fit([[0.0], [1.0], [3.0], [7.0]])
    >>> manifold.rarity([[0.5], [2.0], [5.5], [12.0]])
    array([ 1.,  1.,  4., nan])
    """

    def __init__(self, k: int = 3, *, closed: bool = True, block_size: int = BLOCK_SIZE) -> None:
        self.k = k
        self.closed = closed
        self.block_size = block_size

    def fit(self, reference: Any, y: None = None) -> Self:
        """Learn the radii of `reference` (n, d), n >= k + 1. `y` is ignored.

        Also what `evaluate` takes for a set: what `features_of` returns, or reads, such as a folder, a file, or a
        DataLoader. A query of other features than these is refused then, as far as it says what made it.

        Raises
        ------
        ValueError, TypeError
            For fewer than k + 1 samples, or features that are not finite real numbers in two dimensions.
        """
        k, block_size = self._check_parameters()
        given = given_features(reference)
        features = as_features(given.values, "reference")
        need_samples(len(features), k, "reference")
        screen = screen_of(features, device_of(given.values))
        self.pipeline_ = given.pipeline
        return self._set(features, screen, radii_of(screen, features, (k,), block_size)[:, 0])

    @classmethod
    def from_radii(
        cls, reference: Any, radii: Any, *, k: int = 3, closed: bool = True, block_size: int = BLOCK_SIZE
    ) -> Self:
        """The manifold of known `radii` (n,) round `reference` (n, d), without a neighbour search.

        Given the `reference_` and `radii_` of a fitted manifold it answers every query as that one, bit for bit. `k` is
        recorded, not used.
        """
        manifold = cls(k=k, closed=closed, block_size=block_size)
        manifold._check_parameters()
        features = as_features(reference, "reference")
        known = to_array(radii, "radii").astype(np.float64)
        if known.shape != (len(features),) or not np.isfinite(known).all() or (known < 0).any():
            raise ValueError(f"radii has shape {known.shape}; {len(features)} finite radii of at least 0 are accepted, "
                             f"one for each reference sample")  # fmt: skip
        return manifold._set(features, screen_of(features, device_of(reference)), known)

    def contains(self, query: Any = None, *, leave_one_out: bool = False) -> Any:
        """(m,) bool: whether some ball contains the sample. The mean over generated samples is precision."""
        return self._answer("inside", query, leave_one_out)

    def ball_count(self, query: Any = None, *, leave_one_out: bool = False) -> Any:
        """(m,) int64: how many balls contain the sample, 0 to n. Its mean over k is density."""
        return self._answer("ball_count", query, leave_one_out)

    def rarity(self, query: Any = None, *, return_index: bool = False, leave_one_out: bool = False) -> Any:
        """(m,) float64: the least radius among the balls that contain the sample, in feature units; NaN outside all.

        Higher is rarer: the reference is sparse even where it is densest round the sample. No measure of quality.
        With `return_index` also (m,) int64, the ball that attains it (of equal ones the first), -1 outside.

        Notes
        -----
        Source: Han et al., "Rarity Score", arXiv 2206.08549; its code gives 0 where NaN stands here.
        """
        scores, given = self._sweep(query, leave_one_out)
        rarity = like(scores.rarity, given)
        return (rarity, like(scores.nearest_ball, given)) if return_index else rarity

    def realism(self, query: Any = None, *, median_filter: bool = True, leave_one_out: bool = False) -> Any:
        """(m,) float64 in [0, inf]: the largest radius / distance over the balls; HIGHER is more realistic.

        At least 1 inside a ball that counts; inf on top of its centre. With `median_filter` only balls whose radius is
        below the median count, so that the large balls of outliers lend no realism; where no radius is below it (more
        than half tie for the smallest), those equal to it count.

        Notes
        -----
        Source: Kynkäänniemi et al., eq. 3, arXiv 1904.06991; their code returns the square.
        """
        return self._answer("realism", query, leave_one_out, realism=True, median_filter=median_filter)

    def score_samples(self, query: Any = None, *, leave_one_out: bool = False) -> Any:
        """(m,) float64 in [0, inf]: the smallest distance / radius over the balls; LOWER is more normal.

        Unitless; at most 1 inside, above 1 outside closed balls. A ball of radius 0 gives 0 at its centre and inf
        elsewhere. The direction is the opposite of scikit-learn's own `score_samples`.
        """
        return self._answer("score", query, leave_one_out, score=True)

    def evaluate(self, query: Any = None, *, median_filter: bool = True, leave_one_out: bool = False) -> ManifoldScores:
        """Everything the other methods answer, from one sweep over the query."""
        scores, given = self._sweep(query, leave_one_out, score=True, realism=True, median_filter=median_filter)
        return scores.map(lambda values: like(values, given))

    def _check_parameters(self) -> tuple[int, int]:
        """The checked k and block_size; not checked in the constructor, by scikit-learn's contract."""
        as_closed(self.closed)
        return as_count(self.k, "k"), as_count(self.block_size, "block_size")

    def __getstate__(self) -> Any:
        # Codes are as large as half the features, and only right for an engine that may not be where this is loaded.
        return {name: value for name, value in super().__getstate__().items() if name != "_screen"}

    def _set(self, features: np.ndarray, screen: AnyScreen, radii: np.ndarray) -> Self:
        self.reference_, self.radii_, self._screen = features, radii, screen
        self.n_features_in_ = features.shape[1]
        return self

    def _features(self, query: Any) -> np.ndarray:
        pipeline = getattr(self, "pipeline_", None)
        given = given_features(query, beside=Given(self.reference_, pipeline))
        check_same_space(pipeline, given.pipeline)
        return as_features(given.values, "query", self.n_features_in_)

    def _current_screen(self) -> AnyScreen:
        if not hasattr(self, "_screen"):
            self._screen = screen_of(self.reference_)
        return self._screen

    def _answer(self, name: str, query: Any, leave_one_out: bool, **ratios: bool) -> Any:
        scores, given = self._sweep(query, leave_one_out, **ratios)
        return like(getattr(scores, name), given)

    def _sweep(
        self,
        query: Any,
        leave_one_out: bool,
        *,
        score: bool = False,
        realism: bool = False,
        median_filter: bool = True,
    ) -> tuple[ManifoldScores, Any]:
        """Scores of the query, and the array or tensor whose form they are to take; ratios only as far as asked for."""
        check_is_fitted(self, "radii_")
        if leave_one_out is (query is not None):
            raise ValueError("give either a query or leave_one_out=True, which scores the reference itself")
        features = self.reference_ if leave_one_out else self._features(query)
        n, m = len(self.radii_), len(features)
        every = np.ones(n, dtype=bool)
        balls = Balls.of(self.radii_, closed=self.closed)
        if not median_filter:
            balls = replace(balls, kept=every)
        tiles = near_pairs(
            self._current_screen(),
            self.reference_,
            features,
            self.radii_,
            closest_among=[every] * score + [balls.kept] * realism,
            skip_self=leave_one_out,
            block_size=self._check_parameters()[1],
        )
        scores = ManifoldScores.of(tally(tiles, [balls], n, m)[0], balls)
        unasked = {name: np.full(m, np.nan) for name, asked in (("score", score), ("realism", realism)) if not asked}
        return replace(scores, **unasked), query


def nearest_ball_distance(features: Tensor, centres: Tensor, radii: Tensor) -> Tensor:
    """Distance / radius of the ball that is relatively nearest; unitless, at most 1 inside, LOWER is more normal.

    For torch tensors, and differentiable in `features`, as a search or an optimisation needs it. It computes in the
    tensors' own precision; `Manifold.score_samples` gives the exact values.

    Parameters
    ----------
    features
        (n, d) samples.
    centres, radii
        (m, d) and (m,): `reference_` and `radii_` of a `Manifold`, with radii above 0, in feature units.

    Returns
    -------
    (n,) tensor.
    """
    import torch

    with torch.no_grad():  # which ball it is does not depend on the last bits
        ball = (torch.cdist(features, centres) / radii).argmin(1)
    return (features - centres[ball]).norm(dim=1) / radii[ball]
