"""Equal to a float64 brute-force loop, and to the implementations people already use."""

import contextlib
import io

import manifold_brute_force as brute_force
import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from genmend.manifold import Manifold, compute_prdc, knn_radii, prdc
from genmend.manifold.engine.distances import pair_distances


def clustered(seed, n, d, spread=3.0):
    """Features with structure: clusters on a curved surface, as float32."""
    rng = np.random.default_rng(seed)
    latent = rng.standard_normal((n, 6)) + spread * rng.standard_normal((12, 6))[rng.integers(0, 12, n)]
    weights = np.random.default_rng(99)
    hidden = np.maximum(latent @ weights.standard_normal((6, 64)), 0)
    return (hidden @ weights.standard_normal((64, d)) / 8).astype(np.float32)


def shifted(seed, n, d):
    return (np.random.default_rng(seed).standard_normal((n, d)) + 300).astype(np.float32)


def heavy_tails(seed, n, d):
    return np.random.default_rng(seed).standard_t(1.2, (n, d)).astype(np.float32)


def fine_float64(seed, n, d):
    """Differences that float32 cannot hold."""
    return 1000 + 1e-5 * np.random.default_rng(seed).standard_normal((n, d))


def mixed_scales(seed, n, d):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)) * 10.0 ** rng.integers(-9, 6, size=(n, 1))


def integers(seed, n, d):
    return np.random.default_rng(seed).integers(0, 3, (n, min(d, 5)))


def half(seed, n, d):
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float16)


def huge(seed, n, d):
    return 1e120 * np.random.default_rng(seed).standard_normal((n, d))


def tiny(seed, n, d):
    return 1e-120 * np.random.default_rng(seed).standard_normal((n, d))


def duplicated(seed, n, d):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n // 4, d))[rng.integers(0, n // 4, n)]


DATA = [clustered, shifted, heavy_tails, fine_float64, mixed_scales, integers, half, huge, tiny, duplicated]


@pytest.mark.parametrize(
    ("make", "closed"),
    [*((make, True) for make in DATA), *((make, False) for make in (clustered, integers, duplicated))],
)
def test_equal_to_a_float64_loop(make, closed):
    x, y = make(1, 260, 48), make(2, 190, 48)
    y[:5] = x[:5]
    fitted = Manifold(k=4, closed=closed, block_size=70).fit(x)
    brute_force.assert_same(fitted, prdc(x, y, (2, 4), closed, block_size=70), x, y, 4, closed)


def test_equal_to_a_float64_loop_in_many_dimensions():
    x, y = clustered(3, 300, 1024), clustered(4, 200, 1024)
    brute_force.assert_same(Manifold(k=5).fit(x), prdc(x, y, 5), x, y, 5, True)


@pytest.mark.parametrize("shift", [1e3, 300.0])
def test_query_far_from_the_reference(shift):
    rng = np.random.default_rng(7)
    x, y = rng.standard_normal((2, 200, 30))
    y[::2] += shift
    brute_force.assert_same(Manifold(k=3).fit(x), prdc(x, y, 3), x, y, 3, True)


@pytest.mark.parametrize("factor", [1e-30, 1e20, 1e40, 1e100])
def test_query_beyond_the_range_of_float32(factor):
    rng = np.random.default_rng(8)
    x, y = rng.standard_normal((2, 60, 7))
    y[::3] *= factor
    for a, b in ((x, y), (y, x)):
        brute_force.assert_same(Manifold(k=3).fit(a), prdc(a, b, 3), a, b, 3, True)


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("make", [clustered, integers, duplicated])
def test_leave_one_out_equals_a_float64_loop(make, closed):
    x = make(5, 150, 20)
    truth = brute_force.answers(x, x, 3, closed, leave_one_out=True)
    scores = Manifold(k=3, closed=closed, block_size=64).fit(x).evaluate(leave_one_out=True)
    np.testing.assert_array_equal(scores.ball_count, truth.ball_count)
    np.testing.assert_array_equal(scores.nearest_ball, truth.nearest_ball)
    np.testing.assert_allclose(scores.rarity, truth.rarity, rtol=1e-14)
    np.testing.assert_allclose(scores.score, truth.score, rtol=1e-13)
    np.testing.assert_allclose(scores.realism, truth.realism, rtol=1e-13)


