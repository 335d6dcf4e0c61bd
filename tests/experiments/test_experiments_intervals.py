"""The experiments' bootstrap: scipy's intervals for one group, groups drawn from themselves, undefined resamples."""

import json

import numpy as np
import pytest
from scipy import stats

from experiments.intervals import bootstrap
from experiments.pages import results_folder


def test_one_group_is_resampled_as_scipy_does():
    values = np.random.default_rng(1).normal(size=60)
    rows = np.arange(60)
    found = stats.bootstrap(
        (rows,), lambda drawn: values[drawn].mean(), n_resamples=500, vectorized=False, method="percentile",
        rng=np.random.default_rng(7),
    ).confidence_interval  # fmt: skip
    value, low, high = bootstrap(lambda drawn: values[drawn].mean(), 60, 7, 500)
    assert value == values.mean()
    np.testing.assert_allclose((low, high), found, rtol=1e-12)


def test_each_group_is_drawn_from_itself():
    seen = []
    bootstrap(lambda rows: seen.append(rows) or 0.0, (3, 5), n_resamples=20)
    for rows in seen:
        assert len(rows) == 8
        assert (rows[:3] < 3).all()
        assert ((rows[3:] >= 3) & (rows[3:] < 8)).all()
    assert len({tuple(rows) for rows in seen}) > 1


def test_a_resample_without_a_value_is_left_out():
    truth = np.array([1, 0, 0, 0])
    value, low, high = bootstrap(lambda rows: truth[rows].mean() if truth[rows].any() else float("nan"), 4)
    assert value == 0.25
    assert 0.25 <= low <= high <= 1


def test_the_same_seed_draws_the_same_rows_for_every_figure():
    values = np.random.default_rng(2).normal(size=30)
    one, two = bootstrap(lambda rows: values[rows].sum(), 30, 5), bootstrap(lambda rows: 2 * values[rows].sum(), 30, 5)
    np.testing.assert_allclose(two, 2 * np.array(one))


def test_intervals_of_the_committed_ratios_are_reproduced():
    results = json.loads((results_folder("faces/boundaries") / "results.json").read_text(encoding="utf-8"))
    queries = {name: np.array(values) for name, values in results["bouncing"]["queries"].items()}
    above, below = queries["region_pixel_variance"], queries["l2_ball_pixel_variance"]
    found = bootstrap(lambda rows: above[rows].mean() / below[rows].mean(), len(above), 0, 10_000)
    assert list(found) == results["bouncing"]["ratios"]["pixel_variance: region / l2_ball"]


def test_intervals_of_the_committed_correlation_are_reproduced():
    results = json.loads((results_folder("voices/detection") / "results.json").read_text(encoding="utf-8"))
    outside, errors = np.array(results["outside"]), np.array(results["errors"])
    found = bootstrap(lambda rows: stats.spearmanr(outside[rows], errors[rows])[0], len(outside), 0)
    assert list(found) == pytest.approx(results["spearman"]["share outside"], rel=1e-12)
