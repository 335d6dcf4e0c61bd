"""What must hold for any data: invariances, monotony, consistency."""

import manifold_brute_force as brute_force
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import ortho_group

from genmend.manifold import Manifold, knn_radii, prdc

settings.register_profile("manifold", deadline=None, max_examples=40, derandomize=True)
settings.load_profile("manifold")

SEED = st.integers(0, 2**32 - 1)
# Few distinct values: duplicates, ties and constant sets come up all the time.
COARSE = st.integers(-2, 2).map(float)


@st.composite
def coarse_sets(draw, least=4):
    d = draw(st.integers(1, 3))
    n, m = draw(st.integers(least, 14)), draw(st.integers(least, 14))
    return draw(arrays(np.float64, (n, d), elements=COARSE)), draw(arrays(np.float64, (m, d), elements=COARSE))


def continuous(seed, n=60, m=50, d=6):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), 1.2 * rng.standard_normal((m, d))


def assert_same_decisions(a, b):
    """The same decisions at every k of the first."""
    for k in a.at:
        for name in ("inside", "ball_count", "covered", "recalled"):
            np.testing.assert_array_equal(getattr(a[k], name), getattr(b[k], name), err_msg=f"{name} at k = {k}")


@given(coarse_sets(), st.booleans(), st.integers(1, 3), st.integers(1, 20))
def test_ties_and_duplicates_equal_a_float64_loop(sets, closed, k, block_size):
    x, y = sets
    fitted = Manifold(k, closed=closed, block_size=block_size).fit(x)
    brute_force.assert_same(fitted, prdc(x, y, k, closed, block_size=block_size), x, y, k, closed)


@given(
    arrays(np.float64, (9, 2), elements=st.floats(-1e149, 1e149)), arrays(np.float64, (7, 2), elements=st.floats(-1, 1))
)
def test_any_floats_equal_a_float64_loop(x, y):
    brute_force.assert_same(Manifold(2).fit(x), prdc(x, y, 2), x, y, 2, True)
    brute_force.assert_same(Manifold(2).fit(y), prdc(y, x, 2), y, x, 2, True)


@given(SEED, st.floats(-1e3, 1e3))
def test_translation(seed, offset):
    x, y = continuous(seed)
    assert_same_decisions(prdc(x, y, (1, 5)), prdc(x + offset, y + offset, (1, 5)))
    np.testing.assert_allclose(knn_radii(x + offset, 3), knn_radii(x, 3), rtol=1e-10)


@given(SEED)
def test_rotation(seed):
    x, y = continuous(seed)
    rotation = ortho_group.rvs(x.shape[1], random_state=seed)
    assert_same_decisions(prdc(x, y, (1, 5)), prdc(x @ rotation, y @ rotation, (1, 5)))
    np.testing.assert_allclose(
        Manifold().fit(x @ rotation).realism(y @ rotation), Manifold().fit(x).realism(y), rtol=1e-10
    )


@given(SEED, st.floats(1e-6, 1e6))
def test_common_scale(seed, factor):
    x, y = continuous(seed)
    before, after = Manifold().fit(x).evaluate(y), Manifold().fit(factor * x).evaluate(factor * y)
    assert_same_decisions(prdc(x, y, (1, 5)), prdc(factor * x, factor * y, (1, 5)))
    np.testing.assert_allclose(after.rarity, factor * before.rarity, rtol=1e-10)
    np.testing.assert_allclose(after.score, before.score, rtol=1e-10)
    np.testing.assert_allclose(after.realism, before.realism, rtol=1e-10)


@given(SEED)
def test_permutation_of_either_set(seed):
    x, y = continuous(seed)
    rng = np.random.default_rng(seed)
    p, q = rng.permutation(len(x)), rng.permutation(len(y))
    before, after = Manifold().fit(x).evaluate(y), Manifold().fit(x[p]).evaluate(y[q])
    for name in ("inside", "ball_count", "rarity", "score", "realism"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name)[q], err_msg=name)
    a, b = prdc(x, y, 3)[3], prdc(x[p], y[q], 3)[3]
    np.testing.assert_array_equal(b.covered, a.covered[p])
    np.testing.assert_array_equal(b.recalled, a.recalled[p])


@given(coarse_sets(), st.integers(1, 3))
def test_a_set_lies_in_its_own_closed_balls(sets, k):
    x, _ = sets
    at = prdc(x, x.copy(), k)[k]
    assert (at.precision, at.recall, at.coverage) == (1, 1, 1)
    assert (Manifold(k).fit(x).score_samples(x) == 0).all()


@given(coarse_sets(), st.booleans())
def test_monotone_in_k(sets, closed):
    x, y = sets
    result = prdc(x, y, (1, 2, 3), closed)
    assert (np.diff(knn_radii(x, (1, 2, 3)), axis=1) >= 0).all()
    for name in ("inside", "ball_count", "covered", "recalled"):
        series = np.array([getattr(result[k], name) for k in (1, 2, 3)]).astype(int)
        assert (np.diff(series, axis=0) >= 0).all(), name


@given(coarse_sets(), st.integers(1, 3))
def test_more_reference_never_raises_a_radius(sets, k):
    x, more = sets
    if more.shape[1] == x.shape[1]:
        assert (knn_radii(np.vstack([x, more]), k)[: len(x)] <= knn_radii(x, k)).all()


@given(coarse_sets(), st.booleans(), st.integers(1, 3))
def test_rarity_contains_and_count_agree(sets, closed, k):
    x, y = sets
    fitted = Manifold(k, closed=closed).fit(x)
    rarity, ball = fitted.rarity(y, return_index=True)
    inside, count = fitted.contains(y), fitted.ball_count(y)
    np.testing.assert_array_equal(inside, ~np.isnan(rarity))
    np.testing.assert_array_equal(inside, ball >= 0)
    np.testing.assert_array_equal(inside, count > 0)
    np.testing.assert_array_equal(rarity[inside], fitted.radii_[ball[inside]])
    score = fitted.score_samples(y)
    assert (score[inside] <= 1).all()
    if closed:
        assert (score[~inside] > 1).all()


@given(SEED, st.integers(1, 80), st.integers(1, 80))
def test_block_sizes_agree_bit_for_bit(seed, a, b):
    x, y = continuous(seed)
    one, other = (Manifold(block_size=size).fit(x) for size in (a, b))
    np.testing.assert_array_equal(one.radii_, other.radii_)
    first, second = one.evaluate(y), other.evaluate(y)
    for name in vars(first):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)
    assert_same_decisions(prdc(x, y, 3, block_size=a), prdc(x, y, 3, block_size=b))


@given(SEED)
def test_one_query_at_a_time_gives_the_same_answer(seed):
    x, y = continuous(seed, m=6)
    fitted = Manifold().fit(x)
    together = fitted.evaluate(y)
    for q in range(len(y)):
        alone = fitted.evaluate(y[q : q + 1])
        for name in vars(alone):
            np.testing.assert_array_equal(getattr(alone, name)[0], getattr(together, name)[q], err_msg=name)


@pytest.mark.parametrize("closed", [True, False])
def test_several_k_in_one_pass_equal_one_pass_each(closed):
    x, y = continuous(0)
    together = prdc(x, y, (1, 3, 5), closed)
    for k in (1, 3, 5):
        assert_same_decisions(prdc(x, y, k, closed), together)
