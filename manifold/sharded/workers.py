"""What holds the shards: this process, or Ray actors. Both answer the same calls with the same numbers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from genmend.manifold.engine.balls import Balls
from genmend.manifold.engine.radii import nearest_distances
from genmend.manifold.engine.screens import AnyScreen, screen_of
from genmend.manifold.engine.tallies import Tallies
from genmend.manifold.sharded.mapped_features import open_features, widen
from genmend.manifold.sharded.shard_sums import sweep_shard, without_reference
from genmend.storage.digests import digest

# How often Ray starts a lost worker again and repeats its call before that is an error.
RETRIES = 3
# How long to wait for CPUs that a closed manifold is giving back.
_FREE_SECONDS = 10.0


class ShardWorker:
    """Some shards of the reference, opened here, and their screen's codes once needed.

    It holds nothing that its arguments cannot give again, so a new one can take the place of a lost one.

    Parameters
    ----------
    sources
        By number of the shard: the path of a file, or checked features.
    keep_codes
        Whether to hold the codes of all its shards, or of the one used last.
    block_size
        Rows and columns of the tiles compared at a time.
    """

    def __init__(self, sources: dict[int, Any], keep_codes: bool, block_size: int) -> None:
        self._sources = sources
        self._views = {
            number: source if isinstance(source, np.ndarray) else open_features(source, check=False)
            for number, source in sources.items()
        }
        self._keep_codes, self._block_size = keep_codes, block_size
        self._encoded: dict[int, tuple[np.ndarray, AnyScreen]] = {}

    def check(self, shard: int) -> tuple[int, int]:
        """Shape of a shard, after all values of a file have been read and found finite."""
        source = self._sources[shard]
        return (source if isinstance(source, np.ndarray) else open_features(source)).shape

    def digest(self, shard: int) -> str:
        """A name for the values of a shard."""
        return digest(self._views[shard])

    def rows(self, shard: int, start: int, stop: int) -> np.ndarray:
        """Some rows of a shard as float32 or float64."""
        return widen(self._views[shard][start:stop])

    def nearest(self, shard: int, query: np.ndarray, k: int, own: int | None) -> np.ndarray:
        """(m, at most k) ascending distances of the queries to the nearest samples of a shard.

        `own` is the row of the shard that is query 0 if the queries are rows of it: none is its own neighbour.
        """
        features, screen = self._encode(shard)
        there = min(k, len(features) - (own is not None))
        if there == 0:
            return np.empty((len(query), 0))
        return nearest_distances(screen, features, query, there, own=own, block_size=self._block_size)

    def sweep(
        self,
        shard: int,
        query: np.ndarray | None,
        balls: Balls,
        n_reference: int,
        query_radii: np.ndarray | None = None,
    ) -> Tallies:
        """`sweep_shard` of queries, or (None) of the shard's own samples, each without its own ball.

        Of queries whose radii are given what `prdc` asks for; of others their scores, and nothing about the shard.
        """
        features, screen = self._encode(shard)
        found = sweep_shard(
            screen,
            features,
            features if query is None else query,
            replace(balls, query_radii=query_radii),
            n_reference=n_reference,
            ratios=query_radii is None,
            skip_self=query is None,
            block_size=self._block_size,
        )
        return without_reference(found) if query_radii is None else found

    def _encode(self, shard: int) -> tuple[np.ndarray, AnyScreen]:
        if shard not in self._encoded:
            if not self._keep_codes:
                self._encoded.clear()
            features = self.rows(shard, 0, len(self._views[shard]))
            self._encoded[shard] = features, screen_of(features)
        return self._encoded[shard]


class HereCalls:
    """All shards in this process: a call is done at once, and its handle is its result."""

    def __init__(self, sources: Sequence[Any], keep_codes: bool, block_size: int) -> None:
        self._worker = ShardWorker(dict(enumerate(sources)), keep_codes, block_size)

    def call(self, method: str, shard: int, *arguments: Any) -> Any:
        """A handle of the result of a `ShardWorker` method; arguments may be handles."""
        return getattr(self._worker, method)(shard, *arguments)

    def share(self, value: Any) -> Any:
        """A handle of a value that goes into several calls."""
        return value

    def get(self, handles: Sequence[Any]) -> list[Any]:
        """The results."""
        return list(handles)

    def close(self) -> None:
        """Do nothing: there are no workers to end."""


class RayCalls:
    """Shards dealt out to Ray actors; handles are object references, so features go from worker to worker."""

    def __init__(
        self, sources: Sequence[Any], keep_codes: bool, block_size: int, *, workers: int, cpus_per_worker: int
    ) -> None:
        self._ray = _running_ray()
        workers = min(workers, len(sources))
        _need_cpus(self._ray, workers, cpus_per_worker)
        actor = self._ray.remote(ShardWorker).options(
            num_cpus=cpus_per_worker, max_restarts=RETRIES, max_task_retries=RETRIES
        )
        every = list(enumerate(sources))
        self.actors = [actor.remote(dict(every[w::workers]), keep_codes, block_size) for w in range(workers)]

    def call(self, method: str, shard: int, *arguments: Any) -> Any:
        """A handle of the result of a `ShardWorker` method; arguments may be handles."""
        return getattr(self.actors[shard % len(self.actors)], method).remote(shard, *arguments)

    def share(self, value: Any) -> Any:
        """A handle of a value that goes into several calls."""
        return self._ray.put(value)

    def get(self, handles: Sequence[Any]) -> list[Any]:
        """The results.

        Raises
        ------
        RuntimeError
            If a worker was lost once more than `RETRIES` times.
        """
        try:
            return self._ray.get(list(handles))
        except self._ray.exceptions.RayActorError as error:
            raise RuntimeError(f"a worker was lost more than {RETRIES} times ({error}); it may need more memory: give "
                               f"smaller shards or fewer workers a machine") from error  # fmt: skip

    def close(self) -> None:
        """End the workers, and with them the CPUs and memory they hold."""
        for actor in self.actors:
            self._ray.kill(actor)


def _running_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise ImportError("workers need the package ray; install genmend[ray], or leave workers=None") from error
    if not ray.is_initialized():
        raise RuntimeError("Ray is not running; call ray.init() for this machine or ray.init(address='auto') for its "
                           "cluster first, or leave workers=None")  # fmt: skip
    return ray


def _need_cpus(ray: Any, workers: int, each: int) -> None:
    """Refuse what Ray would wait for without a word: more CPUs than there are, or than others leave free."""
    room = sum(int(node["Resources"].get("CPU", 0)) // each for node in ray.nodes() if node["Alive"])
    if room < workers:
        raise RuntimeError(f"{workers} workers of {each} CPU were asked for, but Ray has room for {room}; ask for "
                           f"fewer, or add machines")  # fmt: skip
    deadline = time.monotonic() + _FREE_SECONDS
    while (free := ray.available_resources().get("CPU", 0)) < workers * each:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{workers} workers of {each} CPU were asked for, but only {free:g} CPU of Ray are "
                               f"free; close() the ShardedManifold that holds the others")  # fmt: skip
        time.sleep(0.1)
