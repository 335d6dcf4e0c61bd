"""What holds the shards: this process, or Ray actors. Both answer the same calls with the same numbers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from genmend.manifold.engine.balls import Balls
from genmend.manifold.engine.radii import nearest_distances
from genmend.manifold.engine.screens import AnyScreen, screen_of
from genmend.manifold.engine.tallies import Tallies
from genmend.manifold.sharded.mapped_features import open_features, widen
from genmend.manifold.sharded.shard_sums import sweep_shard, without_reference
from genmend.storage.digests import digest

_log = logging.getLogger(__name__)

# How often Ray starts a lost worker again and repeats its call before that is an error.
RETRIES = 3
# How long to wait for CPUs that a closed manifold is giving back.
_FREE_SECONDS = 10.0
# How often to look whether there still is a machine for every worker.
_LOOK_SECONDS = 2.0
# How long Ray may take to find out that a machine is gone.
_DEATH_SECONDS = 30.0

# A part of a shard: a number that tells it from other parts of the set, and its rows, ascending. None: the whole.
Chosen = tuple[int, np.ndarray] | None
Found = TypeVar("Found")


class LostMachineError(RuntimeError):
    """A machine of the cluster is gone, and the others have no room for its workers."""


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
        self._encoded: dict[tuple[int, int | None], tuple[np.ndarray, AnyScreen]] = {}

    def check(self, shard: int) -> tuple[int, int]:
        """Shape of a shard, after all values of a file have been read and found finite."""
        source = self._sources[shard]
        return (source if isinstance(source, np.ndarray) else open_features(source)).shape

    def digest(self, shard: int) -> str:
        """A name for the values of a shard."""
        return digest(self._views[shard])

    def rows(self, shard: int, start: int, stop: int, chosen: Chosen = None) -> np.ndarray:
        """Some rows of a shard, or of a part of it, as float32 or float64."""
        if chosen is not None:
            return widen(self._views[shard][chosen[1][start:stop]])
        return widen(self._views[shard][start:stop])

    def nearest(self, shard: int, query: np.ndarray, k: int, own: int | None, chosen: Chosen = None) -> np.ndarray:
        """(m, at most k) ascending distances of the queries to the nearest samples of a shard.

        `own` is the row of the shard that is query 0 if the queries are rows of it: none is its own neighbour.
        """
        features, screen = self._encode(shard, chosen)
        there = min(k, len(features) - (own is not None))
        if there == 0:
            return np.empty((len(query), 0))
        return nearest_distances(screen, features, query, there, own=own, block_size=self._block_size)

    def sweep(
        self,
        shard: int,
        query: np.ndarray | None,
        several: Sequence[Balls],
        n_reference: int,
        query_radii: np.ndarray | None = None,
        ratios: bool = True,
        about_reference: bool = False,
        chosen: Chosen = None,
    ) -> list[Tallies]:
        """`sweep_shard` of queries, or (None) of the shard's own samples, each without its own ball.

        `query_radii` (m, number of k) are put into the balls of each k; without `about_reference` the arrays of the
        reference come back empty.
        """
        features, screen = self._encode(shard, chosen)
        balls = [
            one if query_radii is None else replace(one, query_radii=np.ascontiguousarray(query_radii[:, column]))
            for column, one in enumerate(several)
        ]
        found = sweep_shard(
            screen,
            features,
            features if query is None else query,
            balls,
            n_reference=n_reference,
            ratios=ratios,
            skip_self=query is None,
            block_size=self._block_size,
        )
        return found if about_reference else [without_reference(one) for one in found]

    def _encode(self, shard: int, chosen: Chosen = None) -> tuple[np.ndarray, AnyScreen]:
        key = shard, None if chosen is None else chosen[0]
        if key not in self._encoded:
            for other in list(self._encoded):
                if not self._keep_codes or other[1] not in (None, key[1]):  # parts are used once
                    del self._encoded[other]
            n = len(self._views[shard]) if chosen is None else len(chosen[1])
            features = self.rows(shard, 0, n, chosen)
            self._encoded[key] = features, screen_of(features)
        return self._encoded[key]


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

    def attempt(self, compute: Callable[[], Found]) -> Found:
        """What `compute` returns."""
        return compute()

    def close(self) -> None:
        """Do nothing: there are no workers to end."""


class RayCalls:
    """Shards dealt out to Ray actors; handles are object references, so features go from worker to worker."""

    def __init__(
        self, sources: Sequence[Any], keep_codes: bool, block_size: int, *, workers: int, cpus_per_worker: int
    ) -> None:
        self._ray = running_ray()
        self._sources = list(enumerate(sources))
        self._options = keep_codes, block_size
        self._each = cpus_per_worker
        self._start(min(workers, len(sources)))

    def _start(self, workers: int) -> None:
        _need_cpus(self._ray, workers, self._each)
        self._dead_before = self._dead()
        actor = self._ray.remote(ShardWorker).options(
            num_cpus=self._each, max_restarts=RETRIES, max_task_retries=RETRIES
        )
        self.actors = [actor.remote(dict(self._sources[w::workers]), *self._options) for w in range(workers)]

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
            If a worker was lost once more than `RETRIES` times, or (`LostMachineError`, which `attempt` mends) its
            machine was and no other has room.
        """
        left = list(handles)
        while left:
            _, left = self._ray.wait(left, num_returns=len(left), timeout=_LOOK_SECONDS)
            if left and room_for(self._ray, self._each) < len(self.actors):
                raise LostMachineError(
                    "a machine of the Ray cluster was lost, and the others have no room for its work"
                )
        lost = self._ray.exceptions
        try:
            return self._ray.get(list(handles))
        except (lost.ActorUnavailableError, lost.ObjectLostError, lost.NodeDiedError) as error:
            raise LostMachineError("a machine of the Ray cluster was lost with what it had computed") from error
        except lost.RayActorError as error:
            if self._dead() > self._dead_before:
                raise LostMachineError("a machine of the Ray cluster was lost with its workers") from error
            raise RuntimeError(f"a worker was lost more than {RETRIES} times ({_in_short(error)}); it may need more "
                               f"memory: give smaller shards or fewer workers a machine") from error  # fmt: skip

    def attempt(self, compute: Callable[[], Found]) -> Found:
        """What `compute` returns; where a machine is lost in it, what it returns with workers on the others.

        Raises
        ------
        RuntimeError
            If that happens once more than `RETRIES` times, or no machine is left.
        """
        for _ in range(RETRIES):
            try:
                return compute()
            except LostMachineError as error:
                self._wait_for_death()
                workers = min(len(self.actors), room_for(self._ray, self._each))
                if not workers:
                    raise RuntimeError(f"{error}: no machine with {self._each} CPU is left; start one again, and "
                                       f"repeat the command") from error  # fmt: skip
                _log.warning("%s; the work goes on with %d workers on those that are left", error, workers)
                self.close()
                self._start(workers)
        return compute()

    def _dead(self) -> int:
        return sum(not node["Alive"] for node in self._ray.nodes())

    def _wait_for_death(self) -> None:
        """Until Ray knows which machine is lost, which takes it some seconds; or it was none."""
        deadline = time.monotonic() + _DEATH_SECONDS
        while self._dead() == self._dead_before and time.monotonic() < deadline:
            time.sleep(0.2)

    def close(self) -> None:
        """End the workers, and with them the CPUs and memory they hold."""
        for actor in self.actors:
            self._ray.kill(actor)


