"""`NormalRegion` against float64 loops over its groups: states, scores, nearest vectors, its contract."""

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from region_brute_force import SlowRegion
from scipy.stats import ortho_group
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from genmend.manifold import Manifold, NormalRegion
from genmend.manifold.regions.normal_region import RegionState

FEW = settings(deadline=None, max_examples=15, derandomize=True)
SEED = st.integers(0, 2**32 - 1)

rng = np.random.default_rng(0)
NAMES = ["AA1", "B", "", "ß"]
# On a coarse grid: ties, duplicates and radii of 0 in every group; the last group is too small for k = 3.
GRID = rng.integers(0, 4, (93, 3)).astype(np.float64)
GROUPS = [NAMES[i] for i in rng.integers(0, 3, 90)] + ["ß"] * 3
QUERY = rng.integers(-1, 5, (60, 3)) + rng.choice([0.0, 0.5], (60, 1))
ASKED = [([*NAMES, "unknown"])[i] for i in rng.integers(0, 5, 60)]


def normal(seed, n=80, m=40, d=5):
    own = np.random.default_rng(seed)
    groups, asked = own.integers(0, 3, n), own.integers(0, 3, m)
    return own.standard_normal((n, d)) + groups[:, None], groups, 1.5 * own.standard_normal((m, d)), asked


def assert_same(region, slow, y, groups, n=4):
    labels = [None] * len(y) if groups is None else list(groups)
    np.testing.assert_array_equal(region.contains(y, groups), slow.states(y, labels))
    np.testing.assert_allclose(region.score_samples(y, groups), slow.scores(y, labels), rtol=1e-13)
    far, rows = slow.nearest(y, labels, n)
    found = region.nearest(y, groups, n)
    np.testing.assert_allclose(found.distances, far, rtol=1e-13)
    np.testing.assert_array_equal(found.rows, rows)


def test_by_hand():
    # Group a: 0, 1, 3 with radii 1, 1, 2, so [-1, 2] and [1, 5]; b: 50, 52 with [48, 54]; c: one vector.
    region = NormalRegion(k=1).fit([[52.0], [0], [9], [1], [50], [3]], groups=list("bacaba"))
    states = region.contains([[5.0], [5.5], [-1], [48], [54.5], [9], [0]], groups=list("aaabbcz"))
    assert states.dtype == np.int8
    assert states.tolist() == [1, 0, 1, 1, 0, -1, -1]
    assert list(region.groups_) == ["b", "a", "c"]
    assert region.without_reference_ == ("c",)
    assert region.rows_.tolist() == [0, 4, 1, 3, 5, 2]
    assert region.vectors_.ravel().tolist() == [52, 50, 0, 1, 3, 9]
    np.testing.assert_array_equal(region.radii_, [2, 2, 1, 1, 2, np.nan])
    np.testing.assert_array_equal(region.score_samples([[5.5], [51], [9]], groups=list("abc")), [1.25, 0.5, np.nan])
    nearest = region.nearest([[2.0], [50], [9]], groups=list("abc"), n=3)
    assert nearest.rows.tolist() == [[3, 5, 1], [4, 0, -1], [-1, -1, -1]]  # of 1 and 3, both at distance 1, the first
    np.testing.assert_array_equal(nearest.distances, [[1, 1, 2], [0, 2, np.nan], [np.nan] * 3])
    np.testing.assert_array_equal(nearest.vectors[:, :, 0], [[1, 3, 0], [50, 52, np.nan], [np.nan] * 3])


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize(("k", "quantile", "block_size"), [(1, 1.0, 7), (3, 1.0, 1024), (3, 0.8, 7), (2, 0.05, 1024)])
def test_ties_and_duplicates_equal_float64_loops(closed, k, quantile, block_size):
    region = NormalRegion(k, quantile=quantile, closed=closed, block_size=block_size).fit(GRID, groups=GROUPS)
    slow = SlowRegion(GRID, GROUPS, k, quantile, closed)
    assert_same(region, slow, QUERY, ASKED)
    assert_same(region, slow, GRID, GROUPS)
    assert set(region.manifolds_) == set(slow.rows)
    for group, manifold in region.manifolds_.items():
        np.testing.assert_array_equal(region.rows_[region.groups_[group]], slow.rows[group])
        np.testing.assert_array_equal(region.radii_[region.groups_[group]], slow.radii[group])
        np.testing.assert_array_equal(manifold.radii_, slow.cut[group])


