"""`evaluate` of sets in shards: the arrays of one pass, bit for bit, whatever the cuts."""

import socket
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from genmend.manifold import evaluate
from genmend.manifold.engine.radii import BLOCK_SIZE
from genmend.manifold.metrics.evaluation import METRICS
from genmend.manifold.metrics.totals import TOTALS_OF
from genmend.manifold.sharded import cluster
from genmend.manifold.sharded.cluster import RayCluster
from genmend.manifold.sharded.shard_group import ShardGroup
from genmend.manifold.sharded.sharded_sweep import ShardedSweep
from genmend.manifold.sharded.workers import HereCalls
from genmend.workbench.commands.score import compute_score
from genmend.workbench.commands.score_settings import ScoreSettings

rng = np.random.default_rng(0)
X = rng.integers(0, 4, (90, 3)).astype(np.float32)  # on a grid: ties and duplicates across shards
Y = rng.integers(0, 4, (41, 3)).astype(np.float32) + rng.choice([0, 0.5, 4, 30], (41, 1)).astype(np.float32)
SUMMED = ("p_inside", "p_recalled")  # in another order


def in_shards(cuts_x, cuts_y, piece_size, keep_codes=False):
    """What stands in for a cluster: shards held by this process."""

    def sweep(reference, query, *, n_parts):
        parts = [np.split(values, cuts) for (_, values), cuts in ((reference, cuts_x), (query, cuts_y))]
        calls = HereCalls([*parts[0], *parts[1]], keep_codes, BLOCK_SIZE)
        n = len(parts[0])
        groups = [
            ShardGroup(calls, range(first, first + len(some)), list(map(len, some)))
            for first, some in ((0, parts[0]), (n, parts[1]))
        ]
        return ShardedSweep(calls, *groups, piece_size=piece_size, n_parts=n_parts)

    return SimpleNamespace(sweep=sweep)


def same(one, other):
    assert one.per_sample().keys() == other.per_sample().keys()
    for name, values in one.per_sample().items():
        if name.partition("_")[2] in SUMMED:
            np.testing.assert_allclose(other.per_sample()[name], values, rtol=1e-12, err_msg=name)
        else:
            assert values.dtype == other.per_sample()[name].dtype, name
            np.testing.assert_array_equal(other.per_sample()[name], values, err_msg=name)


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize(
    ("cuts_x", "cuts_y", "piece_size", "keep_codes"),
    [([30, 31], [20], 7, True), ([1, 2, 80], [], 1000, False), ([], [1, 40], 16, False)],
)
def test_any_cuts_give_the_numbers_of_one_process(closed, cuts_x, cuts_y, piece_size, keep_codes):
    metrics = tuple(name for name in METRICS if name in TOTALS_OF)
    options = {"k": (1, 3, 5), "metrics": metrics, "closed": closed}
    same(
        evaluate(X, Y, **options), evaluate(X, Y, **options, cluster=in_shards(cuts_x, cuts_y, piece_size, keep_codes))
    )


def test_intervals_notes_and_everything_else_are_those_of_one_process():
    ours = evaluate(X, Y, bootstrap=8, seed=3)
    theirs = evaluate(X, Y, bootstrap=8, seed=3, cluster=in_shards([30, 31], [20], 16))
    assert theirs.to_dict() == ours.to_dict()
    for k in (3, 5):
        for name, values in ours[k].draws.items():
            np.testing.assert_array_equal(theirs[k].draws[name], values)
    few = {"metrics": ("coverage", "kid"), "k": 3}
    assert evaluate(X, Y, **few, cluster=in_shards([44], [], 50)).to_dict() == evaluate(X, Y, **few).to_dict()


def test_far_queries_of_a_small_k_are_settled_among_all_shards():
    """Where a pair that the sweep for the largest k left out has the least ratio for a smaller one."""
    x = np.concatenate([rng.normal(size=(60, 2)), 30 + 8 * rng.normal(size=(12, 2))])
    y = np.concatenate([rng.normal(size=(20, 2)), 12 * rng.normal(size=(40, 2))])
    options = {"k": (1, 2, 8), "metrics": ("realism", "rarity")}
    same(evaluate(x, y, **options), evaluate(x, y, **options, cluster=in_shards([10, 61], [30], 9)))


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("nonsense", "give auto, or HOST:PORT"),
        ("127.0.0.1:123456", "give auto, or HOST:PORT"),
        ("ray://127.0.0.1:10001", "a port for clients"),
        ("127.0.0.1:9", r"no Ray cluster answers at \S+:9 \(.*\), where --ray 127\.0\.0\.1:9 looks for one"),
    ],
)
def test_an_address_where_no_cluster_is_costs_seconds(address, said, monkeypatch):
    pytest.importorskip("ray", reason="ray is not installed: pip install genmend[ray]")
    monkeypatch.setattr("ray._private.services.resolve_ip_for_localhost", lambda host: host)
    began = time.monotonic()
    with pytest.raises(ConnectionError, match=said):
        RayCluster(address)
    assert time.monotonic() - began < 30  # Ray itself would ask for minutes; a busy machine imports it slowly


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_something_else_at_the_address_is_no_cluster(answer, monkeypatch):
    monkeypatch.setattr(cluster, "_REACHED_SECONDS", 0.3)
    held = []

    def accept(server):
        line = server.accept()[0]
        held.append(line)
        line.send(answer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, args=[server], daemon=True).start()
        why = cluster._why_no_answer(server.getsockname())
    assert why == ("what is there is no Ray cluster" if answer else "no answer within 0 s")


def test_ray_that_is_not_installed_is_named_by_its_extra(monkeypatch, tmp_path):
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    np.save(tmp_path / "x.npy", X)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'genmend\[ray\]'"):
        compute_score(tmp_path / "x.npy", tmp_path / "x.npy", settings=ScoreSettings(ray="auto"))
    with pytest.raises(ValueError, match="give its address with --ray"):
        compute_score(tmp_path / "x.npy", tmp_path / "x.npy", settings=ScoreSettings(ray_send=True))
