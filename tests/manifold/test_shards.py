"""Merging what shards say, and `ShardedManifold` in this process: bit for bit the numbers of one pass."""

import sys
from dataclasses import fields

import numpy as np
import pytest
import torch
from manifold_brute_force import answers, distances, radii

from manifold import Manifold, prdc, shard_worker
from manifold.engine import screen_of
from manifold.feature_files import open_features
from manifold.sharded import ShardedManifold
from manifold.shards import ShardScores, merge_nearest, merge_queries, merge_references, realism_balls, sweep_shard

rng = np.random.default_rng(0)
# On a coarse grid: many equal distances, equal radii and duplicates, across the shards too.
X = rng.integers(0, 4, (90, 3)).astype(np.float32)
Y = rng.integers(0, 4, (40, 3)).astype(np.float32) + rng.choice([0, 0.5, 4], (40, 1)).astype(np.float32)
CUTS = [slice(0, 30), slice(30, 31), slice(31, 90)]
SHARDS = [X[cut] for cut in CUTS]


def same(one, other):
    for name in vars(one):
        a, b = getattr(one, name), getattr(other, name)
        assert type(a) is type(b), name
        assert getattr(a, "dtype", None) == getattr(b, "dtype", None), name
        np.testing.assert_array_equal(a, b, err_msg=name)


def partial(rows, queries, closed=True):
    r, q = radii(X, 3), radii(Y, 3)
    return sweep_shard(
        screen_of(X[rows]), X[rows], Y[queries], r[rows], start=rows.start, closed=closed,
        kept=realism_balls(r)[rows], query_radii=q[queries], block_size=16,
    )  # fmt: skip


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

    true = answers(X, Y, 3, closed)
    np.testing.assert_array_equal(whole.ball_count, true.ball_count)
    np.testing.assert_array_equal(whole.ball, true.nearest_ball)
    np.testing.assert_array_equal(np.where(whole.ball < 0, np.nan, whole.least_radius), true.rarity)
    np.testing.assert_array_equal(whole.covered, true.covered)
    np.testing.assert_array_equal(whole.recalled, true.recalled)
    np.testing.assert_allclose(whole.ratio, true.score, rtol=1e-12)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(1 / whole.kept_ratio, true.realism, rtol=1e-12)


def test_merges_by_hand():
    def one(count, radius, ball, ratio, covered):
        return ShardScores(*map(np.array, ([count], [radius], [ball], [ratio], [ratio], [covered], [covered])))

    parts = [one(2, 1.5, 3, 0.5, False), one(0, np.inf, -1, 2.0, True), one(1, 1.5, 9, 0.25, False)]
    merged = merge_references(parts)
    assert [getattr(merged, field.name).tolist() for field in fields(merged)] == [
        [3], [1.5], [3], [0.25], [0.25], [False, True, False], [False, True, False]
    ]  # fmt: skip
    joined = merge_queries(parts)
    assert joined.ball.tolist() == [3, -1, 9]
    assert joined.covered.tolist() == [True]
    outside = merge_references([parts[1], parts[1]])
    assert (outside.ball.tolist(), outside.least_radius.tolist()) == ([-1], [np.inf])


def test_nearest_of_shards_are_the_nearest_of_all():
    table = distances(Y, X)
    parts = [np.sort(table[:, cut], axis=1)[:, :3] for cut in CUTS]  # the middle shard has one sample
    np.testing.assert_array_equal(merge_nearest(parts, 3), np.sort(table, axis=1)[:, :3])
    few = merge_nearest([parts[1], np.empty((40, 0))], 3)
    assert np.isinf(few[:, 1:]).all()
    assert np.isfinite(few[:, 0]).all()


@pytest.mark.parametrize(("below", "kept"), [([1.0, 2, 3], [True, False, False]), ([1.0, 1, 3], [True, True, False])])
def test_realism_balls_are_those_of_all_radii(below, kept):
    assert realism_balls(np.array(below)).tolist() == kept
    assert realism_balls(np.array(below), median_filter=False).all()


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("keep_codes", [True, False])
@pytest.mark.parametrize("piece_size", [7, 1000])
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
    same(sharded.prdc(Y), prdc(X, Y, 3, closed)[3])
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

    original = sys.modules["manifold.shard_worker"].nearest_distances
    monkeypatch.setattr("manifold.shard_worker.nearest_distances", stopped_after(8))
    with pytest.raises(KeyboardInterrupt):
        ShardedManifold(3, piece_size=20).fit(SHARDS, folder=tmp_path)
    done = len(list(tmp_path.iterdir()))
    assert 0 < done < 5
    monkeypatch.setattr("manifold.shard_worker.nearest_distances", original)
    sharded = ShardedManifold(3, piece_size=20).fit(SHARDS, folder=tmp_path)
    np.testing.assert_array_equal(sharded.radii_, whole.radii_)
    for arguments in ({"query": Y}, {"leave_one_out": True}, {"query": Y[::-1]}, {"query": Y, "median_filter": False}):
        for _ in range(2):
            same(sharded.evaluate(**arguments, folder=tmp_path), whole.evaluate(**arguments))
    monkeypatch.setattr("manifold.shard_worker.nearest_distances", stopped_after(0))
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