@pytest.mark.parametrize(("offset", "grouped"), [(0, True), (300, False), (1e3, True)])
def test_continuous_vectors_equal_float64_loops(offset, grouped):
    x, groups, y, asked = normal(1, n=600, m=200, d=24)
    x, y = (x + offset).astype(np.float32), (y + offset).astype(np.float32)
    labels = groups if grouped else [None] * len(x)
    region = NormalRegion(5, quantile=0.9).fit(x, groups=groups if grouped else None)
    slow = SlowRegion(x, list(labels), 5, 0.9)
    assert_same(region, slow, y, asked if grouped else None)
    assert 0 < (region.contains(y, asked if grouped else None) == RegionState.INSIDE).mean() < 1


def test_a_group_is_a_manifold():
    x, groups, y, asked = normal(2)
    region = NormalRegion(3).fit(x, groups=groups)
    for group in range(3):
        one, here = Manifold(3).fit(x[groups == group]), y[asked == group]
        np.testing.assert_array_equal(region.contains(y, asked)[asked == group], one.contains(here))
        np.testing.assert_array_equal(region.score_samples(y, asked)[asked == group], one.score_samples(here))


def test_the_quantile_cuts_the_balls_of_outliers_only():
    x = np.array([[0.0], [1], [3], [7], [100]])  # radii 1, 1, 2, 4, 93
    for quantile, longest in [(0.2, 1), (0.4, 1), (0.41, 2), (0.6, 2), (0.8, 4), (0.81, 93), (1, 93)]:
        region = NormalRegion(k=1, quantile=quantile).fit(x)
        np.testing.assert_array_equal(region.manifolds_[None].radii_, np.minimum([1, 1, 2, 4, 93], longest))
        np.testing.assert_array_equal(region.radii_, [1, 1, 2, 4, 93])
        assert region.contains([[100.0 + longest], [100.1 + longest]]).tolist() == [1, 0]
        assert (region.contains(x) == 1).all()  # whoever was fitted stays


@FEW
@given(SEED, st.floats(0.01, 1), st.integers(1, 5))
def test_a_larger_quantile_never_loses_a_vector(seed, quantile, k):
    x, groups, y, asked = normal(seed)
    inside = [NormalRegion(k, quantile=q).fit(x, groups=groups).contains(y, asked) for q in (quantile / 2, quantile, 1)]
    assert (inside[0] <= inside[1]).all()
    assert (inside[1] <= inside[2]).all()


@FEW
@given(SEED)
def test_the_order_of_fitted_and_of_asked_vectors_does_not_matter(seed):
    x, groups, y, asked = normal(seed)
    before = NormalRegion(3).fit(x, groups=groups)
    p, q = np.random.default_rng(seed).permutation(len(x)), np.random.default_rng(seed + 1).permutation(len(y))
    after = NormalRegion(3).fit(x[p], groups=groups[p])
    np.testing.assert_array_equal(after.contains(y[q], asked[q]), before.contains(y, asked)[q])
    np.testing.assert_array_equal(after.score_samples(y[q], asked[q]), before.score_samples(y, asked)[q])
    np.testing.assert_array_equal(p[after.nearest(y[q], asked[q], 3).rows], before.nearest(y, asked, 3).rows[q])
    for row in range(3):  # nor who is asked about beside it
        one = before.contains(y[row : row + 1], asked[row : row + 1])
        assert one.tolist() == before.contains(y, asked)[row : row + 1].tolist()


