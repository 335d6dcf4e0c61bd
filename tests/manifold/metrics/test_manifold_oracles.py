"""The hand-computed and seeded oracles of the manifold specification, section 7d."""

import numpy as np
import pytest

from genmend import manifold
from genmend.manifold import Manifold, coverage, density, knn_radii, prdc, precision, recall
from genmend.manifold.metrics.calibration import expected_coverage
from genmend.manifold.metrics.definition import prdc_by_definition

NAN = np.nan
X = np.array([[0.0], [1], [3], [7]])
Y = np.array([[0.5], [2], [5.5], [12]])


def four(at):
    return at.precision, at.recall, at.density, at.coverage


# A. hand example, d = 1, k = 1


def test_hand_example_radii():
    np.testing.assert_array_equal(knn_radii(X, 1), [1, 1, 2, 4])
    np.testing.assert_array_equal(knn_radii(Y, 1), [1.5, 1.5, 3.5, 6.5])
    np.testing.assert_array_equal(knn_radii(X, (3, 1)), [[7, 1], [6, 1], [4, 2], [7, 4]])


@pytest.mark.parametrize(
    ("closed", "rarity", "ball", "totals"),
    [
        (False, [1, 2, 4, NAN], [0, 2, 3, -1], (0.75, 1.0, 1.0, 1.0)),
        (True, [1, 1, 4, NAN], [0, 1, 3, -1], (0.75, 1.0, 1.25, 1.0)),
    ],
)
def test_hand_example(closed, rarity, ball, totals):
    fitted = Manifold(k=1, closed=closed).fit(X)
    values, index = fitted.rarity(Y, return_index=True)
    np.testing.assert_array_equal(values, rarity)
    np.testing.assert_array_equal(index, ball)
    np.testing.assert_array_equal(fitted.contains(Y), [True, True, True, False])
    assert four(prdc(X, Y, 1, closed)[1]) == totals
    assert tuple(f(X, Y, 1, closed) for f in (precision, recall, density, coverage)) == totals
    defined = prdc_by_definition(X, Y, 1, closed)
    assert tuple(defined[name] for name in ("precision", "recall", "density", "coverage")) == totals
    np.testing.assert_array_equal(defined["rarity"], rarity)


def test_hand_example_leave_one_out():
    np.testing.assert_array_equal(Manifold(k=1).fit(X).rarity(leave_one_out=True), [1, 1, 4, NAN])
    open_balls = Manifold(k=1, closed=False).fit(X)
    assert np.isnan(open_balls.rarity(leave_one_out=True)).all()
    assert not open_balls.contains(leave_one_out=True).any()
    np.testing.assert_array_equal(Manifold(k=1).fit(X).score_samples(leave_one_out=True), [1, 1, 1, 2])


def test_hand_example_realism():
    fitted = Manifold(k=1).fit(X)
    np.testing.assert_allclose(fitted.realism(Y), [2, 1, 2 / 9, 1 / 11])
    np.testing.assert_allclose(fitted.realism(Y, median_filter=False), [2, 2, 8 / 3, 0.8])
    np.testing.assert_allclose(fitted.score_samples(Y), [0.5, 0.5, 3 / 8, 1.25])


# B. Gaussian oracle of the density and coverage authors: 10,000 x 1,000, k = 5


@pytest.mark.slow
def test_gaussian_oracle():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 10_000, 1_000), dtype=np.float32)
    np.testing.assert_allclose(four(prdc(x, y, 5)[5]), (0.4772, 0.4705, 1.0555, 0.9735), atol=0.015)


# C. coverage of equal distributions


def test_expected_coverage_values():
    values = [expected_coverage(10_000, 10_000, k) for k in (1, 3, 5, 10)]
    np.testing.assert_allclose(values, [0.5, 0.8750, 0.9688, 0.9990], atol=5e-5)
    assert expected_coverage(2, 2, 1) == pytest.approx(1 - 1 / 3)
    assert expected_coverage(4, 2, 2) == pytest.approx(1 - (3 / 5) * (2 / 4))  # sizes are not interchangeable


def test_coverage_meets_its_expectation():
    rng = np.random.default_rng(1)
    x, y = rng.uniform(size=(2, 2_000, 3))
    assert expected_coverage(2_000, 2_000, 5) == pytest.approx(0.9689, abs=1e-4)
    assert coverage(x, y, 5) == pytest.approx(0.9689, abs=0.01)


# D. small seeded runs, n = m = 2,000, d = 32, k = 5


def gaussian(rng, n=2_000):
    return rng.standard_normal((n, 32))


def same(rng):
    return gaussian(rng), gaussian(rng)


def collapsed(rng):
    x = gaussian(rng)
    hub = x[Manifold(5).fit(x).ball_count(leave_one_out=True).argmax()]
    return x, hub + 1e-3 * gaussian(rng, 1_000)


def far_noise(share):
    def case(rng):
        y = gaussian(rng)
        bad = int(share * len(y))
        y[:bad] = 10 + 10 * gaussian(rng, bad)
        return gaussian(rng), y

    return case


