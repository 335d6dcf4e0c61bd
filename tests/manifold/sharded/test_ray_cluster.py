"""Two Ray nodes started on this machine: evaluations on them, also where one is killed in the middle."""

import json
import os
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from genmend.manifold import compare, evaluate
from genmend.manifold.sharded import cluster as cluster_module
from genmend.manifold.sharded.cluster import RayCluster, look_at_files
from genmend.manifold.sharded.mapped_features import open_features
from genmend.storage.progress import progress_to
from genmend.workbench.commands.score import run_score
from genmend.workbench.commands.score_settings import ScoreSettings

pytestmark = pytest.mark.all

rng = np.random.default_rng(0)
X = rng.integers(0, 4, (90, 3)).astype(np.float32)  # on a grid: ties and duplicates across shards
Y = rng.integers(0, 5, (40, 3)).astype(np.float32)
_LOOPBACK = {"node_ip_address": "127.0.0.1"}
_SMALL = {"include_dashboard": False, "object_store_memory": 80_000_000}


@pytest.fixture(scope="module")
def nodes(installed_ray, ray_folder):
    """A cluster of a head and one more node, each of one CPU."""
    (Path(ray_folder) / "ray").mkdir(exist_ok=True)  # where Ray notes the address
    from ray.cluster_utils import Cluster

    head = {**_SMALL, "num_cpus": 1, **_LOOPBACK}
    nodes = Cluster(initialize_head=True, connect=False, head_node_args=head)
    nodes.add_node(num_cpus=1, object_store_memory=80_000_000, **_LOOPBACK)
    patch = pytest.MonkeyPatch()  # Ray takes the loopback for another of this machine's addresses otherwise
    patch.setattr("ray._private.services.resolve_ip_for_localhost", lambda host: host)
    installed_ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield nodes
    patch.undo()
    installed_ray.shutdown()
    nodes.shutdown()


@pytest.fixture
def shards(tmp_path):
    for name, values, cuts in (("reference", X, [30, 31]), ("query", Y, [15])):
        (tmp_path / name).mkdir()
        for number, shard in enumerate(np.split(values, cuts)):
            np.save(tmp_path / name / f"{number}.npy", shard)
    return tmp_path


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(cluster_module, "PIECE_SIZE", 16)


def alike(one, other):
    assert one.to_dict() == other.to_dict()
    for name, values in one.per_sample().items():
        np.testing.assert_array_equal(other.per_sample()[name], values, err_msg=name)


@pytest.mark.usefixtures("small_pieces")
def test_two_nodes_give_the_numbers_of_one_process(nodes, shards):
    with RayCluster(nodes.address) as cluster:
        mapped = [open_features(shards / name) for name in ("reference", "query")]
        alike(evaluate(X, Y, 3, bootstrap=4), evaluate(*mapped, 3, bootstrap=4, cluster=cluster))
        sets, few = {"a": Y, "b": Y + 1}, ("precision", "kid")  # in memory: cut and sent
        ours = compare(X, sets, 3, few, bootstrap=2)
        assert compare(X, sets, 3, few, bootstrap=2, cluster=cluster).to_dict() == ours.to_dict()


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("during", ["radii of the reference", "distances"])
def test_a_node_killed_in_the_middle_changes_no_number(nodes, shards, during, caplog, capsys):
    victims = [node for node in nodes.list_all_nodes() if node is not nodes.head_node]
    if not victims:
        victims = [nodes.add_node(num_cpus=1, object_store_memory=80_000_000, **_LOOPBACK)]

    def kill(description, done, total):
        if description == during and done == 1 and victims:
            nodes.remove_node(victims.pop(), allow_graceful=False)

    with RayCluster(nodes.address) as cluster, progress_to(kill):
        found = evaluate(open_features(shards / "reference"), open_features(shards / "query"), cluster=cluster)
    assert not victims
    alike(evaluate(X, Y), found)
    assert "the work goes on with 1 workers on those that are left" in caplog.text
    assert capsys.readouterr().out == ""  # an answer as JSON stays one


def seen_elsewhere(change):
    """`look_at_files`, whose answer is another one on the machines that are asked."""
    here = os.getpid()

    def look(paths):
        return look_at_files(paths) if os.getpid() == here else change(*look_at_files(paths))

    return look


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda version, seen: (version, [None] * len(seen)),
            r"does not see .*0\.npy; the shards have to lie .*--ray-send",
        ),
        (lambda version, seen: (version, [*seen[:2], (1, "")]), r"has another file at .*2\.npy; the shards"),
        (lambda version, seen: ("0.1", seen), r"has genmend 0\.1, and this one .*; install the same on every machine"),
        (lambda version, seen: 1 / 0, r"cannot run genmend \(ZeroDivisionError: .*\); install genmend "),
    ],
)
def test_a_machine_that_cannot_do_the_work_is_told_before_it(nodes, shards, monkeypatch, change, said):
    mapped = open_features(shards / "reference")
    with RayCluster(nodes.address) as cluster:
        monkeypatch.setattr(cluster_module, "look_at_files", seen_elsewhere(change))
        with pytest.raises((ValueError, RuntimeError), match=said):
            evaluate(mapped, Y, 3, cluster=cluster)
    if "does not see" in said:
        with RayCluster(nodes.address, send=True) as cluster:
            few = ("precision", "recall")
            alike(evaluate(X, Y, 3, few), evaluate(mapped, Y, 3, few, cluster=cluster))


def test_the_command_on_two_nodes(nodes, shards):
    settings, told = {"k": (3,), "bootstrap": 4}, []
    with progress_to(lambda *step: told.append(step)):
        runs = [
            run_score(
                shards / "reference", shards / "query", shards / out, settings=ScoreSettings(**settings, ray=address)
            )
            for out, address in (("here", ""), ("there", nodes.address))
        ]
    assert {"radii of the reference", "radii of the query", "distances", "the reference itself", "intervals"} <= {
        description for description, *_ in told
    }
    assert ("intervals", 4, 4) in told
    assert json.loads((shards / "there" / "summary.json").read_text())["settings"]["ray"] == nodes.address
    alike(*(run.evaluation for run in runs))
    assert not runs[0].evaluation.per_sample().keys() - np.load(shards / "there" / "per_sample.npz").keys()


def test_a_cluster_without_room_is_told(nodes, installed_ray, shards, monkeypatch):
    monkeypatch.setattr("genmend.manifold.sharded.workers._FREE_SECONDS", 0.5)
    with RayCluster(nodes.address) as cluster, closing(cluster.sweep((X, X), (Y, Y))):
        until = time.monotonic() + 60
        while installed_ray.available_resources().get("CPU", 0) and time.monotonic() < until:
            time.sleep(0.1)  # Ray counts what is free now and then
        with pytest.raises(RuntimeError, match="only 0 CPU of Ray are free"):
            cluster.sweep((X, X), (Y, Y))