@FEW
@given(SEED, st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_translation_rotation_and_scale(seed, offset, scale):
    x, groups, y, asked = normal(seed)
    turn = ortho_group.rvs(x.shape[1], random_state=seed) * scale
    before, after = NormalRegion(3).fit(x, groups=groups), NormalRegion(3).fit(x @ turn + offset, groups=groups)
    moved = y @ turn + offset
    np.testing.assert_array_equal(after.contains(moved, asked), before.contains(y, asked))
    np.testing.assert_allclose(after.score_samples(moved, asked), before.score_samples(y, asked), rtol=1e-7)
    np.testing.assert_array_equal(after.nearest(moved, asked, 3).rows, before.nearest(y, asked, 3).rows)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_tensors_in_tensors_out(dtype):
    x, groups, y, asked = normal(3)
    tensors = [torch.from_numpy(values).to(dtype) for values in (x, y)]
    arrays = [tensor.double().numpy() for tensor in tensors]
    region = NormalRegion(3).fit(tensors[0], groups=torch.from_numpy(groups))
    slow = SlowRegion(arrays[0], groups.tolist(), 3)
    states, scores = region.contains(tensors[1], torch.from_numpy(asked)), region.score_samples(tensors[1], asked)
    nearest = region.nearest(tensors[1], asked, 2)
    for found, kind in [(states, torch.int8), (scores, torch.float64), (nearest.rows, torch.int64)]:
        assert isinstance(found, torch.Tensor)
        assert (found.dtype, found.device) == (kind, tensors[1].device)
    np.testing.assert_array_equal(states, slow.states(arrays[1], asked))
    np.testing.assert_allclose(scores, slow.scores(arrays[1], asked), rtol=1e-13)
    np.testing.assert_array_equal(nearest.rows, slow.nearest(arrays[1], asked, 2)[1])
    np.testing.assert_array_equal(nearest.vectors, arrays[0][nearest.rows])


@pytest.mark.parametrize("closed", [True, False])
def test_copies_have_radius_zero(closed):
    x = np.array([[1.0, 2]] * 4 + [[5, 5]])
    region = NormalRegion(k=3, closed=closed).fit(x[:4])
    assert region.radii_.tolist() == [0] * 4
    y = [[1.0, 2], [1, 2 + 1e-15], [5, 5]]
    assert region.contains(y).tolist() == ([1, 0, 0] if closed else [0, 0, 0])
    np.testing.assert_array_equal(region.score_samples(y), [0, np.inf, np.inf])
    with_another = NormalRegion(k=3, closed=closed).fit(x)  # its ball is large, and holds all
    assert with_another.contains(y).tolist() == ([1, 1, 1] if closed else [0, 1, 1])


def test_how_many_vectors_make_a_reference():
    x, groups = np.arange(12.0)[:, None], np.repeat([0, 1, 2, 3], [5, 4, 2, 1])
    for min_size, known in [(None, [0, 1]), (4, [0, 1]), (5, [0])]:
        region = NormalRegion(k=3, min_size=min_size).fit(x, groups=groups)
        assert list(region.manifolds_) == known
        assert region.without_reference_ == tuple(sorted({0, 1, 2, 3} - set(known)))
        state = region.contains(x, groups)
        assert (state == np.where(np.isin(groups, known), RegionState.INSIDE, RegionState.NO_REFERENCE)).all()
        assert (np.isnan(region.radii_) == (state == RegionState.NO_REFERENCE)).all()
        assert region.contains([[0.0]], [17]).tolist() == [RegionState.NO_REFERENCE]
    with pytest.raises(ValueError, match="the largest group has 5 vectors; at least min_size = 6 are needed"):
        NormalRegion(k=3, min_size=6).fit(x, groups=groups)
    with pytest.raises(ValueError, match=r"vectors of the largest group: need at least k\+1 samples, got 5"):
        NormalRegion(k=5).fit(x, groups=groups)


def test_strings_and_integers_of_any_kind_are_groups():
    x, groups, y, asked = normal(4)
    truth = NormalRegion(3).fit(x, groups=groups).contains(y, asked)
    for kind in (list, tuple, torch.from_numpy, lambda g: g.astype(np.uint8), lambda g: g.astype(object)):
        np.testing.assert_array_equal(NormalRegion(3).fit(x, groups=kind(groups)).contains(y, kind(asked)), truth)
    for kind in (lambda g: g.astype(str), lambda g: [str(one) for one in g], lambda g: g.astype(str).astype(object)):
        region = NormalRegion(3).fit(x, groups=kind(groups))
        assert {type(group) for group in region.groups_} == {str}
        np.testing.assert_array_equal(region.contains(y, kind(asked)), truth)


@parametrize_with_checks(
    [NormalRegion()],
    expected_failed_checks=lambda _: {"check_dtype_object": "arrays of objects are refused: they hide missing values"},
)
def test_scikit_learn_contract(estimator, check):
    check(estimator)


def test_parameters_are_stored_and_take_effect_at_refit():
    settings_ = {"k": 2, "quantile": 0.7, "closed": False, "min_size": 4, "block_size": 16}
    x, groups, y, asked = normal(5)
    region = NormalRegion(**settings_).fit(x, groups=groups)
    assert region.get_params() == region.settings_ == settings_
    assert not hasattr(clone(region), "radii_")
    assert clone(region).get_params() == settings_
    before = region.contains(y, asked)
    other = {"k": 6, "quantile": 1.0, "closed": True, "min_size": None, "block_size": 1024}
    region.set_params(**other)
    np.testing.assert_array_equal(region.contains(y, asked), before)  # as fitted
    assert region.settings_ == settings_
    assert region.refit() is region
    new = NormalRegion(**other).fit(x, groups=groups)
    assert region.settings_ == new.settings_ == other
    assert (region.contains(y, asked) != before).any()
    np.testing.assert_array_equal(region.contains(y, asked), new.contains(y, asked))
    np.testing.assert_array_equal(region.nearest(y, asked).rows, new.nearest(y, asked).rows)
    region.set_params(k=1000)
    with pytest.raises(ValueError, match="need at least k\\+1 samples"):
        region.refit()
    np.testing.assert_array_equal(region.contains(y, asked), new.contains(y, asked))  # still whole
    with pytest.raises(NotFittedError):
        NormalRegion().refit()


def test_pickled_and_copied_regions_answer_the_same():
    x, groups, y, asked = normal(6)
    region = NormalRegion(3).fit(x, groups=groups)
    for other in (pickle.loads(pickle.dumps(region)), copy.deepcopy(region)):
        np.testing.assert_array_equal(other.nearest(y, asked, 3).rows, region.nearest(y, asked, 3).rows)
        np.testing.assert_array_equal(other.move_inside(y, asked).vectors, region.move_inside(y, asked).vectors)
        np.testing.assert_array_equal(other.score_samples(y, asked), region.score_samples(y, asked))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"k": 0}, "k is 0"),
        ({"k": 2.0}, r"k is 2\.0"),
        ({"quantile": 0}, "quantile is 0; a number above 0 and up to 1"),
        ({"quantile": 1.01}, r"quantile is 1\.01"),
        ({"quantile": float("nan")}, "quantile is nan"),
        ({"quantile": "0.5"}, "quantile is '0.5'"),
        ({"closed": "no"}, "closed is 'no'"),
        ({"k": 3, "min_size": 3}, r"min_size is 3; at least k \+ 1 = 4"),
        ({"block_size": 0}, "block_size is 0"),
    ],
)
def test_parameters_that_are_refused(parameters, message):
    region = NormalRegion(**parameters)  # by scikit-learn's contract not yet
    with pytest.raises(ValueError, match=message):
        region.fit(GRID)