def mixture(modes):
    def case(rng):
        centers = 10 * gaussian(rng, 10)
        return (
            centers[rng.integers(0, 10, 2_000)] + gaussian(rng),
            centers[rng.integers(0, modes, 2_000)] + gaussian(rng),
        )

    return case


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (same, (0.79, 0.80, 1.02, 0.97)),
        (far_noise(0.25), (0.59, 0.79, 0.78, 0.94)),
        (far_noise(0.5), (0.40, 0.80, 0.50, 0.87)),
        (mixture(5), (0.84, 0.39, 0.97, 0.48)),
        (mixture(2), (0.82, 0.15, 0.99, 0.20)),
    ],
    ids=["same", "noise 25 %", "noise 50 %", "5 of 10 modes", "2 of 10 modes"],
)
def test_seeded_runs(case, expected):
    # The specification measured one draw. Density varies most from draw to draw (standard deviation 0.03 to 0.07).
    found = np.mean([four(prdc(*case(np.random.default_rng(seed)), 5)[5]) for seed in range(3)], axis=0)
    precision_, recall_, density_, coverage_ = np.abs(found - expected)
    assert max(precision_, recall_, coverage_) < 0.03
    assert density_ < 0.08


def test_collapse_is_precise_and_recalls_nothing():
    x, y = collapsed(np.random.default_rng(2))
    at = prdc(x, y, 5)[5]
    assert at.precision == 1
    assert at.recall <= 0.002
    assert at.coverage <= 0.05
    assert at.density > 1.5
    swapped = prdc(y, x, 5)[5]
    assert (swapped.precision, swapped.recall) == (at.recall, at.precision)


# E. a real outlier lends precision and density to whatever surrounds it


def test_outlier_ball_lifts_precision_and_density():
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((2, 500, 8))
    outlier = np.zeros((1, 8))
    outlier[0, 0] = 60
    share, k = 0.2, 5
    n_bad = int(share * len(y))
    away = rng.standard_normal((n_bad, 8))
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    near_outlier, nowhere = y.copy(), y.copy()
    near_outlier[:n_bad] = outlier + 15 * away  # farther than the median radius, inside the outlier's ball of about 57
    nowhere[:n_bad] = -20 * outlier + 15 * away
    x = np.vstack([x, outlier])
    assert np.median(knn_radii(x, k)) < 15
    bad, worse = prdc(x, near_outlier, k)[k], prdc(x, nowhere, k)[k]
    assert bad.precision - worse.precision == pytest.approx(share, abs=1e-12)
    assert bad.density - worse.density == pytest.approx(share / k, abs=1e-12)
    # The median filter of realism is there for this: outlier balls do not count.
    fitted = Manifold(k).fit(x)
    assert (fitted.realism(near_outlier[:n_bad]) < 1).all()
    assert (fitted.realism(near_outlier[:n_bad], median_filter=False) >= 1).all()


# F. shift along one axis


def test_response_to_a_shift_is_symmetric():
    rng = np.random.default_rng(4)
    half = rng.standard_normal((400, 64))
    x = np.vstack([half, -half])  # a set and its mirror image: the symmetry is exact, not statistical
    results = {}
    for t in (-6.0, -2.0, 0.0, 2.0, 6.0):
        results[t] = four(prdc(x, x + t * np.eye(64)[0], 5)[5])
    assert results[-2.0] == results[2.0]
    assert results[-6.0] == results[6.0]
    assert results[0.0] > results[2.0] > results[6.0]


# G. invariance and I. numerics are property tests; here the one number the specification names


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_offset_of_a_thousand_moves_nothing(dtype):
    rng = np.random.default_rng(5)
    # Multiples of 2**-10 survive the offset without rounding, in float32 too.
    x, y = (np.round(rng.standard_normal((2, 300, 40)) * 1024) / 1024).astype(dtype)
    for closed in (True, False):
        before, after = prdc(x, y, (3, 5), closed), prdc(x + dtype(1000), y + dtype(1000), (3, 5), closed)
        assert before.to_dict() == after.to_dict()
    np.testing.assert_array_equal(Manifold().fit(x).rarity(y), Manifold().fit(x + dtype(1000)).rarity(y + dtype(1000)))


# H. degenerate


@pytest.mark.parametrize(("closed", "expected"), [(True, (1, 1, 30 / 5, 1)), (False, (0, 0, 0, 0))])
def test_all_features_equal(closed, expected):
    x = np.full((30, 4), 2.5)
    assert four(prdc(x, x.copy(), 5, closed)[5]) == expected


# Orientation and boundary convention


def test_asymmetric_data_tells_precision_from_recall():
    rng = np.random.default_rng(6)
    wide, tight = rng.standard_normal((300, 6)) * 5, rng.standard_normal((300, 6)) * 0.05
    assert precision(wide, tight) > 0.9
    assert recall(wide, tight) < 0.1
    assert precision(tight, wide) < 0.1
    assert recall(tight, wide) > 0.9
    assert coverage(wide, tight) < 0.2
    assert density(wide, tight) > 0.5
    assert density(tight, wide) < 0.1


def test_boundary_rule_matters_on_integer_features():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 3, size=(2, 400, 4))
    strict, closed = prdc(x, y, 3, closed=False)[3], prdc(x, y, 3, closed=True)[3]
    assert (closed.precision, closed.recall) == (1, 1)
    assert 0.1 < strict.precision < 0.5
    assert 0.1 < strict.recall < 0.5


def test_public_names():
    assert sorted(manifold.__all__) == [
        "Comparison", "Evaluation", "Manifold", "ManifoldScores", "NormalRegion", "ShardedManifold", "auth_pct",
        "cmmd", "compare", "compute_prdc", "coverage", "density", "evaluate", "evaluate_by_class", "frechet_distance",
        "kid", "knn_radii", "memorisation", "nearest_neighbors", "open_features", "prdc", "precision", "recall",
        "vendi_score",
    ]  # fmt: skip
    for name in manifold.__all__:
        assert getattr(manifold, name).__name__ == name
    with pytest.raises(AttributeError, match="nothing"):
        _ = manifold.nothing
