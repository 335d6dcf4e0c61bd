"""The hand-computed and seeded oracles of the manifold specification, section 7d: what `evaluate` adds to `prdc`."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from genmend.manifold.metrics.calibration import calibrated_clipped_coverage, expected_clipped_coverage
from genmend.manifold.metrics.evaluation import METRICS, evaluate

NAN = np.nan
X = np.array([[0.0], [1], [3], [7]])
Y = np.array([[0.5], [2], [5.5], [12]])
OF_POINTS = tuple(name for name in METRICS if name != "cmmd")  # of directions, which 0 has none of
AT_K = METRICS[: METRICS.index("vendi")]
CLIPPED = ("clipped_density", "clipped_coverage")


# A. hand example, d = 1, k = 1


def test_hand_example_closed():
    at = evaluate(X, Y, 1, OF_POINTS)[1]
    np.testing.assert_array_equal(at.rarity, [1, 1, 4, NAN])
    np.testing.assert_array_equal(at.nearest_ball, [0, 1, 3, -1])
    np.testing.assert_array_equal(at.reference_rarity, [1, 1, 4, NAN])
    np.testing.assert_allclose(at.rarity_percentile, [2 / 3, 2 / 3, 1, NAN])
    np.testing.assert_allclose(at.realism, [2, 1, 2 / 9, 1 / 11])
    np.testing.assert_allclose(1 / at.score, [2, 2, 8 / 3, 0.8])  # realism without the filter
    assert (at.precision, at.recall, at.density, at.coverage) == (0.75, 1, 1.25, 1)
    np.testing.assert_array_equal(at.clipped_count.clip(max=1), [1, 1, 1, 0])  # 0.75 before it is normalised
    np.testing.assert_array_equal(at.reference_clipped_count, [1, 1, 0, 0])  # 0.5
    assert (at.clipped_density_unclipped, at.clipped_density) == (1.5, 1)
    assert (at.clipped_coverage_raw, at.clipped_coverage) == (1, 1)
    assert at.p_precision == pytest.approx(0.54673, abs=5e-6)
    assert at.p_recall == pytest.approx(0.85285, abs=5e-6)
    assert (at.symmetric_precision, at.symmetric_recall) == (0.75, 1)
    assert (at.rarity_mean, at.rarity_median, at.rarity_top10) == (2, 1, 4)
    assert at.rarity_percentile_mean == pytest.approx(7 / 9)
    assert (at.realism_share, at.realism_median) == (0.5, pytest.approx((1 + 2 / 9) / 2))


def test_hand_example_open():
    result = evaluate(X, Y, 1, OF_POINTS, closed=False)
    at = result[1]
    np.testing.assert_array_equal(at.rarity, [1, 2, 4, NAN])
    assert np.isnan(at.reference_rarity).all()
    assert np.isnan(at.rarity_percentile).all()
    assert (at.precision, at.recall, at.density, at.coverage) == (0.75, 1, 1, 1)
    assert result.to_dict()["k"]["1"]["rarity_percentile_mean"] is None
    assert any("no percentile" in warning for warning in result.warnings)


# C. the same distribution twice


def test_clipped_coverage_meets_its_expectation():
    assert expected_clipped_coverage(10_000, 10_000, 5)[-1] == pytest.approx(0.7540, abs=5e-5)
    assert expected_clipped_coverage(10_000, 10_000, 3)[-1] == pytest.approx(0.6876, abs=6e-5)
    x, y = np.random.default_rng(0).uniform(size=(2, 2_000, 3))
    at = evaluate(x, y, 5, (*CLIPPED, "rarity"))[5]
    assert at.clipped_coverage_raw == pytest.approx(expected_clipped_coverage(2_000, 2_000, 5)[-1], abs=0.02)
    assert at.clipped_coverage > 0.95
    assert at.clipped_density > 0.95
    # Not 0.5: a reference sample, unlike a query, is itself a neighbour that keeps the balls round it small.
    assert 0.5 < at.rarity_percentile_mean < 0.7


@pytest.mark.parametrize(("n", "m", "k"), [(6, 9, 1), (9, 14, 3), (40, 25, 4)])
def test_expected_clipped_coverage_against_the_plain_sum(n, m, k):
    from scipy.stats import betabinom

    found = expected_clipped_coverage(n, m, k)
    assert found.shape == (m + 1,)
    assert (found[:k] == 0).all()
    for good in range(k, m + 1):
        j = np.arange(good + 1)
        assert found[good] == pytest.approx(np.sum(np.minimum(j, k) * betabinom.pmf(j, good, k, n - k)) / k, rel=1e-11)


def test_calibration_is_the_place_in_the_sequence():
    expected = expected_clipped_coverage(30, 20, 3)
    found = calibrated_clipped_coverage(expected, 30, 20, 3)
    np.testing.assert_allclose(found[3:], np.arange(3, 21) / 21)
    assert calibrated_clipped_coverage(0.0, 30, 20, 3) == 0
    assert calibrated_clipped_coverage(1.0, 30, 20, 3) == 1
    assert np.all(np.diff(expected_clipped_coverage(200, 200_000, 5)) >= 0)
    assert expected_clipped_coverage(200, 200_000, 5)[-1] == pytest.approx(1, abs=1e-3)


# D. small seeded runs, n = m = 2,000, d = 32, k = 5; precision to coverage are those of test_manifold_oracles.py


def gaussian(rng, n=2_000):
    return rng.standard_normal((n, 32))


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
        return tuple(centers[rng.integers(0, top, 2_000)] + gaussian(rng) for top in (10, modes))

    return case


@pytest.mark.parametrize(
    ("case", "density", "raw_coverage", "good"),
    [
        (far_noise(0), 1.00, 0.76, 1),
        (far_noise(0.25), 0.75, 0.65, 0.75),
        (far_noise(0.5), 0.49, 0.47, 0.5),
        (mixture(5), 1.00, 0.45, 0.5),
        (mixture(2), 0.99, 0.20, 0.2),
    ],
    ids=["same", "noise 25 %", "noise 50 %", "5 of 10 modes", "2 of 10 modes"],
)
def test_seeded_runs(case, density, raw_coverage, good):
    # The specification measured one draw; single draws scatter by 0.02 to 0.04 (standard deviation).
    results = [evaluate(*case(np.random.default_rng(seed)), 5, CLIPPED)[5] for seed in range(10)]
    found = np.mean([[at.clipped_density, at.clipped_coverage_raw, at.clipped_coverage] for at in results], axis=0)
    # Calibrated coverage is the share of good samples, of whatever kind the others are.
    np.testing.assert_allclose(found, (density, raw_coverage, good), atol=0.02)


def test_collapse():
    rng = np.random.default_rng(2)
    x = gaussian(rng)
    hub = x[evaluate(x, x, 5, ("precision",))[5].ball_count.argmax()]
    y = hub + 1e-3 * gaussian(rng, 1_000)
    result = evaluate(x, y, 5, ("precision", "recall", "density", *CLIPPED), bootstrap=20)
    at = result[5]
    assert at.precision == 1
    assert at.recall <= 0.002
    assert at.clipped_density == 1 < 1.5 < at.clipped_density_unclipped
    assert at.clipped_coverage_raw < 0.05
    assert at.clipped_coverage < 0.1
    assert sum("density at k = 5" in warning for warning in result.warnings) == 1
    assert any("only equal sizes" in warning for warning in result.warnings)
    assert at.intervals["clipped_density"] == (1, 1)


# E. a real outlier


def test_outlier_ball_lends_nothing_to_clipped_density():
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
    bad, worse = evaluate(x, near_outlier, k)[k], evaluate(x, nowhere, k)[k]
    assert bad.precision - worse.precision == pytest.approx(share, abs=1e-12)
    assert bad.density - worse.density == pytest.approx(share / k, abs=1e-12)
    assert bad.clipped_density_unclipped == worse.clipped_density_unclipped
    assert bad.realism_share == worse.realism_share
    assert (bad.rarity[:n_bad] == bad.radius[-1]).all()  # rare indeed, and by the percentile too
    assert (bad.rarity_percentile[:n_bad] == 1).all()


# F. shift along one axis


def test_response_to_a_shift_is_symmetric():
    half = np.random.default_rng(4).standard_normal((250, 64))
    x = np.vstack([half, -half])  # a set and its mirror image: the symmetry is exact, not statistical
    results = {
        t: evaluate(x, x + t * np.eye(64)[0], 5, (*AT_K, "vendi", "kid")).to_dict() for t in (-12.0, -2.0, 2.0, 12.0)
    }
    for t in (2.0, 12.0):
        for name, value in results[t]["k"]["5"].items():
            other = results[-t]["k"]["5"][name]
            assert value is other is None or value == pytest.approx(other, rel=1e-9), name
        assert results[t]["vendi"] == pytest.approx(results[-t]["vendi"])
        assert results[t]["kid"] == pytest.approx(results[-t]["kid"])
    for name in ("clipped_density_unclipped", "clipped_coverage_raw", "p_precision", "p_recall", "symmetric_recall"):
        assert results[2.0]["k"]["5"][name] > results[12.0]["k"]["5"][name]


# G. invariance


def test_rotation_translation_and_scale():
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((200, 3)), 1.2 * rng.standard_normal((200, 3))
    turn = Rotation.random(rng=1).as_matrix()
    before, after = evaluate(x, y, (3, 5), AT_K), evaluate(*(7 * z @ turn + 11 for z in (x, y)), (3, 5), AT_K)
    for k in (3, 5):
        for name, value in before[k].totals.items():
            in_units = name.startswith("rarity") and "percentile" not in name
            assert after[k].totals[name] == pytest.approx((7 if in_units else 1) * value, rel=1e-9), name


# H. degenerate


def test_all_features_equal_closed():
    x = np.full((30, 4), 2.5)
    result = evaluate(x, x.copy(), 5, METRICS)
    at = result[5]
    assert (at.precision, at.recall, at.density, at.coverage) == (1, 1, 30 / 5, 1)
    for name in ("clipped_density", "clipped_coverage", "symmetric_precision", "symmetric_recall"):
        assert at.totals[name] == 1
    assert (at.p_precision, at.p_recall, at.realism_share) == (1, 1, 1)
    assert (at.score == 0).all()
    assert (at.rarity == 0).all()
    assert (at.rarity_percentile == 1).all()  # all values are equal: none is larger
    found = result.to_dict()
    assert found["k"]["5"]["realism_median"] is None  # infinite
    assert found["vendi"] == pytest.approx(1)
    assert found["kid"] == pytest.approx(0, abs=1e-9)


def test_all_features_equal_open():
    x = np.full((30, 4), 2.5)
    result = evaluate(x, x.copy(), 5, METRICS, closed=False)
    at = result[5]
    assert (at.precision, at.recall, at.density, at.coverage) == (0, 0, 0, 0)
    assert (at.symmetric_precision, at.symmetric_recall, at.clipped_coverage) == (0, 0, 0)
    assert (at.p_precision, at.p_recall) == (1, 1)  # they know no boundary
    found = result.to_dict()["k"]["5"]
    assert found["clipped_density"] is found["rarity_mean"] is found["rarity_top10"] is None


# I. numerics


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_offset_of_a_thousand_moves_nothing(dtype):
    # Multiples of 2**-10 survive the offset without rounding, in float32 too.
    x, y = (np.round(np.random.default_rng(5).standard_normal((2, 250, 40)) * 1024) / 1024).astype(dtype)
    for closed in (True, False):
        before, after = (evaluate(x + dtype(t), y + dtype(t), metrics=AT_K, closed=closed) for t in (0, 1000))
        for name, values in before.per_sample().items():
            np.testing.assert_array_equal(after.per_sample()[name], values, err_msg=name)
        assert before.to_dict() == after.to_dict()