def test_realism_without_filter_is_the_reciprocal_score():
    x, y = clustered(1, 200, 20), clustered(2, 100, 20)
    fitted = Manifold(k=3).fit(x)
    np.testing.assert_allclose(fitted.realism(y, median_filter=False), 1 / fitted.score_samples(y))


def test_exact_distance_is_independent_of_its_neighbours_and_of_direction():
    rng = np.random.default_rng(9)
    for d in (1, 2, 7, 48, 512, 2051, 10_000):
        a, b = rng.standard_normal((2, 40, d)).astype(np.float32)
        i, j = rng.integers(0, 40, (2, 300))
        together = pair_distances(a, i, b, j)
        alone = [pair_distances(a, i[p : p + 1], b, j[p : p + 1])[0] for p in range(300)]
        np.testing.assert_array_equal(together, alone)
        np.testing.assert_array_equal(together, pair_distances(b, j, a, i))
        for p in range(0, 300, 100):
            assert together[p] == pytest.approx(brute_force.slow_distance(a[i[p]], b[j[p]]), rel=1e-14)


@pytest.mark.parametrize("make", [clustered, duplicated])
def test_radii_equal_scikit_learn(make):
    x = make(10, 500, 40).astype(np.float64)
    expected = NearestNeighbors(n_neighbors=7, algorithm="brute").fit(x - x.mean(axis=0)).kneighbors()[0]
    np.testing.assert_allclose(knn_radii(x, (1, 3, 7)), expected[:, [0, 2, 6]], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_equal_to_prdc_with_open_balls(k):
    package = pytest.importorskip("prdc")
    x, y = clustered(11, 500, 64).astype(np.float64), clustered(12, 400, 64).astype(np.float64)
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = package.compute_prdc(x, y, k)
    ours = prdc(x, y, k, closed=False)[k]
    for name, value in theirs.items():
        assert getattr(ours, name) == pytest.approx(float(value), abs=1e-12), name
    assert compute_prdc(x, y, k) == {name: getattr(ours, name) for name in theirs}


def test_compute_prdc_takes_the_place_of_the_packages(capsys):
    """The call of its README, a tenth as large; and integers, where open balls and closed ones differ."""
    package = pytest.importorskip("prdc")
    rng = np.random.default_rng(0)
    for real, fake in (rng.normal(loc=0.0, scale=1.0, size=[2, 1000, 100]), rng.integers(0, 3, (2, 300, 4))):
        with contextlib.redirect_stdout(io.StringIO()):
            theirs = package.compute_prdc(real_features=real, fake_features=fake, nearest_k=5)
        ours = compute_prdc(real_features=real, fake_features=fake, nearest_k=5)
        assert list(ours) == list(theirs)
        assert ours == pytest.approx({name: float(value) for name, value in theirs.items()}, abs=1e-12)
        assert type(ours) is dict
        assert {type(value) for value in ours.values()} == {float}
    assert capsys.readouterr().out == ""
    assert ours["density"] < prdc(real, fake, 5)[5].density
    with pytest.raises(ValueError, match="nearest_k is 0"):
        compute_prdc(real, fake, 0)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_equal_to_torch_fidelity_with_closed_balls(k):
    torch = pytest.importorskip("torch")
    metric = pytest.importorskip("torch_fidelity.metric_prc")
    x, y = (torch.from_numpy(clustered(seed, n, 64).astype(np.float64)) for seed, n in ((13, 500), (14, 400)))
    # Theirs: the generated set first.
    value = metric.calculate_precision_recall_full(y, x, neighborhood=k)
    ours = prdc(x, y, k, closed=True)[k]
    # Their means are taken in float32.
    assert (ours.precision, ours.recall) == pytest.approx(value, abs=1e-6)
    assert ours.precision != ours.recall
