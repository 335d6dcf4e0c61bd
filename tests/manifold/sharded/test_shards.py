"""Merging what shards say, and `ShardedManifold` in this process: bit for bit the numbers of one pass."""

import sys
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from manifold_brute_force import answers, distances, radii

from genmend.manifold import Manifold, ManifoldScores, prdc
from genmend.manifold.engine.balls import Balls
from genmend.manifold.engine.screens import screen_of
from genmend.manifold.engine.tallies import Tallies, merge
from genmend.manifold.sharded import workers as shard_worker
from genmend.manifold.sharded.mapped_features import open_features
from genmend.manifold.sharded.shard_sums import (
    PER_QUERY,
    PER_REFERENCE,
    balls_of_rows,
    merge_nearest,
    merge_queries,
    merge_references,
    sweep_shard,
    without_reference,
)
from genmend.manifold.sharded.sharded_manifold import ShardedManifold

rng = np.random.default_rng(0)
# On a coarse grid: many equal distances, equal radii and duplicates, across the shards too.
X = rng.integers(0, 4, (90, 3)).astype(np.float32)
Y = rng.integers(0, 4, (40, 3)).astype(np.float32) + rng.choice([0, 0.5, 4], (40, 1)).astype(np.float32)
CUTS = [slice(0, 30), slice(30, 31), slice(31, 90)]
SHARDS = [X[cut] for cut in CUTS]


def same(one, other):
    same_values(vars(one), vars(other))


def same_at_k(one, other):
    assert (one.k, one.totals) == (other.k, other.totals)
    same_values(one.arrays, other.arrays)


def same_values(one, other):
    assert one.keys() == other.keys()
    for name in one:
        a, b = one[name], other[name]
        assert type(a) is type(b), name
        assert getattr(a, "dtype", None) == getattr(b, "dtype", None), name
        np.testing.assert_array_equal(a, b, err_msg=name)


def whole_balls(closed=True):
    return Balls.of(radii(X, 3), closed=closed)


def partial(rows, queries, closed=True):
    balls = replace(balls_of_rows(whole_balls(closed), rows), query_radii=radii(Y, 3)[queries])
    return sweep_shard(screen_of(X[rows]), X[rows], Y[queries], [balls], n_reference=90, block_size=16)[0]


@pytest.mark.parametrize("closed", [True, False])
def test_any_grouping_of_parts_equals_float64_loops(closed):
    every = slice(0, 40)
    whole = partial(slice(0, 90), every, closed)
    parts = [partial(rows, every, closed) for rows in CUTS]
    same(merge_references(parts), whole)
    same(merge_references([merge_references(parts[:2]), parts[2]]), whole)
    pieces = [slice(0, 13), slice(13, 14), slice(14, 40)]
    same(merge_queries([merge_references([partial(r, q, closed) for r in CUTS]) for q in pieces]), whole)
    same(merge_references([merge_queries([partial(r, q, closed) for q in pieces]) for r in CUTS]), whole)

    true, balls = answers(X, Y, 3, closed), whole_balls(closed)
    scores = ManifoldScores.of(whole, balls)
    np.testing.assert_array_equal(scores.inside, true.ball_count > 0)
    np.testing.assert_array_equal(scores.ball_count, true.ball_count)
    np.testing.assert_array_equal(scores.nearest_ball, true.nearest_ball)
    np.testing.assert_array_equal(scores.rarity, true.rarity)
    np.testing.assert_allclose(scores.score, true.score, rtol=1e-12)
    np.testing.assert_allclose(scores.realism, true.realism, rtol=1e-12)
    np.testing.assert_array_equal(whole.query_count > 0, true.covered)
    np.testing.assert_array_equal(whole.recalled, true.recalled)
    table, within = distances(Y, X), np.less_equal if closed else np.less
    np.testing.assert_array_equal(whole.query_count, within(table, balls.radii).sum(axis=0))
    clipped = np.minimum(balls.radii, np.median(balls.radii))
    np.testing.assert_array_equal(whole.clipped_count, within(table, clipped).sum(axis=1))
    np.testing.assert_array_equal(whole.holds_reference, within(table, radii(Y, 3)[:, None]).any(axis=1))


