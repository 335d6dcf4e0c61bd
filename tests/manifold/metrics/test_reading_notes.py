"""What a result warns of: copies, crowding beyond chance; and what keeps quiet."""

import numpy as np
import pytest

from genmend.manifold import Manifold
from genmend.manifold.metrics.evaluation import evaluate
from genmend.manifold.metrics.frechet import frechet_distance
from genmend.manifold.metrics.kernel_distance import kid_over_subsets, squared_mmd
from genmend.manifold.metrics.vendi import vendi_over_subsets, vendi_score


def notes(x, y, k=3, **options):
    return " | ".join(evaluate(x, y, k, **options).warnings)


def test_crowding_is_told_beyond_chance_only():
    rng = np.random.default_rng(0)
    alike = [notes(*rng.standard_normal((2, 100, 16)), metrics=("density",)) for _ in range(60)]
    assert not any("density" in one for one in alike)  # 19 of 60 with a fixed threshold
    x, y = rng.standard_normal((2, 100, 16))
    assert "gathers in few large balls" in notes(x, 0.4 * y, metrics=("density",))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_copies_of_the_reference_are_named_in_place_of_crowding(dtype):
    x, y = np.random.default_rng(0).standard_normal((2, 400, 8))
    said = notes(x.astype(np.float32), x.astype(dtype) + 0)
    assert "400 of the 400 query samples are exact copies of reference samples" in said
    assert "gathers" not in said
    y[::4] = x[::4]
    assert "100 of the 400 query samples are exact copies" in notes(x, y)
    assert "100 of the 400 query samples are exact copies" in notes(x, y, metrics=("kid",))
    assert "exact copies of reference" not in notes(x, y[1::4])


def test_near_copies():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 400, 8))
    y[::8] = x[::8] + 1e-3 * rng.standard_normal((50, 8))
    said = notes(x, y)
    assert "50 of the 400 query samples are near copies" in said
    assert "exact copies" not in said
    # In one dimension near neighbours are chance; the reference has as many among its own.
    assert "near copies" not in notes(*rng.standard_normal((2, 400, 1)))
    assert "near copies" not in notes(*rng.standard_normal((2, 400, 2)))


def test_doubles_within_a_set():
    x, y = np.random.default_rng(0).standard_normal((2, 60, 8))
    y[40:] = y[:20]
    assert "20 of the 60 query samples are exact copies of others of it" in notes(x, y)
    assert "of others of it" not in notes(x, y[:40])


def test_near_doubles_within_a_set():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 200, 8)).astype(np.float32)
    assert "nearly identical" not in notes(x, y)
    y[:15] = y[100:115] + 1e-3 * rng.standard_normal((15, 8))
    said = notes(x, y)
    assert "30 of the 200 query samples are nearly identical to others of it" in said  # both of each pair
    assert "reference samples are nearly" not in said
    assert "30 of the 200 reference samples are nearly identical" in notes(y, x)
    assert "nearly identical" not in notes(y, y[::-1] + 5)  # frames of one film, in both
    assert "nearly identical" not in notes(*rng.standard_normal((2, 200, 1)))
    assert "nearly identical" not in notes(Manifold(k=3).fit(x), y, metrics=("recall",))  # which knows the third alone
    for few in (1, 2):
        assert "nearly identical" not in notes(x, y[:few], k=1, metrics=("precision",))


# The whole sets


def test_rows_that_only_sum_to_the_same_are_no_copies():
    rng = np.random.default_rng(3)
    x = rng.integers(-3, 4, (600, 40)).astype("f4")
    y = np.asfortranarray(x[:, ::-1][:520])  # another part for the last rows, another order in memory
    assert "copies" not in notes(x, y, metrics=("precision",))
    y[7], y[519], y[3] = x[599], x[1], 0
    x[3] = -0.0
    assert "3 of the 520 query samples are exact copies of reference samples" in notes(x, y, metrics=("precision",))
    x[5], y[6] = 3e38, 3e38  # whose sum is none
    assert "4 of the 520 query samples" in notes(x, y, metrics=("precision",))


def test_frechet_is_never_below_zero():
    x = np.random.default_rng(0).standard_normal((300, 24)).astype(np.float32)
    assert 0 <= frechet_distance(x, x) < 1e-4
    assert 0 <= frechet_distance(x, x[::-1]) < 1e-4
    assert frechet_distance(x, x + 1) == pytest.approx(24, rel=1e-3)


def test_kid_and_vendi_come_with_their_spread():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((60, 5)), 0.5 + rng.standard_normal((50, 5))
    value, spread = kid_over_subsets(x, y, seed=3)
    halves = [squared_mmd(x[rng.permutation(60)[:25]], y[rng.permutation(50)[:25]]) for _ in range(400)]
    assert spread == pytest.approx(np.std(halves), rel=0.3)
    assert value == evaluate(x, y, metrics=("kid",), seed=3).totals["kid"]
    found = evaluate(x, y, metrics=("vendi",), seed=3).totals
    assert found["vendi"] == vendi_score(y)
    scores = [vendi_score(y[rng.permutation(50)[:25]]) for _ in range(100)]
    assert found["vendi_subsets_mean"] == pytest.approx(np.mean(scores), abs=np.std(scores))
    assert 0 < found["vendi_subsets_std"] < 5 * np.std(scores)
    assert np.isnan(vendi_over_subsets(x[:1], y)["vendi_subsets_mean"])
    assert np.isnan(kid_over_subsets(x[:3], y)[1])
