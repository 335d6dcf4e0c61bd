"""What `evaluate` accepts, returns, leaves out, warns about and refuses; its intervals."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from genmend.manifold.metrics.bootstrap import percentile_interval, resampled_means
from genmend.manifold.metrics.evaluation import METRICS, evaluate
from genmend.manifold.metrics.evaluation_result import Evaluation

TOTALS = {
    "precision", "recall", "density", "coverage", "expected_coverage", "realism_median", "realism_share", "rarity_mean",
    "rarity_median", "rarity_top10", "rarity_percentile_mean", "clipped_density", "clipped_density_unclipped",
    "clipped_coverage", "clipped_coverage_raw", "symmetric_precision", "symmetric_recall", "p_precision", "p_recall",
}  # fmt: skip
# Totals without an interval: no function of means.
NO_MEANS = {"expected_coverage", "realism_median", "rarity_median", "rarity_top10"}


@pytest.fixture(scope="module")
def sets():
    rng = np.random.default_rng(0)
    return rng.standard_normal((220, 12)), 1.1 * rng.standard_normal((180, 12))


@pytest.fixture(scope="module")
def everything(sets):
    return evaluate(*sets, bootstrap=200, seed=3)


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
    assert all(set(at) == TOTALS for at in found["k"].values())
    assert set(found["intervals"]["5"]) == TOTALS - NO_MEANS
    assert {"vendi", "vendi_reference", "kid", "warnings"} < set(found)
    assert not any(name.startswith("frechet") for name in found)


def test_per_sample_arrays(everything):
    arrays = everything.per_sample()
    of_query = {"inside", "ball_count", "clipped_count", "nearest_ball", "rarity", "rarity_percentile", "score",
                "realism", "holds_reference", "p_inside"}  # fmt: skip
    of_reference = {"radius", "covered", "query_count", "recalled", "p_recalled", "reference_rarity",
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
    assert set(found["intervals"]["4"]) == totals - NO_MEANS
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
        "symmetric_precision", "symmetric_recall", "p_precision", "p_recall", "vendi", "kid", "frechet",
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


def test_intervals_of_shares_and_ratios(sets):
    result = evaluate(*sets, 3, bootstrap=2000)
    at, m = result[3], 180
    low, high = at.intervals["precision"]
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(at.precision * (1 - at.precision) / m), rel=0.1)
    for name, (low, high) in at.intervals.items():
        # A minimum of two shares is biased downwards, a cut and a calibration end at 1.
        assert low <= at.totals[name] <= high, name
    # The mean rarity is over the samples inside alone, however many a resample has of them.
    inside = at.rarity[at.inside]
    low, high = at.intervals["rarity_mean"]
    assert high - low == pytest.approx(2 * 1.96 * inside.std() / np.sqrt(len(inside)), rel=0.15)


def test_undefined_intervals_are_null():
    x = np.array([[0.0], [1], [2], [3], [4]])
    found = evaluate(x, x + 100, 1, ("precision", "rarity"), bootstrap=10).to_dict()
    assert found["k"]["1"]["rarity_mean"] is None
    assert found["intervals"]["1"] == {
        "precision": [0, 0], "rarity_mean": [None, None], "rarity_percentile_mean": [None, None]
    }  # fmt: skip


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