def test_merges_by_hand():
    def one(count, rank, ratio, flag):
        return Tallies(*map(np.array, (
            [count], [count], [count], [rank], [ratio], [ratio], [flag], [flag], [-ratio], [-ratio]
        )))  # fmt: skip

    def values(tallies, names):
        return [getattr(tallies, name).tolist() for name in names]

    assert sorted(PER_QUERY + PER_REFERENCE) == sorted(field.name for field in fields(Tallies))
    parts = [one(2, 3, 0.5, False), one(0, 9, 2.0, True), one(1, 7, 0.25, False)]
    merged = merge_references(parts)
    assert values(merged, PER_QUERY) == [[3], [3], [3], [0.25], [0.25], [True], [-2.75]]
    assert values(merged, PER_REFERENCE) == [[2, 0, 1], [False, True, False], [-0.5, -2, -0.25]]
    joined = merge_queries(parts)
    assert values(joined, PER_REFERENCE) == [[3], [True], [-2.75]]
    assert values(joined, PER_QUERY) == [
        [2, 0, 1], [2, 0, 1], [3, 9, 7], [0.5, 2, 0.25], [0.5, 2, 0.25], [False, True, False], [-0.5, -2, -0.25]
    ]  # fmt: skip
    same(merge(merge(parts[0], parts[1]), parts[2]), replace(
        merged, **{name: getattr(joined, name) for name in PER_REFERENCE}
    ))  # fmt: skip
    few = merge_references([without_reference(part) for part in parts])
    assert values(few, PER_QUERY) == values(merged, PER_QUERY)
    assert values(few, PER_REFERENCE) == [[], [], []]


def test_nearest_of_shards_are_the_nearest_of_all():
    table = distances(Y, X)
    parts = [np.sort(table[:, cut], axis=1)[:, :3] for cut in CUTS]  # the middle shard has one sample
    np.testing.assert_array_equal(merge_nearest(parts, 3), np.sort(table, axis=1)[:, :3])
    few = merge_nearest([parts[1], np.empty((40, 0))], 3)
    assert np.isinf(few[:, 1:]).all()
    assert np.isfinite(few[:, 0]).all()


def test_the_balls_of_a_shard_are_those_among_all():
    whole = Balls.of(np.array([4.0, 1, 3, 1]), closed=False)
    own = balls_of_rows(whole, slice(2, 4))
    assert (own.radii.tolist(), own.rank.tolist(), own.kept.tolist()) == ([3, 1], [2, 1], [False, True])
    assert (own.clipped.tolist(), own.closed) == ([2, 1], False)


@pytest.mark.parametrize(
    ("closed", "keep_codes", "piece_size"), [(True, True, 7), (False, False, 7), (True, False, 1000)]
)
def test_sharded_equals_one_manifold(closed, keep_codes, piece_size):
    whole = Manifold(3, closed=closed).fit(X)
    options = {"closed": closed, "keep_codes": keep_codes, "piece_size": piece_size, "block_size": 16}
    sharded = ShardedManifold(3, **options).fit(SHARDS)
    np.testing.assert_array_equal(sharded.radii_, whole.radii_)
    assert (sharded.starts_, sharded.n_features_in_) == ((0, 30, 31, 90), 3)
    for median_filter in (True, False):
        same(sharded.evaluate(Y, median_filter=median_filter), whole.evaluate(Y, median_filter=median_filter))
        same(
            sharded.evaluate(leave_one_out=True, median_filter=median_filter),
            whole.evaluate(leave_one_out=True, median_filter=median_filter),
        )
    same_at_k(sharded.prdc(Y), prdc(X, Y, 3, closed)[3])
    same(ShardedManifold(3, **options).from_radii(SHARDS, whole.radii_).evaluate(Y), whole.evaluate(Y))


def test_features_with_an_offset_of_300_standard_deviations():
    x = (rng.standard_normal((200, 8)) + 300).astype(np.float32)
    y = (rng.standard_normal((60, 8)) + 300).astype(np.float32)
    sharded = ShardedManifold(5).fit([x[:110], x[110:]])
    np.testing.assert_allclose(sharded.radii_, radii(x, 5), rtol=1e-12)
    true, found = answers(x, y, 5, True), sharded.evaluate(y)
    np.testing.assert_array_equal(found.ball_count, true.ball_count)
    np.testing.assert_array_equal(found.nearest_ball, true.nearest_ball)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, "bfloat16"])
def test_sharded_from_files(tmp_path, dtype):
    if dtype == "bfloat16":
        from safetensors.torch import save_file

        for number, shard in enumerate(SHARDS):
            save_file({"features": torch.from_numpy(shard).bfloat16()}, tmp_path / f"{number}.safetensors")
    else:
        for number, shard in enumerate(SHARDS):
            np.save(tmp_path / f"{number}.npy", shard.astype(dtype))
    np.save(tmp_path / ".half.npy", Y)
    whole = Manifold(3).fit(X)
    query = tmp_path / "query"
    query.mkdir()
    np.save(query / "a.npy", Y[:15])
    np.save(query / "b.npy", Y[15:])
    for reference in (tmp_path, str(tmp_path), open_features(tmp_path), list(open_features(tmp_path).paths)):
        sharded = ShardedManifold(3, piece_size=20).fit(reference)
        np.testing.assert_array_equal(sharded.radii_, whole.radii_)
        same(sharded.evaluate(open_features(query)), whole.evaluate(Y))


