"""What `evaluate` accepts, returns, leaves out, warns about and refuses; its intervals."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from genmend.manifold.metrics.bootstrap import percentile_interval, resampled_means
from genmend.manifold.metrics.calibration import calibrated_clipped_coverage
from genmend.manifold.metrics.evaluation import METRICS, evaluate
from genmend.manifold.metrics.evaluation_result import Evaluation
from genmend.manifold.metrics.subsampling import (
    other_draws,
    subsample_intervals,
    subsample_sizes,
    subsampled_totals,
)

TOTALS = {
    "precision", "expected_precision", "recall", "density", "coverage", "expected_coverage", "realism_median",
    "realism_share", "rarity_mean", "rarity_median", "rarity_top10", "rarity_percentile_mean", "clipped_density",
    "clipped_density_unclipped", "clipped_coverage", "clipped_coverage_raw", "symmetric_precision", "symmetric_recall",
    "p_precision", "p_recall",
}  # fmt: skip
NOT_ESTIMATED = {"expected_precision", "expected_coverage"}  # totals without an interval
ON_REQUEST = {"p_precision", "p_recall"}
WITHOUT_K = {"vendi", "vendi_reference", "vendi_subsets_mean", "vendi_subsets_std", "vendi_reference_subsets_mean",
             "vendi_reference_subsets_std", "kid", "kid_std"}  # fmt: skip


@pytest.fixture(scope="module")
def sets():
    rng = np.random.default_rng(0)
    return rng.standard_normal((220, 12)), 1.1 * rng.standard_normal((180, 12))


@pytest.fixture(scope="module")
def everything(sets):
    return evaluate(*sets, bootstrap=40, seed=3)


def test_json(everything):
    found = everything.to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert [found[name] for name in ("n_reference", "n_query", "n_features", "closed", "seed")] == [
        220,
        180,
        12,
        True,
        3,
    ]
    assert set(found["k"]) == {"3", "5"}
    assert all(set(at) == TOTALS - ON_REQUEST for at in found["k"].values())
    assert set(found["intervals"]["5"]) == TOTALS - ON_REQUEST - NOT_ESTIMATED
    assert found["interval_method"] == (
        "95 % intervals of the mean over other samples as many as these: from 40 random halves of both sets, "
        "110 reference and 90 query samples each, with balls of their own"
    )
    assert {*WITHOUT_K, "warnings"} < set(found)
    assert not any(name.startswith("frechet") for name in found)


def test_per_sample_arrays(everything):
    arrays = everything.per_sample()
    of_query = {"inside", "ball_count", "clipped_count", "nearest_ball", "rarity", "rarity_percentile", "score",
                "realism", "holds_reference"}  # fmt: skip
    of_reference = {"radius", "covered", "query_count", "recalled", "reference_rarity",
                    "reference_clipped_count"}  # fmt: skip
    assert set(arrays) == {f"k{k}_{name}" for k in (3, 5) for name in of_query | of_reference}
    assert all(len(arrays[f"k3_{name}"]) == 180 for name in of_query)
    assert all(len(arrays[f"k3_{name}"]) == 220 for name in of_reference)
    assert all(type(values) is np.ndarray for values in arrays.values())
    assert arrays["k3_inside"].dtype == bool
    assert arrays["k5_ball_count"].dtype == np.int64


def test_access_by_k_and_name(everything):
    assert everything[3].precision == everything.to_dict()["k"]["3"]["precision"]
    assert everything[5].rarity is everything.per_sample()["k5_rarity"]
    assert everything[3].intervals["precision"][0] <= everything[3].precision
    with pytest.raises(KeyError, match=r"k = 4 was not computed; \[3, 5\] were"):
        _ = everything[4]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("precision", r"precision depends on .* it is evaluation\[3\]\.precision, for each k of \[3, 5\]"),
        ("rarity", r"it is evaluation\[3\]\.rarity"),
        ("kid", r"it is evaluation\.totals\['kid'\]"),
        ("p_recall", r"p_recall was not computed; precision, .* were; pass its metric to evaluate"),
    ],
)
def test_a_total_asked_for_at_the_wrong_place_is_named(everything, name, words):
    with pytest.raises(AttributeError, match=words):
        getattr(everything, name)
    with pytest.raises(KeyError, match=words):
        _ = everything[name]
    copied = pickle.loads(pickle.dumps(everything))
    assert copied.to_dict() == everything.to_dict()


def test_repr_is_ten_lines(everything):
    text = repr(everything)
    assert len(text.splitlines()) == 10
    assert "180 query against 220 reference samples" in text
    assert f"{everything[3].precision:.4g}" in text
    assert f"{len(everything.warnings)} warnings" in text
    assert len(repr(everything[3]).splitlines()) == 1 < len(repr(everything[3])) < 1500
    assert len(repr(evaluate(*np.random.default_rng(0).standard_normal((2, 9, 2)), metrics=("kid",)))) < 300
    page = everything._repr_html_()
    assert page.count("<tr>") == 1 + len(TOTALS - ON_REQUEST) + len(WITHOUT_K)
    assert page.count("<li>") == len(everything.warnings)


@pytest.mark.parametrize(
    ("metrics", "totals"),
    [
        (("coverage",), {"coverage", "expected_coverage"}),
        ("recall", {"recall"}),
        (("kid", "clipped_density"), {"clipped_density", "clipped_density_unclipped"}),
        (("symmetric_recall", "symmetric_recall"), {"symmetric_recall"}),
        (("p_precision",), {"p_precision"}),
    ],
)
def test_only_what_was_asked(sets, metrics, totals):
    result = evaluate(*sets, 4, metrics, bootstrap=5)
    found = result.to_dict()
    assert set(found["k"]["4"]) == totals
    assert set(found["intervals"]["4"]) == totals - NOT_ESTIMATED
    assert ("kid" in found) == ("kid" in metrics)
    assert "vendi" not in found
    with pytest.raises(AttributeError, match="density was not computed for this k"):
        _ = result[4].density


def test_without_balls(sets):
    found = evaluate(*sets, metrics=("vendi",)).to_dict()
    assert found["k"] == {}
    assert "intervals" not in found
    assert 1 < found["vendi"] <= 12.01


def test_every_metric_has_totals_and_a_default(sets):
    assert set(METRICS) == {
        "precision", "recall", "density", "coverage", "realism", "rarity", "clipped_density", "clipped_coverage",
        "symmetric_precision", "symmetric_recall", "p_precision", "p_recall", "vendi", "kid", "cmmd", "frechet",
    }  # fmt: skip
    found = evaluate(*sets, 3, ("frechet",), features="dinov2").to_dict()
    assert found["frechet_dinov2"] > 0


def test_tensors_lists_and_one_k(sets):
    x, y = sets
    found = evaluate(torch.from_numpy(x), y.tolist(), 3, ("rarity",))
    np.testing.assert_array_equal(found[3].rarity, evaluate(x, y, (3,), ("rarity",))[3].rarity)
    assert type(found[3].rarity) is np.ndarray


def test_nothing_depends_on_the_global_seed(sets):
    np.random.seed(0)
    before = evaluate(*sets, 3, bootstrap=20, seed=7).to_dict()
    np.random.seed(1)
    assert evaluate(*sets, 3, bootstrap=20, seed=7).to_dict() == before
    assert evaluate(*sets, 3, bootstrap=20, seed=8).to_dict()["intervals"] != before["intervals"]


def test_arguments_are_left_as_they_were(sets):
    x, y = (z.copy() for z in sets)
    for z in (x, y):
        z.setflags(write=False)
    evaluate(x, y, bootstrap=5, metrics=METRICS)


def test_plot(everything):
    assert isinstance(everything.plot(), Figure)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"metrics": ("precision", "presicion")}, ValueError, r"\['presicion'\] is not known; precision, recall"),
        ({"metrics": ()}, ValueError, "an empty choice"),
        ({"bootstrap": -1}, ValueError, "bootstrap is -1; an integer of at least 0"),
        ({"bootstrap": True}, ValueError, "bootstrap is True"),
        ({"bootstrap": 1}, ValueError, "one subsample has no spread; 0 or at least 2"),
        ({"seed": 1.5}, ValueError, "seed is 1.5"),
        ({"closed": "yes"}, ValueError, "closed is 'yes'"),
        ({"k": 0}, ValueError, "k is 0"),
        ({"k": 200}, ValueError, r"query: need at least k\+1 samples, got 180"),
        ({"k": (3, 300)}, ValueError, r"reference: need at least k\+1 samples, got 220"),
        ({"block_size": 0}, ValueError, "block_size is 0"),
        ({"query": np.zeros((5, 3))}, ValueError, "query has 3 features, but the reference has 12"),
        ({"query": np.full((9, 12), np.nan)}, ValueError, "query contains NaN in row 0"),
    ],
)
def test_refusals(sets, arguments, error, words):
    with pytest.raises(error, match=words):
        evaluate(**{"reference": sets[0], "query": sets[1], **arguments})


def test_warnings(sets, everything):
    assert any("220 reference and 180 query samples" in one for one in everything.warnings)
    assert any("only 180 samples" in one for one in everything.warnings)
    assert any("kid takes subsets of 180 samples" in one for one in everything.warnings)
    singular = evaluate(sets[0][:10], sets[1][:10], 3, ("frechet",))
    assert any("singular covariance" in one for one in singular.warnings)
    rng = np.random.default_rng(1)
    assert evaluate(*rng.standard_normal((2, 1000, 2)), 3, ("precision", "density", "kid")).warnings == ()


def test_import_stays_light():
    heavy = "torch", "sklearn", "matplotlib", "scipy", "torch_fidelity", "torchmetrics"
    code = f"import sys, genmend.manifold.metrics.evaluation; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# Intervals


def test_resampled_means_share_their_rows():
    rng = np.random.default_rng(2)
    values = rng.standard_normal((80, 1))
    means = resampled_means(np.hstack([values, 3 * values, np.ones((80, 1))]), 400, np.random.default_rng(0))
    assert means.shape == (400, 3)
    np.testing.assert_allclose(means[:, 1], 3 * means[:, 0])
    np.testing.assert_array_equal(means[:, 2], 1)
    assert means[:, 0].mean() == pytest.approx(values.mean(), abs=0.03)
    assert means[:, 0].std() == pytest.approx(values.std() / np.sqrt(80), rel=0.1)


def test_resampling_in_chunks(monkeypatch):
    monkeypatch.setattr("genmend.manifold.metrics.bootstrap._CHUNK_VALUES", 7 * 50)
    values = np.random.default_rng(3).standard_normal((50, 2))
    means = resampled_means(values, 300, np.random.default_rng(0))
    assert len(np.unique(means[:, 0])) == 300  # every row was filled, none twice
    assert np.abs(means - values.mean(axis=0)).max() < 5 * values.std() / np.sqrt(50)


def test_percentile_interval():
    assert percentile_interval(np.arange(1001.0)) == (25, 975)
    assert percentile_interval(np.array([np.inf] * 3)) == (np.inf, np.inf)
    assert np.isnan(percentile_interval(np.array([0, np.nan]))).all()


def test_intervals_hold_the_mean_over_draws():
    """Small and fast; experiments/images/interval_coverage.py counts them all at the sizes that people use."""
    names = ("precision", "density", "clipped_coverage", "clipped_density", "symmetric_precision", "rarity", "realism")
    rng = np.random.default_rng(0)

    def drawn():
        return rng.standard_normal((2, 100, 8)).astype(np.float32)

    draws = [evaluate(*drawn(), 3, names)[3].totals for _ in range(200)]
    found = [evaluate(*drawn(), 3, names, bootstrap=30, seed=pair)[3].intervals for pair in range(50)]
    for name in found[0]:
        mean = np.mean([draw[name] for draw in draws])
        held = sum(one[name][0] <= mean <= one[name][1] for one in found)
        assert held >= 43, (name, held)  # 42 or fewer of 50 are one in 3,000 where 95 % hold
        if "clipped" not in name:  # those end at 1
            width = np.mean([one[name][1] - one[name][0] for one in found])
            spread = np.std([draw[name] for draw in draws])
            assert 1.5 < width / (2 * spread) < 3, (name, width / (2 * spread))


def test_intervals_of_functions_that_end_at_one(everything):
    for k in (3, 5):
        ends, totals = everything[k].intervals, everything[k].totals
        low, high = ends["clipped_density_unclipped"]
        if high > 1 > low:  # the mean of what is cut off at 1 lies below 1 and below the mean of what is not
            assert ends["clipped_density"][0] < low
            assert ends["clipped_density"][1] <= 1
        raw = calibrated_clipped_coverage(ends["clipped_coverage_raw"], 220, 180, k)
        np.testing.assert_allclose(ends["clipped_coverage"], raw, atol=0.05)
        assert all(low <= totals[name] <= high for name, (low, high) in ends.items())
        assert all(ends[name][0] >= 0 and ends[name][1] <= 1 for name in ("precision", "coverage", "symmetric_recall"))


def test_halves_have_more_samples_than_neighbours():
    assert subsample_sizes(10_000, 10_001, 5) == (5000, 5000)
    assert subsample_sizes(10_000, 200, 5) == (5000, 100)
    assert subsample_sizes(12, 13, 5) == (6, 6)
    assert subsample_sizes(11, 100, 5) == (0, 0)
    few = evaluate(*np.random.default_rng(0).standard_normal((2, 11, 3)), 5, ("precision",), bootstrap=6)
    assert few.to_dict()["intervals"]["5"]["precision"] == [None, None]


def intervals_of(compute, sizes, n_subsamples, seed=0):
    part = subsample_sizes(*sizes, 5)
    whole = compute(*(np.arange(size) for size in sizes))
    halves = subsampled_totals(compute, sizes, part, n_subsamples, seed)
    return whole[5], subsample_intervals(whole, halves, sizes, part)[5], other_draws(whole, halves, sizes, part)[5]


def test_the_interval_of_a_mean_is_the_textbooks():
    """Of values that do not know of each other."""
    rng = np.random.default_rng(0)
    values, some = 3 + rng.standard_normal(400), rng.random((2, 400)) < 0.3

    def compute(i, j):
        return {5: {"density": values[i].mean(), "coverage": some[0, i].mean(), "recall": float(some[1, i][0] * 0)}}

    whole, ends, draws = intervals_of(compute, (400, 300), 2000)
    half = 1.96 * values.std() / 20
    np.testing.assert_allclose(ends["density"], whole["density"] + np.array([-half, half]), rtol=0.01)
    share = whole["coverage"]
    half = 1.96 * np.sqrt(share * (1 - share) / 400)
    np.testing.assert_allclose(ends["coverage"], share + np.array([-half, half]), atol=0.005)
    assert draws["density"].std() == pytest.approx(values.std() / 20, rel=0.12)  # larger by 8 %
    assert ends["recall"][0] == 0  # no sample of 400, and perhaps 1 of 100 of others
    assert ends["recall"][1] == pytest.approx(0.0095, abs=1e-4)


def test_halves_have_no_sample_in_common_and_are_those_of_the_seed():
    seen = []

    def compute(i, j):
        seen.append((i, j))
        return {5: {"density": 1.0}}

    halves = [subsampled_totals(compute, (31, size), (15, size // 2), 4, seed=3) for size in (20, 26)]
    assert [len(one) for one in halves] == [2, 2]
    for (a, b), (c, d) in zip(seen[::2], seen[1::2], strict=True):
        assert not set(a) & set(c)
        assert not set(b) & set(d)
        assert (np.diff(a) > 0).all()
    for first, second in zip(seen[:4], seen[4:], strict=True):  # of the reference the same, whatever the query
        np.testing.assert_array_equal(first[0], second[0])


def test_what_is_undefined_or_infinite_has_no_interval():
    def compute(i, j):
        return {5: {"density": np.inf, "rarity_mean": np.nan, "realism_median": np.inf if 0 in i else 1.0}}

    _, ends, draws = intervals_of(compute, (40, 40), 20)
    assert ends["density"] == (np.inf, np.inf)
    assert np.isnan(ends["rarity_mean"]).all()
    assert np.isnan(ends["realism_median"]).all()
    assert np.isnan(draws["rarity_mean"]).all()


def test_undefined_intervals_are_null():
    x = np.array([[0.0], [1], [2], [3], [4]])
    found = evaluate(x, x + 100, 1, ("precision", "rarity"), bootstrap=10).to_dict()
    assert found["k"]["1"]["rarity_mean"] is None
    assert found["intervals"]["1"] == {
        "precision": [0, pytest.approx(1.96**2 / (5 + 1.96**2), abs=1e-4)],  # none of 5 is not none of all
        **{f"rarity_{name}": [None, None] for name in ("mean", "median", "top10", "percentile_mean")},
    }


def test_evaluation_is_frozen(everything):
    assert isinstance(everything, Evaluation)
    with pytest.raises(AttributeError):
        everything.seed = 4


def test_one_query_is_enough_where_it_needs_no_balls_of_its_own():
    x = np.random.default_rng(0).standard_normal((50, 3))
    alone = evaluate(x, x[:1] + 0.01, 3, ("precision", "rarity", "realism", "coverage"))[3]
    together = evaluate(x, x[:5] + 0.01, 3, ("precision", "rarity", "realism"))[3]
    assert (alone.precision, alone.rarity[0], alone.realism[0]) == (1, together.rarity[0], together.realism[0])
    with pytest.raises(ValueError, match=r"query: need at least k\+1 samples, got 1 sample"):
        evaluate(x, x[:1], 3, ("precision", "recall"))
