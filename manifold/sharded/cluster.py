"""A Ray cluster that evaluations run on: reached or refused within seconds, and with its machines looked at first."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from genmend.manifold.engine.radii import BLOCK_SIZE
from genmend.manifold.sharded.mapped_features import FeatureShards
from genmend.manifold.sharded.shard_group import ShardGroup
from genmend.manifold.sharded.sharded_sweep import ShardedSweep
from genmend.manifold.sharded.workers import RayCalls, room_for
from genmend.storage.digests import digest

__all__ = ["RayCluster", "look_at_files"]

PIECE_SIZE = 16_384  # rows: a lost machine costs a piece, and progress is told by pieces
_REACHED_SECONDS = 3.0
_LOOKED_SECONDS = 60.0  # a machine that is new to Ray starts a process for it first
_LAST_PORT = 65_535
_SETTINGS = 4  # kind of a frame of HTTP/2
_ENDS = 1 << 16  # bytes at either end of a file that tell it from another one

# What a machine sees of a file: its size and a digest of its ends; None where it has none.
Seen = tuple[int, str] | None


class RayCluster:
    """A running Ray cluster, on whose machines `evaluate(..., cluster=)` measures its distances.

    Every number is that of one process, bit for bit, but P-precision and P-recall, which differ by rounding. Shards
    that were opened by `open_features` are opened by each worker itself; features in memory are cut evenly and sent.
    A lost worker is started again, and what a lost machine had to do goes to the others. The process that calls has
    to run on one of the machines, and it needs the features of both sets in its own memory.

    Parameters
    ----------
    address
        ``auto`` for the cluster of this machine, or HOST:PORT of its head.
    send
        Send the shards to the workers, too, instead of having each open its own: for machines that do not see them.
    progress
        Whether to show how far a sweep is.

    Raises
    ------
    ModuleNotFoundError
        If ray is not installed.
    ConnectionError
        If nothing answers at the address within seconds, or this machine is none of the cluster.

    Examples
    --------
    >>> with RayCluster("auto") as cluster:  # doctest: +SKIP
    ...     evaluation = evaluate(open_features("shards/"), query, cluster=cluster)
    """

    def __init__(self, address: str = "auto", *, send: bool = False, progress: bool = False) -> None:
        self._ray, self._began = _connected(address)
        self._send, self._progress = send, progress

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the cluster, if this object has joined it."""
        if self._began:
            self._ray.shutdown()
        self._began = False

    def sweep(
        self, reference: tuple[Any, np.ndarray], query: tuple[Any, np.ndarray], *, n_parts: int = 0
    ) -> ShardedSweep:
        """What gives the arrays of an evaluation of two sets, each as it was given and as checked features.

        `n_parts` is how many parts of them will be asked for beside, for the progress.

        Raises
        ------
        ValueError
            If a machine does not see a shard, or sees another file at its path.
        RuntimeError
            If the cluster has no free CPU, or a machine lacks genmend or has another version of it.
        """
        each, workers = _shape_of_workers(self._ray)
        sets = [self._sources(given, values, workers) for given, values in (reference, query)]
        files = [Path(source) for sources, _ in sets for source in sources if isinstance(source, str)]
        self._check_machines(files)
        sources = [source for some, _ in sets for source in some]
        calls = RayCalls(sources, True, BLOCK_SIZE, workers=workers, cpus_per_worker=each)
        n = len(sets[0][0])
        ours = ShardGroup(calls, range(n), sets[0][1])
        theirs = ShardGroup(calls, range(n, len(sources)), sets[1][1])
        return ShardedSweep(calls, ours, theirs, piece_size=PIECE_SIZE, progress=self._progress, n_parts=n_parts)

    def _sources(self, given: Any, values: np.ndarray, workers: int) -> tuple[list[Any], list[int]]:
        """What the workers open for each shard of a set, and its rows."""
        if isinstance(given, FeatureShards) and not self._send:
            return [str(path.resolve()) for path in given.paths], [b - a for a, b in pairwise(given.starts)]
        parts = [part for part in np.array_split(values, workers) if len(part)]
        return parts, [len(part) for part in parts]

    def _check_machines(self, files: Sequence[Path]) -> None:
        """Refuse a cluster with a machine that cannot do the work, before any of it is done."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        from genmend import __version__

        look = self._ray.remote(look_at_files)
        nodes = [node for node in self._ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        asked = {
            look.options(
                num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ).remote([str(path) for path in files]): _name_of(node)
            for node in nodes
        }
        done, late = self._ray.wait(list(asked), num_returns=len(asked), timeout=_LOOKED_SECONDS)
        if late:
            raise RuntimeError(f"machine {asked[late[0]]} of the Ray cluster does not answer within "
                               f"{_LOOKED_SECONDS:.0f} s; take it out of the cluster (ray stop there)")  # fmt: skip
        _, here = look_at_files([str(path) for path in files])
        for handle in done:
            try:
                version, seen = self._ray.get(handle)
            except Exception as error:  # whatever keeps genmend from being imported there
                raise RuntimeError(
                    f"machine {asked[handle]} of the Ray cluster cannot run genmend ({_cause(error)}); install "
                    f"genmend {__version__} on every machine, in the environment that ray start runs in"
                ) from error
            if version != __version__:
                raise RuntimeError(f"machine {asked[handle]} of the Ray cluster has genmend {version}, and this one "
                                   f"{__version__}; install the same on every machine")  # fmt: skip
            for path, ours, theirs in zip(files, here, seen, strict=True):
                if theirs != ours:
                    what = "does not see" if theirs is None else "has another file at"
                    raise ValueError(
                        f"machine {asked[handle]} of the Ray cluster {what} {path}; the shards have to lie at the same "
                        f"path on every machine (a shared folder, or copies), or be sent by --ray-send (send=True)."
                    )


def look_at_files(paths: Sequence[str]) -> tuple[str, list[Seen]]:
    """The version of genmend here, and what this machine sees of some files."""
    from genmend import __version__

    return __version__, [_seen(Path(path)) for path in paths]


def _seen(path: Path) -> Seen:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            first = file.read(_ENDS)
            file.seek(max(0, size - _ENDS))
            return size, digest(first.hex(), file.read(_ENDS).hex())
    except OSError:
        return None


def _shape_of_workers(ray: Any) -> tuple[int, int]:
    """CPUs of each worker, as many as the smallest machine has, and how many workers there is room for."""
    cpus = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    if not any(cpus):
        raise RuntimeError("the Ray cluster has no CPU; start its machines with some: ray start --num-cpus N")
    each = min(one for one in cpus if one)
    return each, room_for(ray, each)


def _name_of(node: Any) -> str:
    return str(node.get("NodeManagerHostname") or node["NodeManagerAddress"]) + f" ({node['NodeManagerAddress']})"


def _cause(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in reversed(lines) if "Error" in line), lines[-1] if lines else type(error).__name__)


def _connected(address: str) -> tuple[Any, bool]:
    """The module ray, joined to the cluster; and whether this call has joined it."""
    if find_spec("ray") is None:
        raise ModuleNotFoundError("--ray needs the package ray, which is not installed: pip install 'genmend[ray]'.",
                                  name="ray")  # fmt: skip
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    if ray.is_initialized():  # by the caller: it stays his
        return ray, False
    if address.startswith("ray://"):
        raise ConnectionError(f"--ray is {address!r}, a port for clients; run this on a machine of the cluster, with "
                              f"'auto' or HOST:PORT of its head (6379 unless ray start was told another).")  # fmt: skip
    place = _place_of(address)
    if reason := _why_no_answer(place):
        raise ConnectionError(
            f"no Ray cluster answers at {place[0]}:{place[1]} ({reason}), where --ray {address} looks for one; start "
            f"one (ray start --head), or give HOST:PORT of its head."
        )
    try:
        # A cluster on the loopback alone knows this machine by no other address.
        own: dict[str, Any] = {"_node_ip_address": place[0]} if place[0] == "127.0.0.1" else {}
        ray.init(address=f"{place[0]}:{place[1]}", log_to_driver=False, logging_level=logging.ERROR, **own)
        # Of a lost machine Ray would print pages of its log to stdout, among what a command answers there.
        ray._private.worker.print_to_stdstream = _unheard
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise ConnectionError(
            f"this machine cannot join the Ray cluster at {place[0]}:{place[1]} ({reason}); run this on one of its "
            f"machines: ray start --address={place[0]}:{place[1]} makes this one of them."
        ) from error
    return ray, True


def _unheard(data: Any, ignore_prefix: bool = False) -> None:
    """Print nothing."""


def _why_no_answer(place: tuple[str, int]) -> str:
    """Why nothing at this place can be the head of a cluster; empty where something speaks as one does.

    Ray itself would ask again for minutes. A head speaks gRPC: to the greeting of HTTP/2 it answers with its settings.
    """
    if os.environ.get("RAY_USE_TLS", "0") not in ("0", ""):
        return ""  # it speaks after a handshake
    try:
        with socket.create_connection(place, timeout=_REACHED_SECONDS) as line:
            line.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, _SETTINGS, 0, 0, 0, 0, 0]))
            answer = line.recv(9)
    except TimeoutError:
        return f"no answer within {_REACHED_SECONDS:.0f} s"
    except OSError as error:
        return error.strerror or str(error)
    return "" if len(answer) == 9 and answer[3] == _SETTINGS else "what is there is no Ray cluster"


def _place_of(address: str) -> tuple[str, int]:
    """Host and port of a cluster's head, as Ray will take them: it has a way of its own with this machine's names."""
    from ray._private.services import canonicalize_bootstrap_address

    host, _, port = address.rpartition(":")
    if address != "auto" and not (host and port.isdigit() and int(port) <= _LAST_PORT):
        raise ConnectionError(f"--ray is {address!r}; give auto, or HOST:PORT of the head of a Ray cluster.")
    try:
        found = canonicalize_bootstrap_address(address)
    except ConnectionError:
        found = None
    if not found:
        raise ConnectionError("no Ray cluster runs on this machine; start one (ray start --head, then ray start "
                              "--address=HOST:6379 on the others), or give HOST:PORT.")  # fmt: skip
    host, _, port = found.rpartition(":")
    return host.strip("[]"), int(port)