def running_ray() -> Any:
    """The module ray, where it is installed and runs."""
    try:
        import ray
    except ImportError as error:
        raise ImportError("workers need the package ray; install genmend[ray], or leave workers=None") from error
    if not ray.is_initialized():
        raise RuntimeError("Ray is not running; call ray.init() for this machine or ray.init(address='auto') for its "
                           "cluster first, or leave workers=None")  # fmt: skip
    return ray


def room_for(ray: Any, each: int) -> int:
    """How many workers of so many CPU there is room for on the machines that are alive."""
    return sum(int(node["Resources"].get("CPU", 0)) // each for node in ray.nodes() if node["Alive"])


def _in_short(error: Exception) -> str:
    """The first line of one of Ray's messages, which go on for many."""
    return str(error).strip().partition("\n")[0].rstrip(".")


def _need_cpus(ray: Any, workers: int, each: int) -> None:
    """Refuse what Ray would wait for without a word: more CPUs than there are, or than others leave free."""
    room = room_for(ray, each)
    if room < workers:
        raise RuntimeError(f"{workers} workers of {each} CPU were asked for, but Ray has room for {room}; ask for "
                           f"fewer, or add machines")  # fmt: skip
    deadline = time.monotonic() + _FREE_SECONDS
    while (free := ray.available_resources().get("CPU", 0)) < workers * each:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{workers} workers of {each} CPU were asked for, but only {free:g} CPU of Ray are "
                               f"free; close() the ShardedManifold that holds the others")  # fmt: skip
        time.sleep(0.1)