def test_groups_that_are_refused():
    ten = GRID[:10]
    for groups, message in [
        (["a"] * 9, "groups is 9 entries, but there are 10 vectors"),
        ("abcdefghij", "groups is not a sequence"),
        (5, "groups is not a sequence"),
    ]:
        with pytest.raises(ValueError, match=message):
            NormalRegion(1).fit(ten, groups=groups)
    for groups, kinds in [
        (["a"] * 9 + [1], "int, str"), ([1.0] * 10, "float"), ([True] * 10, "bool"), ([None] * 10, "NoneType"),
        (np.zeros((10, 2), dtype=int), "list"), (np.full(10, np.nan), "float"),
    ]:  # fmt: skip
        with pytest.raises(TypeError, match=f"groups holds {kinds}; either strings only or integers only"):
            NormalRegion(1).fit(ten, groups=groups)
    fitted = {kind: NormalRegion(1).fit(ten, groups=groups) for kind, groups in
              [("no groups", None), ("strings", ["a"] * 10), ("integers", [1] * 10)]}  # fmt: skip
    given = {"no groups": None, "strings": ["a"] * 10, "integers": [1] * 10}
    for kind, region in fitted.items():
        for asked, groups in given.items():
            if asked == kind:
                assert (region.contains(ten, groups) == RegionState.INSIDE).all()
                continue
            for method in (region.contains, region.score_samples, region.nearest, region.move_inside):
                with pytest.raises(ValueError, match=f"groups: {asked} given, but the region was fitted with {kind}"):
                    method(ten, groups)


def test_vectors_that_are_refused():
    bad = GRID.copy()
    bad[17, 1] = np.nan
    with pytest.raises(ValueError, match="vectors contains NaN in row 17"):
        NormalRegion(1).fit(bad)
    region = NormalRegion(1)
    for method in (region.contains, region.score_samples, region.nearest, region.move_inside):
        with pytest.raises(NotFittedError):
            method(GRID)
    region.fit(GRID)
    for method in (region.contains, region.score_samples, region.nearest, region.move_inside):
        with pytest.raises(ValueError, match="vectors contains NaN in row 17"):
            method(bad)
        with pytest.raises(ValueError, match="vectors has 2 features, but the reference has 3"):
            method(GRID[:, :2])
    with pytest.raises(ValueError, match="n is 0"):
        region.nearest(GRID, n=0)