def test_only_one_shard_is_encoded_at_a_time(monkeypatch):
    encoded = []

    def of(features):
        encoded.append(len(features))
        return original(features)

    original = shard_worker.screen_of
    monkeypatch.setattr(shard_worker, "screen_of", of)
    for keep_codes in (False, True):
        sharded = ShardedManifold(3, keep_codes=keep_codes).from_radii(SHARDS, radii(X, 3))
        encoded.clear()
        sharded.evaluate(Y)
        sharded.evaluate(Y)
        held = sharded._held._worker._encoded
        assert (len(held), len(encoded)) == ((3, 3) if keep_codes else (1, 6))


def test_stopped_runs_go_on(tmp_path, monkeypatch):
    whole = Manifold(3).fit(X)

    def stopped_after(calls):
        left = iter(range(calls))

        def nearest(*args, **kwargs):
            if next(left, None) is None:
                raise KeyboardInterrupt
            return original(*args, **kwargs)

        return nearest

    original = sys.modules["genmend.manifold.sharded.workers"].nearest_distances
    monkeypatch.setattr("genmend.manifold.sharded.workers.nearest_distances", stopped_after(8))
    with pytest.raises(KeyboardInterrupt):
        ShardedManifold(3, piece_size=20).fit(SHARDS, folder=tmp_path)
    done = len(list(tmp_path.iterdir()))
    assert 0 < done < 5
    monkeypatch.setattr("genmend.manifold.sharded.workers.nearest_distances", original)
    sharded = ShardedManifold(3, piece_size=20).fit(SHARDS, folder=tmp_path)
    np.testing.assert_array_equal(sharded.radii_, whole.radii_)
    for arguments in ({"query": Y}, {"leave_one_out": True}, {"query": Y[::-1]}, {"query": Y, "median_filter": False}):
        for _ in range(2):
            same(sharded.evaluate(**arguments, folder=tmp_path), whole.evaluate(**arguments))
    monkeypatch.setattr("genmend.manifold.sharded.workers.nearest_distances", stopped_after(0))
    again = ShardedManifold(3, piece_size=20).fit(SHARDS, folder=tmp_path)  # nothing left to compute
    np.testing.assert_array_equal(again.radii_, whole.radii_)
    with pytest.raises(KeyboardInterrupt):  # other data, other pieces
        ShardedManifold(3, piece_size=20).fit([X + 1], folder=tmp_path)


def test_tensors_come_back_as_tensors():
    found = ShardedManifold(3).fit([torch.from_numpy(X[:50]), torch.from_numpy(X[50:])]).evaluate(torch.from_numpy(Y))
    assert isinstance(found.rarity, torch.Tensor)
    np.testing.assert_array_equal(found.rarity, Manifold(3).fit(X).rarity(Y))


def test_what_is_refused(tmp_path):
    with pytest.raises(RuntimeError, match="not fitted; call fit or from_radii first"):
        ShardedManifold().evaluate(Y)
    with pytest.raises(ValueError, match="need at least k\\+1 samples, got 2"):
        ShardedManifold(k=2).fit([X[:1], X[1:2]])
    with pytest.raises(ValueError, match="shard 1 has 2 features, but shard 0 has 3"):
        ShardedManifold().fit([X, X[:, :2]])
    with pytest.raises(ValueError, match="shard 1 contains NaN in row 4"):
        ShardedManifold().fit([X, np.where(np.arange(90)[:, None] == 4, np.float32(np.nan), X)])
    with pytest.raises(TypeError, match="for one array use Manifold"):
        ShardedManifold().fit(X)
    np.save(tmp_path / "bad.npy", X + np.inf)
    with pytest.raises(ValueError, match=r"bad\.npy holds NaN"):
        ShardedManifold().fit(tmp_path)
    fitted = ShardedManifold().fit(SHARDS)
    with pytest.raises(ValueError, match="query has 2 features, but the reference has 3"):
        fitted.evaluate(Y[:, :2])
    with pytest.raises(ValueError, match="either a query or leave_one_out"):
        fitted.evaluate()
    with pytest.raises(ValueError, match="90 finite radii"):
        ShardedManifold().from_radii(SHARDS, np.full(90, np.nan))
    with pytest.raises(ValueError, match="shard 1 has"):
        fitted.fit([X, X[:, :2]])
    with pytest.raises(RuntimeError, match="not fitted"):  # not with the radii of the former reference
        fitted.evaluate(Y)
    fitted.fit(SHARDS).close()
    with pytest.raises(RuntimeError, match="closed"):
        fitted.evaluate(Y)
    with pytest.raises(ValueError, match="workers is 0"):
        ShardedManifold(workers=0)


def test_without_ray(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"install genmend\[ray\]"):
        ShardedManifold(workers=2).fit(SHARDS)
