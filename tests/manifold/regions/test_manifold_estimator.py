"""The scikit-learn contract, results as dictionaries, and saving by arrays."""

import json
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from genmend.manifold import Manifold, prdc

rng = np.random.default_rng(0)
X, Y = rng.standard_normal((2, 80, 5))

UNMET = {
    "check_dtype_object": "arrays of objects are refused: they hide strings and missing values",
}


@parametrize_with_checks([Manifold()], expected_failed_checks=lambda _: UNMET)
def test_scikit_learn_contract(estimator, check):
    check(estimator)


def test_constructor_only_stores():
    fitted = Manifold(k=7, closed=False, block_size=32).fit(X)
    assert fitted.get_params() == {"k": 7, "closed": False, "block_size": 32}
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert not hasattr(copy, "radii_")
    with pytest.raises(NotFittedError):
        copy.realism(Y)
    with pytest.raises(NotFittedError):
        copy.rarity(leave_one_out=True)


def test_settings_changed_after_fitting_are_heeded():
    x = np.array([[0.0], [1], [3], [7]])
    fitted = Manifold(k=1).fit(x)
    assert fitted.contains([[2.0], [8.0], [11.0]]).tolist() == [True, True, True]
    fitted.set_params(closed=False)
    assert fitted.contains([[2.0], [8.0], [11.0]]).tolist() == [True, True, False]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_restored_from_arrays_bit_for_bit(tmp_path, dtype):
    fitted = Manifold(k=4, closed=False).fit((X + 100).astype(dtype))
    np.savez(tmp_path / "saved.npz", reference=fitted.reference_, radii=fitted.radii_)
    with np.load(tmp_path / "saved.npz") as saved:
        restored = Manifold.from_radii(saved["reference"], saved["radii"], **fitted.get_params())
    assert restored.get_params() == fitted.get_params()
    for arguments in ({"query": Y + 100}, {"leave_one_out": True}):
        before, after = fitted.evaluate(**arguments), restored.evaluate(**arguments)
        for name in vars(before):
            np.testing.assert_array_equal(getattr(before, name), getattr(after, name), err_msg=name)


def test_radii_of_ones_own_choice():
    chosen = Manifold.from_radii([[0.0], [10.0]], [0.0, 1e200], k=1)
    np.testing.assert_array_equal(chosen.contains([[0.0], [1e100]]), [True, True])
    np.testing.assert_array_equal(chosen.rarity([[0.0], [1.0]]), [0, 1e200])
    for bad in ([1.0], [1.0, -1.0], [1.0, np.nan], [1.0, np.inf], [[1.0, 1.0]]):
        with pytest.raises(ValueError, match="2 finite radii of at least 0 are accepted"):
            Manifold.from_radii([[0.0], [10.0]], bad)


def test_single_answers_equal_the_common_sweep():
    fitted = Manifold().fit(X)
    for arguments in ({"query": Y}, {"leave_one_out": True}):
        scores = fitted.evaluate(**arguments)
        np.testing.assert_array_equal(fitted.contains(**arguments), scores.inside)
        np.testing.assert_array_equal(fitted.ball_count(**arguments), scores.ball_count)
        np.testing.assert_array_equal(fitted.rarity(**arguments), scores.rarity)
        np.testing.assert_array_equal(fitted.score_samples(**arguments), scores.score)
        np.testing.assert_array_equal(fitted.realism(**arguments), scores.realism)
    unfiltered = fitted.evaluate(Y, median_filter=False)
    np.testing.assert_array_equal(fitted.realism(Y, median_filter=False), unfiltered.realism)
    assert (unfiltered.realism != fitted.realism(Y)).any()


def test_scores_total():
    totals = Manifold(k=1).fit([[0.0], [1], [3], [7]]).evaluate([[0.5], [2], [5.5], [12]]).to_dict()
    assert totals == {
        "n_query": 4,
        "n_inside": 3,
        "inside": 0.75,
        "ball_count_mean": 1.25,
        "rarity_mean": 2.0,
        "rarity_median": 1.0,
        "rarity_top10": 4.0,
        "score_median": 0.5,
        "realism_median": pytest.approx((1 + 2 / 9) / 2),
    }
    nothing = Manifold(k=1).fit(np.zeros((4, 1))).evaluate([[1.0]]).to_dict()
    assert nothing["rarity_mean"] is None
    assert nothing["score_median"] is None
    json.dumps([totals, nothing], allow_nan=False)


def test_prdc_totals():
    result = prdc(X, Y[:50], (5, 3, 3))
    totals = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert list(totals["k"]) == ["3", "5"]
    assert (totals["n_reference"], totals["n_query"], totals["closed"]) == (80, 50, True)
    assert totals["k"]["5"]["density"] == result[5].ball_count.mean() / 5
    assert totals["k"]["3"]["recall"] == result[3].recalled.mean()
    assert len(totals["warnings"]) == 2
    assert "80 reference and 50 query" in totals["warnings"][0]
    assert "only 50 samples" in totals["warnings"][1]
    many = np.random.default_rng(1).standard_normal((2, 1000, 2))
    assert prdc(*many, 3).warnings == ()


def test_a_pickled_manifold_leaves_its_codes_behind():
    x = np.random.default_rng(0).standard_normal((500, 256)).astype(np.float32)
    manifold = Manifold(k=3).fit(x)
    stored = pickle.dumps(manifold)
    assert len(stored) < x.nbytes + 500 * 8 + 2000
    again = pickle.loads(stored)
    np.testing.assert_array_equal(again.rarity(x[:20] * 1.01), manifold.rarity(x[:20] * 1.01))
    assert "_screen" in vars(manifold)
