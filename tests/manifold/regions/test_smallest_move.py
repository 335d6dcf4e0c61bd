"""`NormalRegion.move_inside`: what is outside ends inside by the smallest move, all else comes back bit for bit."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from region_brute_force import SlowRegion

from genmend.manifold import NormalRegion
from genmend.manifold.regions.normal_region import RegionState

FEW = settings(deadline=None, max_examples=20, derandomize=True)
SEED = st.integers(0, 2**32 - 1)
NP_TYPES = [np.float64, np.float32, np.float16]
TORCH_TYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
# Rounding of one value of about 1 of the type.
EPSILON = {"float64": 2.3e-16, "float32": 1.2e-7, "float16": 1e-3, "bfloat16": 8e-3}


def normal(seed, d=5, n=60, m=40, spread=1.5):
    own = np.random.default_rng(seed)
    groups, asked = own.integers(0, 3, n), own.integers(0, 4, m)  # nothing is known of group 3
    return own.standard_normal((n, d)) + groups[:, None], groups, spread * own.standard_normal((m, d)), asked


def as_bytes(values):
    return (values.contiguous().view(torch.uint8).numpy() if torch.is_tensor(values) else values).tobytes()


def widened(values):
    return values.double().numpy() if torch.is_tensor(values) else np.asarray(values, dtype=np.float64)


def assert_moved(region, slow, x, y, asked, precision):
    """The whole contract: types, states, bits of what stays, who moves, whither, how far, and that it is inside."""
    before = as_bytes(y)
    moves = region.move_inside(y, asked)
    assert as_bytes(y) == before  # the input is not written to
    assert type(moves.vectors) is type(y)
    assert (moves.vectors.dtype, moves.vectors.shape) == (y.dtype, y.shape)
    wide, ended, labels = widened(y), widened(moves.vectors), list(widened(asked).astype(int))
    states, (gaps, balls) = slow.states(wide, labels), slow.moves(wide, labels)
    moved = np.asarray(moves.moved)
    np.testing.assert_array_equal(moves.states, states)
    np.testing.assert_array_equal(moved, states == RegionState.OUTSIDE)
    for row in np.flatnonzero(~moved):
        assert as_bytes(moves.vectors[row]) == as_bytes(y[row])
    after = np.asarray(region.contains(moves.vectors, asked))
    np.testing.assert_array_equal(after, np.where(moved, RegionState.INSIDE, states))
    np.testing.assert_array_equal(slow.states(ended, labels), after)
    np.testing.assert_array_equal(moves.rows, balls)
    distances = np.asarray(moves.distances)
    np.testing.assert_allclose(distances, np.sqrt(((ended - wide) ** 2).sum(axis=1)), rtol=1e-13)
    assert (distances >= gaps * (1 - 1e-12)).all()  # nothing shorter ends inside
    assert (distances <= gaps + precision).all()
    # Straight towards the centre: what is beside that line is rounding.
    for row in np.flatnonzero(moved):
        to_center = widened(x)[balls[row]] - wide[row]
        aside = (ended[row] - wide[row]) - to_center * (gaps[row] / np.linalg.norm(to_center))
        assert np.linalg.norm(aside) <= precision
    return moved


def test_by_hand():
    # Group a: [-1, 2] and [1, 5] round 0, 1 and 3; b: [48, 54] round 50 and 52; c: too small.
    region = NormalRegion(k=1).fit([[0.0], [1], [3], [50], [52], [9]], groups=list("aaabbc"))
    given_ = np.array([[5.5], [-3], [2], [40], [56], [9], [9]])
    moves = region.move_inside(given_, groups=list("aaabbcz"))
    np.testing.assert_array_equal(moves.vectors, [[5], [-1], [2], [48], [54], [9], [9]])
    assert moves.states.tolist() == [0, 0, 1, 0, 0, -1, -1]
    assert moves.moved.tolist() == [True, True, False, True, True, False, False]
    assert moves.distances.tolist() == [0.5, 2, 0, 8, 2, 0, 0]
    assert moves.rows.tolist() == [2, 0, -1, 3, 4, -1, -1]


def test_the_nearest_sphere_may_belong_to_a_farther_centre():
    region = NormalRegion(k=1).fit([[0.0, 0], [1, 0], [20, 0], [29, 0]])  # radii 1, 1, 9, 9
    moves = region.move_inside([[8.0, 0]])  # 7 from a centre of radius 1, 12 from one of radius 9
    np.testing.assert_allclose(moves.vectors, [[11, 0]], rtol=1e-14)
    assert (moves.rows.tolist(), moves.distances.tolist()) == ([2], [3])


@FEW
@given(SEED, st.sampled_from([(1, 1.0), (3, 1.0), (4, 0.6)]), st.booleans(), st.integers(1, 40))
def test_every_move_is_the_smallest(seed, k_and_quantile, closed, d):
    x, groups, y, asked = normal(seed, d)
    k, quantile = k_and_quantile
    region = NormalRegion(k, quantile=quantile, closed=closed).fit(x, groups=groups)
    moved = assert_moved(region, SlowRegion(x, groups, k, quantile, closed), x, y, asked, precision=1e-13)
    assert moved.any()


@FEW
@given(SEED, st.booleans())
def test_ties_and_duplicates(seed, closed):
    own = np.random.default_rng(seed)
    x, y = own.integers(0, 3, (40, 2)).astype(float), own.integers(-2, 5, (30, 2)) + own.choice([0, 0.5], (30, 1))
    groups, asked = own.integers(0, 3, 40), own.integers(0, 4, 30)
    region, slow = NormalRegion(2, closed=closed).fit(x, groups=groups), SlowRegion(x, groups, 2, 1.0, closed)
    states, (gaps, balls) = slow.states(y, asked), slow.moves(y, asked)
    moves = region.move_inside(y, asked)
    np.testing.assert_array_equal(moves.rows, balls)
    np.testing.assert_array_equal(moves.moved, balls >= 0)  # open balls of radius 0 take nothing in
    np.testing.assert_array_equal(moves.vectors[balls < 0], y[balls < 0])
    after = slow.states(moves.vectors, asked)
    np.testing.assert_array_equal(after, np.where(balls >= 0, RegionState.INSIDE, states))
    np.testing.assert_allclose(moves.distances, gaps, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("offset", "closed"), [(0, False), (1e3, True)])
@pytest.mark.parametrize("dtype", [*NP_TYPES, *TORCH_TYPES], ids=str)
def test_whatever_the_type_rounds_to_is_inside(dtype, offset, closed):
    x, groups, y, asked = normal(7, d=20, m=60)
    x, y, spread = x * 20 + offset, y * 20 + offset, 20.0
    if isinstance(dtype, torch.dtype):
        x, y, asked = torch.from_numpy(x).to(dtype), torch.from_numpy(y).to(dtype), torch.from_numpy(asked)
    else:
        x, y = x.astype(dtype), y.astype(dtype)
    name = str(y.dtype).removeprefix("torch.")
    region, slow = NormalRegion(3, closed=closed).fit(x, groups=groups), SlowRegion(widened(x), groups, 3, 1.0, closed)
    # A few roundings of the coordinates, in all dimensions together; the steps grow fourfold.
    precision = 16 * EPSILON[name] * (offset + 5 * spread) * np.sqrt(20)
    moved = assert_moved(region, slow, x, y, asked, precision)
    assert moved.sum() > 10
    again = region.move_inside(region.move_inside(y, asked).vectors, asked)
    assert not np.asarray(again.moved).any()


@pytest.mark.parametrize("dtype", TORCH_TYPES, ids=str)
def test_half_precision_against_a_reference_of_full_precision(dtype):
    x, groups, y, asked = normal(8, d=30)
    y = torch.from_numpy(y).to(dtype)
    region = NormalRegion(3).fit(x, groups=groups)
    name = str(dtype).removeprefix("torch.")
    assert_moved(region, SlowRegion(x, groups, 3), x, y, torch.from_numpy(asked), 16 * EPSILON[name] * 5 * np.sqrt(30))


def test_a_ball_of_radius_zero_takes_in_its_centre_only():
    x = np.array([[0.1, 0.2]] * 4)
    y = np.array([[3.0, 4], [0.1, 0.2], [0.1, 0.2000001]])
    closed = NormalRegion(k=3).fit(x).move_inside(y)
    np.testing.assert_array_equal(closed.vectors, x[:3])
    assert closed.moved.tolist() == [True, False, True]
    assert closed.rows.tolist() == [0, -1, 0]
    opened = NormalRegion(k=3, closed=False).fit(x).move_inside(y)
    np.testing.assert_array_equal(opened.vectors, y)
    assert (opened.moved.any(), opened.states.tolist(), opened.rows.tolist()) == (False, [0] * 3, [-1] * 3)
    # float32 cannot hold the centre: the vector stays, and that is said.
    unresolved = NormalRegion(k=3).fit(x).move_inside(y[:1].astype(np.float32))
    np.testing.assert_array_equal(unresolved.vectors, y[:1])
    assert (unresolved.moved.tolist(), unresolved.states.tolist()) == ([False], [0])
    assert (unresolved.distances.tolist(), unresolved.rows.tolist()) == ([0], [-1])


def test_what_has_no_floats_comes_back_as_floats():
    region = NormalRegion(k=1).fit([[0.0], [1.5]])  # [-1.5, 3]
    for given_, kind in [
        ([[9], [1]], np.float64), (np.array([[9], [1]], dtype=np.int8), np.float32), (((9.0,), (1.0,)), np.float64)
    ]:  # fmt: skip
        moves = region.move_inside(given_)
        assert moves.vectors.dtype == kind
        assert moves.vectors.tolist() == [[3], [1]]
    tensors = region.move_inside(torch.tensor([[9], [1]], dtype=torch.int32))
    assert tensors.vectors.dtype == torch.float64
    assert tensors.vectors.tolist() == [[3], [1]]


@pytest.mark.parametrize("name", ["vectors", "states", "moved", "distances", "rows"])
def test_tensors_in_tensors_out(name):
    x, groups, y, asked = normal(9)
    region = NormalRegion(2).fit(x, groups=groups)
    wide = torch.from_numpy(np.repeat(y, 2, axis=1)).requires_grad_()
    strided = wide[:, ::2]  # and part of a graph
    found = getattr(region.move_inside(strided, torch.from_numpy(asked)), name)
    assert isinstance(found, torch.Tensor)
    assert not found.requires_grad
    np.testing.assert_array_equal(found, getattr(region.move_inside(y, asked), name))


@pytest.mark.parametrize("value", [0.0, -0.0, 1e-310])
def test_the_bits_of_vectors_inside(value):
    region = NormalRegion(k=1).fit([[0.0, 0], [0, 1]])
    y = np.array([[value, value], [9, 9]])
    assert region.move_inside(y).vectors[0].tobytes() == y[0].tobytes()
    assert region.move_inside(np.asfortranarray(y)).vectors[0].tobytes() == y[0].tobytes()


def test_a_large_region_with_huge_balls_of_outliers():
    own = np.random.default_rng(10)
    x = own.standard_normal((1500, 32)).astype(np.float32)
    x[:20] *= 30
    y = 2 * own.standard_normal((50, 32)).astype(np.float32)
    for quantile in (0.9, 1.0):
        region, slow = NormalRegion(5, quantile=quantile).fit(x), SlowRegion(x, [None] * 1500, 5, quantile)
        gaps, balls = slow.moves(y, [None] * 50)
        moves = region.move_inside(y)
        np.testing.assert_array_equal(moves.rows, balls)
        np.testing.assert_array_equal(moves.moved, balls >= 0)
        np.testing.assert_allclose(moves.distances, gaps, rtol=1e-5, atol=1e-4)
    assert (region.contains(y) == RegionState.INSIDE).mean() > 0.5  # what a quantile below 1 is for
