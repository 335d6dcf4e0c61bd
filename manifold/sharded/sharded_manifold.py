"""The k-NN manifold of a reference in shards: larger than memory, or spread over machines with Ray."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from genmend.manifold.engine.balls import Balls
from genmend.manifold.engine.inputs import as_closed, as_count, as_features, like, need_samples, to_array
from genmend.manifold.engine.radii import BLOCK_SIZE, radii_of
from genmend.manifold.engine.screens import screen_of
from genmend.manifold.engine.tallies import Tallies
from genmend.manifold.metrics.evaluation_result import EvaluationAtK
from genmend.manifold.metrics.evaluation_sweep import arrays_of
from genmend.manifold.metrics.single import PRDC_METRICS
from genmend.manifold.metrics.totals import totals_at_k
from genmend.manifold.regions.scores import ManifoldScores
from genmend.manifold.sharded.mapped_features import FeatureShards, feature_paths
from genmend.manifold.sharded.shard_group import ShardGroup
from genmend.manifold.sharded.shard_sums import merge_queries
from genmend.manifold.sharded.workers import HereCalls, RayCalls
from genmend.storage.digests import digest
from genmend.storage.pieces import Work

# Rows handed over at a time: at 1024 float32 features 256 MB.
PIECE_SIZE = 65_536
# What scores are made of: what a piece on disk keeps.
_SCORED = ("ball_count", "rank", "ratio", "kept_ratio")

Folder = str | os.PathLike[str] | None


class ShardedManifold:
    """`Manifold` of a reference in shards; every number is that of `Manifold` on the shards put together, bit for bit.

    In this process it is for references larger than memory: files are memory-mapped, and the codes of one shard at a
    time are held. With `workers` the shards are dealt out to Ray actors, for references larger than a machine; on one
    machine do without. A lost worker is started again and its call repeated, three times. See docs/scale.md.

    Memory, beyond the mapped files: the screen's codes of the shard in use (of all with `keep_codes`), n * d bytes for
    n samples with the int8 screen, up to three times that for shards of at most 2^28 values; at most 200 bytes for each
    sample of the reference (radii and neighbours found so far); 200 bytes for each query; a piece of rows, with 16 k
    bytes a row for each shard. Shards in half precision are widened to float32 in memory while they are in use.

    Parameters
    ----------
    k, closed, block_size
        As for `Manifold`.
    workers
        `None`: this process. A number: so many Ray actors (never more than shards), each with every `workers`-th shard;
        call ``ray.init`` first. A worker opens its own files, so their paths must hold on its machine.
    cpus_per_worker
        CPUs that Ray reserves for a worker, and its number of threads unless OMP_NUM_THREADS says otherwise.
    keep_codes
        Whether a worker (or this process) holds the codes of all its shards, or of one at a time and encodes anew.
    piece_size
        Rows of a query, or of the reference when its radii are measured, that are handed over, and with a folder saved,
        at a time. A call costs Ray milliseconds: query in batches of at least 5000.

    Attributes
    ----------
    radii_
        (n,) float64, in feature units.
    starts_
        Row at which each shard begins, and at the end n.
    n_features_in_
        d.

    Examples
    --------
    >>> manifold = ShardedManifold(k=1).fit([[[0.0], [1.0]], [[3.0], [7.0]]])
    >>> manifold.evaluate([[0.5], [2.0], [5.5], [12.0]]).rarity
    array([ 1.,  1.,  4., nan])
    """

    def __init__(
        self,
        k: int = 3,
        *,
        closed: bool = True,
        workers: int | None = None,
        cpus_per_worker: int = 1,
        keep_codes: bool = False,
        piece_size: int = PIECE_SIZE,
        block_size: int = BLOCK_SIZE,
    ) -> None:
        self.k, self.closed = as_count(k, "k"), as_closed(closed)
        self.workers = None if workers is None else as_count(workers, "workers")
        self.cpus_per_worker = as_count(cpus_per_worker, "cpus_per_worker")
        self.keep_codes = keep_codes
        self.piece_size, self.block_size = as_count(piece_size, "piece_size"), as_count(block_size, "block_size")
        self._held: HereCalls | RayCalls | None = None

    def fit(self, reference: Any, *, folder: Folder = None) -> Self:
        """Measure the radii: every shard against every shard, n * n * d multiplications in all.

        Parameters
        ----------
        reference
            Files (a path, a folder or a sequence of paths; each is a shard) or a sequence of (n_s, d) arrays.
        folder
            Where finished pieces are kept, so that a later run of the same data goes on where this one stopped.

        Raises
        ------
        ValueError, TypeError
            For fewer than k + 1 samples in all, shards of different widths, or features that are not finite numbers.
        RuntimeError
            If Ray does not run, has too few CPUs, or lost a worker too often.
        """
        self._open(reference)
        n = self.starts_[-1]
        need_samples(n, self.k, "reference")
        inputs = () if folder is None else ("radii", self.k, *self._digests())
        found = _work(folder).pieces(self._radii_of_rows, n, self.piece_size, inputs=inputs, description="radii")
        self.radii_: np.ndarray = found["radii"]
        return self

    def from_radii(self, reference: Any, radii: Any) -> Self:
        """Take known `radii` (n,), e.g. those of an earlier fit, instead of measuring them."""
        self._open(reference)
        known = to_array(radii, "radii").astype(np.float64)
        if known.shape != (self.starts_[-1],) or not np.isfinite(known).all() or (known < 0).any():
            raise ValueError(f"radii has shape {known.shape}; {self.starts_[-1]} finite radii of at least 0 are "
                             f"accepted, one for each reference sample")  # fmt: skip
        self.radii_ = known
        return self

    def evaluate(
        self, query: Any = None, *, median_filter: bool = True, leave_one_out: bool = False, folder: Folder = None
    ) -> ManifoldScores:
        """What `Manifold.evaluate` gives; the query may be an array, a tensor or what `open_features` returns.

        With `leave_one_out` instead of a query, the reference itself, each sample against the balls of all the others.
        `folder` as for `fit`.
        """
        self._check_fitted()
        if leave_one_out is (query is not None):
            raise ValueError("give either a query or leave_one_out=True, which scores the reference itself")
        balls = self._balls()
        if not median_filter:
            balls = replace(balls, kept=np.ones(len(self.radii_), dtype=bool))
        group = self._group
        shared = group.share_balls([balls])
        if leave_one_out:
            features, n, piece_size = None, len(shared), 1
        else:
            features = self._checked_query(query)
            n, piece_size = len(features), self.piece_size

        def scores(start: int, stop: int) -> dict[str, np.ndarray]:
            if features is None:
                found = self._calls.attempt(lambda: group.own_shard(start, shared, self.piece_size))[0]
            else:
                found = self._sweep(features[start:stop], shared)
            return {name: getattr(found, name) for name in _SCORED}

        inputs: Sequence[Any] = ()
        if folder is not None:
            told = "leave one out" if features is None else digest(features)
            inputs = ("tallies", self.closed, median_filter, told, self.radii_, *self._digests())
        found = _work(folder).pieces(scores, n, piece_size, inputs=inputs, description="scores")
        whole = ManifoldScores.of(replace(Tallies.empty(0, 0), **found), balls)
        return whole.map(lambda values: like(values, query))

    def prdc(self, query: Any) -> EvaluationAtK:
        """Precision, recall, density and coverage for this k, with their per-sample arrays; the query fits in memory.

        The numbers of `manifold.prdc`; m >= k + 1 queries.
        """
        self._check_fitted()
        features = as_features(query, "query", self.n_features_in_)
        need_samples(len(features), self.k, "query")
        query_radii = radii_of(screen_of(features), features, (self.k,), self.block_size)[:, 0]
        balls = self._balls()
        shared = self._group.share_balls([balls])
        pieces = [slice(start, start + self.piece_size) for start in range(0, len(features), self.piece_size)]
        whole = merge_queries([self._sweep(features[rows], shared, query_radii[rows]) for rows in pieces])
        arrays = arrays_of(whole, replace(balls, query_radii=query_radii), ratios=False)
        return EvaluationAtK(self.k, totals_at_k(arrays, self.k, PRDC_METRICS), arrays)

    def close(self) -> None:
        """Let the shards go, and end the Ray workers that hold them; `fit` or `from_radii` open them again."""
        if self._held is not None:
            self._held.close()
        self._held = None

    def _open(self, reference: Any) -> None:
        """Hand the shards to this process or to Ray workers, and learn their shapes."""
        sources = _sources(reference)
        self.close()
        vars(self).pop("radii_", None)  # those of another reference, should what follows fail
        if self.workers is None:
            self._held = HereCalls(sources, self.keep_codes, self.block_size)
        else:
            self._held = RayCalls(
                sources, self.keep_codes, self.block_size, workers=self.workers, cpus_per_worker=self.cpus_per_worker
            )
        try:
            shapes = self._calls.get([self._calls.call("check", shard) for shard in range(len(sources))])
            for number, shape in enumerate(shapes):
                if shape[1] != shapes[0][1]:
                    raise ValueError(f"shard {number} has {shape[1]} features, but shard 0 has {shapes[0][1]}; "
                                     f"give features of the same extractor")  # fmt: skip
        except BaseException:
            self.close()
            raise
        self._group = ShardGroup(self._calls, range(len(shapes)), [rows for rows, _ in shapes])
        self.starts_ = self._group.starts
        self.n_features_in_ = int(shapes[0][1])

    def _digests(self) -> list[str]:
        return self._calls.get([self._calls.call("digest", shard) for shard in self._group.shards])

    def _radii_of_rows(self, start: int, stop: int) -> dict[str, np.ndarray]:
        return {"radii": self._calls.attempt(lambda: self._group.nearest(start, stop, self.k))[:, -1]}

    def _balls(self) -> Balls:
        return Balls.of(self.radii_, closed=self.closed)

    def _sweep(self, query: np.ndarray, shared: Sequence[Any], query_radii: np.ndarray | None = None) -> Tallies:
        """Queries against all shards at once: with their radii what `prdc` asks for, else their scores alone."""
        handle, asks_prdc = self._calls.share(query), query_radii is not None
        radii = None if query_radii is None else query_radii[:, None]
        return self._calls.attempt(
            lambda: self._group.sweep(handle, shared, radii, ratios=not asks_prdc, about_reference=asks_prdc)
        )[0]

    def _checked_query(self, query: Any) -> Any:
        if not isinstance(query, FeatureShards):
            return as_features(query, "query", self.n_features_in_)
        if query.shape[1] != self.n_features_in_:
            raise ValueError(f"query has {query.shape[1]} features, but the reference has {self.n_features_in_}; "
                             f"give features of the same extractor")  # fmt: skip
        return query

    def _check_fitted(self) -> None:
        if not hasattr(self, "radii_"):
            raise RuntimeError("this ShardedManifold is not fitted; call fit or from_radii first")

    @property
    def _calls(self) -> HereCalls | RayCalls:
        if self._held is None:
            raise RuntimeError("this ShardedManifold is closed; call fit or from_radii first")
        return self._held


def _work(folder: Folder) -> Work:
    return Work(None if folder is None else Path(folder), progress=True)


def _sources(reference: Any) -> list[Any]:
    """What a worker opens for each shard: a path, or checked features."""
    if isinstance(reference, FeatureShards):
        return [str(path) for path in reference.paths]
    if isinstance(reference, (str, os.PathLike)):
        return [str(path) for path in feature_paths(reference)]
    shards = list(reference) if isinstance(reference, Sequence) else []
    if not shards:
        raise TypeError(f"reference is a {type(reference).__name__}; a path, a folder, or a list of paths or of arrays "
                        f"(samples, features) is accepted; for one array use Manifold")  # fmt: skip
    if isinstance(shards[0], (str, os.PathLike)):
        return [str(path) for path in feature_paths(shards)]
    return [as_features(shard, f"shard {number}") for number, shard in enumerate(shards)]
