"""`evaluate` against float64 tables of all distances, whatever the data, the k and the choice of metrics."""

import contextlib
import io

import manifold_brute_force as brute_force
import numpy as np
import pytest

from genmend.manifold.engine.balls import Balls, hit_probability, log_misses
from genmend.manifold.engine.numpy_screen import Screen
from genmend.manifold.engine.sweep import near_pairs
from genmend.manifold.engine.tallies import Tallies, add_pairs, merge
from genmend.manifold.metrics.evaluation import METRICS, evaluate
from genmend.manifold.metrics.single import prdc

AT_K = METRICS[: METRICS.index("vendi")]


def clustered(rng, n):
    centers = 4 * np.random.default_rng(9).standard_normal((6, 20))
    return (centers[rng.integers(0, 6, n)] + rng.standard_normal((n, 20))).astype(np.float32)


def shifted(rng, n):
    return 300 + rng.standard_normal((n, 20))


def heavy_tails(rng, n):
    return rng.standard_t(1.2, (n, 20))


def integers(rng, n):
    return rng.integers(0, 3, (n, 4))


def duplicated(rng, n):
    return rng.standard_normal((n // 4, 5))[rng.integers(0, n // 4, n)]


def tables(x, y, k, closed):
    """Every array of a k from full tables, in the plainest way."""
    within = np.less_equal if closed else np.less
    table, own = brute_force.distances(y, x), brute_force.distances(x, x)
    np.fill_diagonal(own, np.inf)
    radius, query_radius = brute_force.radii(x, k), brute_force.radii(y, k)
    small = np.where(radius > np.median(radius), np.median(radius), radius)
    truth = brute_force.answers(x, y, k, closed)
    itself = brute_force.answers(x, x, k, closed, leave_one_out=True)

    def p(reach):
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.clip(np.where(table == 0, 1, 1 - table / reach), 0, 1)

    known = itself.rarity[~np.isnan(itself.rarity)]
    return {
        "radius": radius,
        "inside": truth.ball_count > 0,
        "ball_count": truth.ball_count,
        "clipped_count": within(table, small).sum(axis=1),
        "nearest_ball": truth.nearest_ball,
        "rarity": truth.rarity,
        "covered": truth.covered,
        "query_count": within(table, radius).sum(axis=0),
        "score": truth.score,
        "realism": truth.realism,
        "recalled": truth.recalled,
        "holds_reference": within(table, query_radius[:, None]).any(axis=1),
        "p_inside": 1 - np.prod(1 - p(1.2 * radius.mean()), axis=1),
        "p_recalled": 1 - np.prod(1 - p(1.2 * query_radius.mean()), axis=0),
        "reference_rarity": itself.rarity,
        "reference_clipped_count": within(own, small).sum(axis=1),
        "rarity_percentile": [
            np.nan if np.isnan(one) or not len(known) else np.mean(known <= one) for one in truth.rarity
        ],
    }


def assert_equal_arrays(found, truth):
    for name, values in truth.items():
        if np.asarray(values).dtype.kind == "f":
            np.testing.assert_allclose(found[name], values, rtol=1e-12, atol=1e-13, err_msg=name)
        else:
            np.testing.assert_array_equal(found[name], values, err_msg=name)


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("make", [clustered, shifted, heavy_tails, integers, duplicated])
def test_every_array_of_every_k(make, closed):
    rng = np.random.default_rng(0)
    x, y = make(rng, 170), make(rng, 130)
    y[:4] = x[:4]
    result = evaluate(x, y, (5, 1, 3), AT_K, closed=closed, block_size=50)
    assert list(result.at) == [1, 3, 5]
    for k in result.at:
        truth = tables(x, y, k, closed)
        assert set(result[k].arrays) == set(truth)
        assert_equal_arrays(result[k].arrays, truth)


# Realism finds its pairs in other ways with each of the three.
ALONE = [(name,) for name in AT_K] + [("realism", "recall"), ("realism", "p_precision")]


@pytest.mark.parametrize(
    ("metrics", "make"), [*((names, heavy_tails) for names in ALONE), (("realism",), clustered), (ALONE[-1], clustered)]
)
def test_a_metric_alone_is_what_it_is_among_all(make, metrics):
    rng = np.random.default_rng(1)
    x, y = make(rng, 140), 1.5 * make(rng, 90)
    alone, everything = evaluate(x, y, (2, 6), metrics, block_size=64), evaluate(x, y, (2, 6), AT_K)
    for k in (2, 6):
        truth = tables(x, y, k, True)
        assert_equal_arrays(alone[k].arrays, {name: truth[name] for name in alone[k].arrays})
        for name, value in alone[k].totals.items():
            assert value == pytest.approx(everything[k].totals[name], rel=1e-12, nan_ok=True)


def test_ratios_of_a_smaller_k_need_not_be_those_of_the_larger():
    # Seen from 0, the ball round 2 is relatively nearest for k = 2 (radius 9), that round -3 for k = 1 (radius 2.9).
    x = np.array([[2.0], [2.1], [11.0], [-3.0], [-5.9], [-6.0]])
    y = np.array([[0.0], [0.1], [-0.1]])
    result = evaluate(x, y, (1, 2), ("realism",))
    np.testing.assert_allclose(result[1].score[0], 3 / 2.9)
    np.testing.assert_allclose(result[1].score, tables(x, y, 1, True)["score"])
    np.testing.assert_allclose(result[2].score[0], 2 / 5)
    np.testing.assert_allclose(result[2].realism, tables(x, y, 2, True)["realism"])


@pytest.mark.parametrize("closed", [True, False])
def test_totals_follow_from_the_tables(closed):
    rng = np.random.default_rng(2)
    x, y = clustered(rng, 200), 1.2 * clustered(rng, 160)
    result = evaluate(x, y, (3, 4), AT_K, closed=closed)
    for k in (3, 4):
        of, found = tables(x, y, k, closed), result[k].totals
        inside = of["inside"]
        rarity, percentile = of["rarity"][inside], np.array(of["rarity_percentile"])[inside]
        u, u_real = (np.minimum(1, of[name] / k).mean() for name in ("clipped_count", "reference_clipped_count"))
        expected = {
            "precision": inside.mean(),
            "recall": of["recalled"].mean(),
            "density": of["ball_count"].sum() / (k * len(y)),
            "coverage": of["covered"].mean(),
            "realism_median": np.median(of["realism"]),
            "realism_share": (of["realism"] >= 1).mean(),
            "rarity_mean": rarity.mean(),
            "rarity_median": np.median(rarity),
            "rarity_top10": np.sort(rarity)[::-1][: len(rarity) // 10].mean(),
            "rarity_percentile_mean": percentile.mean(),
            "clipped_density_unclipped": u / u_real,
            "clipped_density": min(1, u / u_real),
            "clipped_coverage_raw": np.minimum(1, of["query_count"] / k).mean(),
            "symmetric_precision": min(inside.mean(), of["holds_reference"].mean()),
            "symmetric_recall": min(of["recalled"].mean(), of["covered"].mean()),
            "p_precision": of["p_inside"].mean(),
            "p_recall": of["p_recalled"].mean(),
        }
        assert set(found) == set(expected) | {"expected_precision", "expected_coverage", "clipped_coverage"}
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, rel=1e-12), name
    assert result[3].p_precision != result[4].p_precision


def test_agrees_with_prdc_of_ours_and_of_its_authors():
    rng = np.random.default_rng(3)
    x, y = clustered(rng, 150), clustered(rng, 150)
    for closed in (True, False):
        ours = prdc(x, y, (3, 5), closed)
        found = evaluate(x, y, metrics=("precision", "recall", "density", "coverage"), closed=closed).to_dict()
        assert found["k"] == ours.to_dict()["k"]
    from prdc import compute_prdc

    with contextlib.redirect_stdout(io.StringIO()):
        theirs = compute_prdc(x.astype(np.float64), y.astype(np.float64), nearest_k=5)
    for name, value in theirs.items():
        assert found["k"]["5"][name] == pytest.approx(value, rel=1e-12)


def test_symmetric_metrics_are_the_lesser_of_two_views():
    rng = np.random.default_rng(4)
    wide, tight = 4 * rng.standard_normal((150, 6)), 0.1 * rng.standard_normal((150, 6))
    names = ("precision", "recall", "coverage", "symmetric_precision", "symmetric_recall")
    into_wide = evaluate(wide, tight, 3, names)[3]
    assert into_wide.precision > 0.9  # inside the wide set's balls, whose samples are in none of theirs
    assert into_wide.symmetric_precision < 0.1
    for at in (into_wide, evaluate(tight, wide, 3, names)[3]):
        assert at.symmetric_precision <= at.precision
        assert at.symmetric_recall == min(at.recall, at.coverage)


def test_probabilities_in_log_space():
    far = hit_probability(log_misses(np.array([1 - 1e-12]), 1.0).sum())
    assert far == pytest.approx(1e-12, rel=1e-3)  # 1 - (1 - p) would keep four digits of it
    near = log_misses(np.full(5000, 1e-3), 1.0).sum()
    assert near == pytest.approx(-5000 * np.log(1000))  # exp of it underflows
    assert hit_probability(near) == 1
    np.testing.assert_array_equal(hit_probability(log_misses(np.array([0.0, 1, 2]), 0.0)), [1, 0, 0])
    assert not np.signbit(hit_probability(np.zeros(1)))


def test_merged_parts_are_the_whole():
    rng = np.random.default_rng(6)
    x, y = clustered(rng, 120), clustered(rng, 100)
    balls = Balls.of(brute_force.radii(x, 3), brute_force.radii(y, 3), closed=True, probabilistic=True)
    pairs = list(
        near_pairs(Screen.of(x), x, y, balls.radii, balls.query_radii, closest_among=[balls.kept], block_size=25)
    )
    whole, odd, even = (Tallies.empty(len(x), len(y)) for _ in range(3))
    for number, tile in enumerate(pairs):
        add_pairs(whole, tile, balls)
        add_pairs(odd if number % 2 else even, tile, balls)
    merged, swapped = merge(odd, even), merge(even, odd)
    for name, values in vars(whole).items():
        np.testing.assert_allclose(getattr(merged, name), values, rtol=1e-13, err_msg=name)
        np.testing.assert_array_equal(getattr(swapped, name), getattr(merged, name))
        assert getattr(merged, name).dtype == values.dtype


def test_order_of_samples_does_not_matter():
    rng = np.random.default_rng(7)
    x, y = heavy_tails(rng, 120), heavy_tails(rng, 100)
    rows, columns = rng.permutation(100), rng.permutation(120)
    before, after = evaluate(x, y, 3, AT_K)[3], evaluate(x[columns], y[rows], 3, AT_K, block_size=33)[3]
    for name, values in before.arrays.items():
        if name != "nearest_ball":
            order = rows if len(values) == 100 else columns
            np.testing.assert_allclose(after.arrays[name], values[order], rtol=1e-12, err_msg=name)
    assert (np.append(columns, -1)[after.nearest_ball] == before.nearest_ball[rows]).all()
