"""The pieces of the shifted-features experiment: the check itself, and what is counted as wrong."""

import os

import numpy as np
import pytest

from experiments.images import shifted_features
from experiments.images.shifted_features import (
    Decisions,
    compare,
    decisions_of,
    difference,
    float64_distances,
    format_rows,
)


def sets(shift=0.0):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((60, 12)), 1.2 * rng.standard_normal((50, 12))
    return [(values + shift).astype(np.float32) for values in (x, y)]


def test_the_check_by_hand():
    a, b = np.array([[3.0, 4.0]], dtype=np.float32), np.array([[0.0, 0.0], [3.0, 0.0]], dtype=np.float32)
    assert float64_distances(a, b).tolist() == [[5.0, 4.0]]
    far = np.float32(2**20)  # an expanded square has no digits left there
    assert float64_distances(a + far, b + far).tolist() == [[5.0, 4.0]]


def test_decisions_leave_a_point_out_of_its_own_ball(monkeypatch):
    monkeypatch.setattr(shifted_features, "K", 2)
    x, y = (np.array(values, dtype=np.float32)[:, None] for values in ([0, 1, 3, 7], [2, 20]))
    found = decisions_of(float64_distances, x, y)
    assert found.radii.tolist() == [3, 2, 3, 6]
    assert found.inside.tolist() == [True, False]
    assert found.covered.tolist() == [True, True, True, True]
    assert found.n_pairs == 4


def test_differences_are_counted_and_a_radius_that_is_no_number_is_no_match():
    truth = Decisions(np.array([1.0, 2.0]), np.array([True, False, True]), np.array([True, True]), 6)
    other = Decisions(np.array([1.0, np.nan]), np.array([True, True, False]), np.array([True, False]), 3)
    row = difference(other, truth)
    assert (row["inside_wrong"], row["covered_wrong"], row["radius_error"]) == (2, 1, np.inf)
    assert (row["precision"], row["coverage"]) == (pytest.approx(2 / 3), 0.5)
    assert row["density"] == 3 / (5 * 3)
    assert difference(truth, truth)["radius_error"] == 0


def test_our_engines_agree_with_the_check_where_single_precision_does_not(monkeypatch):
    monkeypatch.setenv("GENMEND_ENGINE", "numpy")
    near, far = compare(*sets()), compare(*sets(300.0))
    assert os.environ["GENMEND_ENGINE"] == "numpy"
    assert len(near) >= 1 + 4 + 2
    for name, row in far.items():
        if name.startswith("genmend"):
            assert (row["inside_wrong"], row["covered_wrong"]) == (0, 0)
            assert row["radius_error"] < 1e-12
    assert near["numpy, |a|2-2ab+|b|2, float32"]["radius_error"] < 1e-4
    assert far["numpy, |a|2-2ab+|b|2, float32"]["radius_error"] > 1e-3
    lines = format_rows(far)
    assert len(lines) == 1 + len(far)
    assert len({len(line) for line in lines}) == 1
