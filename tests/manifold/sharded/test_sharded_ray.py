"""`ShardedManifold` on Ray: two workers give the numbers of one process, also where one of them is killed."""

import os
import sys
import threading
import time
from contextlib import closing

import numpy as np
import pytest

from genmend.manifold import Manifold, prdc
from genmend.manifold.sharded.sharded_manifold import ShardedManifold
from genmend.manifold.sharded.workers import RETRIES, ShardWorker

pytestmark = pytest.mark.all

rng = np.random.default_rng(0)
X = rng.integers(0, 4, (90, 3)).astype(np.float32)  # on a grid: ties and duplicates across shards
Y = rng.integers(0, 5, (40, 3)).astype(np.float32)
SHARDS = [X[:30], X[30:31], X[31:]]


@pytest.fixture(scope="module", autouse=True)
def ray(installed_ray, ray_folder):
    installed_ray.init(
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=80_000_000,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
        _temp_dir=ray_folder,
    )
    installed_ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers can't import this file
    yield installed_ray
    installed_ray.shutdown()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    for number, shard in enumerate(SHARDS):
        np.save(folder / f"{number}.npy", shard)
    return folder


@pytest.fixture(scope="module")
def whole():
    return Manifold(3).fit(X)


def same(one, other):
    for name in vars(one):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def test_two_workers_give_the_numbers_of_one_process(files, whole):
    with closing(ShardedManifold(3, workers=2, piece_size=16)) as sharded:
        for reference in (files, SHARDS):
            sharded.fit(reference)  # the second time in place of the first: the CPUs are free again
            assert len(sharded._held.actors) == 2
            np.testing.assert_array_equal(sharded.radii_, whole.radii_)
            same(sharded.evaluate(Y), whole.evaluate(Y))
            same(sharded.evaluate(leave_one_out=True), whole.evaluate(leave_one_out=True))
            found, expected = sharded.prdc(Y), prdc(X, Y, 3)[3]
            assert found.totals == expected.totals
            for name, values in expected.arrays.items():
                np.testing.assert_array_equal(found.arrays[name], values, err_msg=name)


def test_one_process_goes_on_where_workers_stopped(files, whole, tmp_path, monkeypatch):
    with closing(ShardedManifold(3, workers=2, piece_size=16)) as sharded:
        same(sharded.fit(files, folder=tmp_path).evaluate(Y, folder=tmp_path), whole.evaluate(Y))
    pieces = sorted(tmp_path.iterdir())
    assert len(pieces) == -(-90 // 16) + -(-40 // 16)
    computed = []
    for method in ("nearest", "sweep"):
        monkeypatch.setattr(ShardWorker, method, counted(method, computed))
    for path in (pieces[0], pieces[-1]):  # one of the radii, one of the scores, or two of one kind
        path.unlink()
    alone = ShardedManifold(3, piece_size=16).fit(files, folder=tmp_path)
    np.testing.assert_array_equal(alone.radii_, whole.radii_)
    same(alone.evaluate(Y, folder=tmp_path), whole.evaluate(Y))
    assert 0 < len(computed) <= 2 * len(SHARDS) + 3  # three shards a piece, and a piece may lie in all three


def counted(method, calls):
    original = getattr(ShardWorker, method)

    def call(self, *arguments, **options):
        calls.append(method)
        return original(self, *arguments, **options)

    return call


def exiting(method, mark, always=False):
    """A worker whose process ends in the middle of `method`, once."""

    class Exiting(ShardWorker):
        pass

    def once(self, *arguments, **options):
        found = getattr(ShardWorker, method)(self, *arguments, **options)
        if always or not mark.exists():
            mark.touch()
            os._exit(1)
        return found

    setattr(Exiting, method, once)
    return Exiting


def waiting(method, mark):
    """A worker that waits in its first call of `method`, to be killed from outside."""

    class Waiting(ShardWorker):
        pass

    def wait(self, *arguments, **options):
        if not mark.exists():
            mark.touch()
            time.sleep(60)
        return getattr(ShardWorker, method)(self, *arguments, **options)

    setattr(Waiting, method, wait)
    return Waiting


@pytest.mark.parametrize(("method", "source"), [("nearest", "files"), ("sweep", "arrays")])
def test_a_worker_that_dies_is_replaced(files, whole, tmp_path, monkeypatch, method, source):
    mark = tmp_path / "died"
    monkeypatch.setattr("genmend.manifold.sharded.workers.ShardWorker", exiting(method, mark))
    with closing(ShardedManifold(3, workers=2, keep_codes=True, piece_size=16)) as sharded:
        sharded.fit(files if source == "files" else SHARDS)
        np.testing.assert_array_equal(sharded.radii_, whole.radii_)
        same(sharded.evaluate(Y), whole.evaluate(Y))
    assert mark.exists()


@pytest.mark.parametrize("method", ["nearest", "sweep"])
def test_a_worker_killed_in_the_middle(ray, files, whole, tmp_path, monkeypatch, method):
    mark, found = tmp_path / "began", []
    monkeypatch.setattr("genmend.manifold.sharded.workers.ShardWorker", waiting(method, mark))
    with closing(ShardedManifold(3, workers=2, piece_size=16)) as sharded:
        if method == "sweep":
            sharded.from_radii(files, whole.radii_)
        work = threading.Thread(
            target=lambda: found.append(sharded.fit(files).radii_ if method == "nearest" else sharded.evaluate(Y))
        )
        work.start()
        deadline = time.monotonic() + 60
        while not mark.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        killed = time.monotonic()
        for actor in sharded._held.actors:  # whichever of the two waits
            ray.kill(actor, no_restart=False)
        work.join(timeout=50)
        assert time.monotonic() - killed < 50  # not merely slept through
        if method == "nearest":
            np.testing.assert_array_equal(found[0], whole.radii_)
        else:
            same(found[0], whole.evaluate(Y))


def test_a_worker_that_always_dies_is_an_error(files, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "genmend.manifold.sharded.workers.ShardWorker", exiting("sweep", tmp_path / "died", always=True)
    )
    sharded = ShardedManifold(3, workers=2).from_radii(files, whole.radii_)
    with closing(sharded), pytest.raises(RuntimeError, match=f"lost more than {RETRIES} times"):
        sharded.evaluate(Y)


def test_what_is_refused(ray, files, tmp_path, monkeypatch):
    with pytest.raises(RuntimeError, match="2 workers of 2 CPU were asked for, but Ray has room for 1"):
        ShardedManifold(workers=2, cpus_per_worker=2).fit(files)
    monkeypatch.setattr("genmend.manifold.sharded.workers._FREE_SECONDS", 0.5)
    with closing(ShardedManifold(workers=2).fit(files)), pytest.raises(RuntimeError, match=r"only 0 CPU.*close\(\)"):
        ShardedManifold(workers=1).fit(files)
    monkeypatch.undo()
    np.save(tmp_path / "bad.npy", X + np.inf)
    with pytest.raises(ValueError, match=r"bad\.npy holds NaN"):
        ShardedManifold(workers=2).fit(tmp_path)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(RuntimeError, match=r"call ray\.init\(\)"):
        ShardedManifold(workers=2).fit(files)
