"""The nearest samples and the nearest balls: exact, whatever faiss proposes, and of equal ones the first."""

import sys

import manifold_brute_force as brute_force
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from genmend.manifold import nearest_neighbors
from genmend.manifold.engine import nearest
from genmend.manifold.engine.nearest import nearest_balls
from genmend.manifold.engine.screens import screen_of

FEW = settings(deadline=None, max_examples=25, derandomize=True)
COARSE = st.integers(-2, 2).map(float)

rng = np.random.default_rng(0)
X = rng.standard_normal((700, 12))
Y = 1.3 * rng.standard_normal((90, 12))


def least(table, n):
    """The n least of each row, of equal ones the first, and where they are."""
    order = np.argsort(table, axis=1, kind="stable")[:, :n]
    return np.take_along_axis(table, order, axis=1), order


def assert_nearest(x, y, n, **options):
    found = nearest_neighbors(x, y, n, **options)
    distances, indices = least(brute_force.distances(y, x), n)
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-13)
    assert (found.distances.dtype, found.indices.dtype) == (np.float64, np.int64)


def assert_nearest_balls(x, radii, y, block_size=1024, rtol=1e-13):
    gaps, balls = nearest_balls(screen_of(x), x, radii, y, block_size)
    truth, first = least(brute_force.distances(y, x) - radii, 1)
    np.testing.assert_array_equal(balls, first[:, 0])
    np.testing.assert_allclose(gaps, truth[:, 0], rtol=rtol, atol=1e-13)


def garbage(reference, query, n):
    """The worst of all proposals: far rows, the same for all."""
    return np.tile(np.argsort(np.abs(reference).max(axis=1))[::-1][:n], (len(query), 1))


WITHOUT_FAISS = "without faiss"


@pytest.fixture(params=["faiss", WITHOUT_FAISS, "garbage"])
def proposals(request, monkeypatch):
    """Who proposes; what is found must not depend on it."""
    if request.param == WITHOUT_FAISS:
        monkeypatch.setitem(sys.modules, "faiss", None)
        assert nearest._proposals(X, Y, 1) is None
    elif request.param == "garbage":
        monkeypatch.setattr(nearest, "_proposals", garbage)
    return request.param


def test_by_hand():
    found = nearest_neighbors([[0.0], [1], [3], [7]], [[2.0], [7], [-1]], n=3)
    assert found.indices.tolist() == [[1, 2, 0], [3, 2, 1], [0, 1, 2]]  # 2 is as far from 1 as from 3
    assert found.distances.tolist() == [[1, 1, 2], [0, 4, 6], [1, 2, 4]]


@pytest.mark.parametrize(("n", "dtype", "offset"), [(1, np.float32, 1e3), (7, np.float64, 1e3), (700, np.float32, 0)])
def test_equals_float64_loops(proposals, n, dtype, offset):
    assert_nearest((X + offset).astype(dtype), (Y + offset).astype(dtype), n)


def test_faiss_is_asked(monkeypatch):
    asked = []
    original = nearest._proposals
    monkeypatch.setattr(nearest, "_proposals", lambda *given: asked.append(original(*given)) or asked[-1])
    nearest_neighbors(X, Y, 3)
    share = (asked[0] == least(brute_force.distances(Y, X), 3)[1]).mean()
    assert share > 0.95  # good proposals: else the proof costs time


@pytest.mark.parametrize(("least_work", "threads"), [(10**9, 1), (0, 3)])
def test_threads_of_faiss_are_given_back(monkeypatch, least_work, threads):
    import faiss

    class Index(faiss.IndexFlatL2):
        def search(self, *given_):
            seen.append(faiss.omp_get_max_threads())
            return super().search(*given_)

    seen, before = [], faiss.omp_get_max_threads()
    monkeypatch.setattr(nearest, "_WORTH_THREADS", least_work)
    monkeypatch.setattr(faiss, "IndexFlatL2", Index)
    monkeypatch.setattr(sys, "platform", "linux")
    faiss.omp_set_num_threads(3)
    try:
        assert_nearest(X, Y, 2)
        assert (seen, faiss.omp_get_max_threads()) == ([threads], 3)
        monkeypatch.setattr(Index, "search", None)
        with pytest.raises(TypeError):
            nearest_neighbors(X, Y, 2)
        assert faiss.omp_get_max_threads() == 3
        monkeypatch.undo()
    finally:
        faiss.omp_set_num_threads(before)


@FEW
@given(st.data(), st.integers(1, 3), st.integers(1, 12), st.integers(1, 9), st.integers(1, 30))
def test_ties_and_duplicates(data, d, n_reference, n_query, block_size):
    x = data.draw(arrays(np.float64, (n_reference, d), elements=COARSE))
    y = data.draw(arrays(np.float64, (n_query, d), elements=COARSE))
    assert_nearest(x, y, data.draw(st.integers(1, n_reference)), block_size=block_size)
    assert_nearest_balls(x, data.draw(arrays(np.float64, n_reference, elements=st.integers(0, 3).map(float))), y)


@FEW
@given(
    arrays(np.float64, (8, 2), elements=st.floats(-1e149, 1e149)), arrays(np.float64, (5, 2), elements=st.floats(-1, 1))
)
def test_any_floats(x, y):
    assert_nearest(x, y, 3)
    assert_nearest(y, x, 3)


def test_outliers_that_float32_cannot_hold():
    x = np.concatenate([X, X[:5] * 1e60, X[:5] * 1e60 + 1e58])
    assert_nearest(x, np.concatenate([Y, X[:5] * 1e60, Y[:5] * 1e-60]), 4)
    assert_nearest(np.full((9, 3), 0.1), np.full((2, 3), 0.1), 9)  # no scale at all


def test_nearest_to_itself():
    found = nearest_neighbors(X, X[::-1])
    assert (found.distances == 0).all()
    assert found.indices[:, 0].tolist() == list(range(699, -1, -1))


@pytest.mark.parametrize("added", [100, 89])
def test_many_blocks(monkeypatch, added):
    monkeypatch.setattr(nearest, "_ADDED_ROWS", added)
    assert_nearest(X, Y, 5, block_size=13)
    assert_nearest_balls(X, rng.random(700), Y, block_size=13)


@pytest.mark.parametrize(
    ("radii", "offset"),
    [
        (np.zeros(700), 0),
        (brute_force.radii(X, 5), 1e3),
        (brute_force.radii(X, 5) * np.where(np.arange(700) % 50, 1, 30.0), 1e3),  # a few balls hold nearly everything
        (np.where(np.arange(700) % 50, 0, 5.0), 0),
        (rng.pareto(0.7, 700), 1e3),
        (rng.integers(0, 3, 700).astype(float), 0),
    ],
    ids=["zero", "k-NN", "outliers", "few", "heavy tails", "integers"],
)
def test_the_nearest_ball_is_the_least_of_all(proposals, radii, offset):
    assert_nearest_balls(X + offset, radii, Y + offset, rtol=1e-11)


def test_of_equal_gaps_the_first_ball():
    x, radii = np.array([[0.0], [10], [4], [10]]), np.array([1.0, 3, 1, 3])
    gaps, balls = nearest_balls(screen_of(x), x, radii, np.array([[5.5], [2], [20], [0.5]]), 1024)
    assert gaps.tolist() == [0.5, 1, 7, -0.5]
    assert balls.tolist() == [2, 0, 1, 0]


def test_the_order_in_which_pairs_come_does_not_matter(monkeypatch):
    own = np.random.default_rng(2)
    x, y = own.integers(0, 4, (300, 2)).astype(float), own.integers(0, 5, (30, 2)).astype(float)  # many ties
    original = nearest.near_pairs

    def shuffled(*given_, **options):
        together = [np.concatenate(parts) for parts in zip(*original(*given_, **options), strict=True)]
        for part in np.array_split(own.permutation(len(together[0])), 40):
            yield tuple(values[part] for values in together)

    monkeypatch.setattr(nearest, "near_pairs", shuffled)
    assert_nearest(x, y, 5)
    assert_nearest_balls(x, own.integers(0, 2, 300).astype(float), y)


def test_tensors_in_tensors_out():
    found = nearest_neighbors(torch.from_numpy(X), torch.from_numpy(Y).float(), 2)
    assert isinstance(found.distances, torch.Tensor)
    assert isinstance(found.indices, torch.Tensor)
    np.testing.assert_array_equal(found.indices, nearest_neighbors(X, Y.astype(np.float32), 2).indices)
    assert isinstance(nearest_neighbors(torch.from_numpy(X), Y).indices, np.ndarray)


def test_what_is_refused():
    with pytest.raises(ValueError, match="n is 701, but the reference has 700 samples"):
        nearest_neighbors(X, Y, 701)
    with pytest.raises(ValueError, match="n is 0"):
        nearest_neighbors(X, Y, 0)
    with pytest.raises(ValueError, match="query has 3 features, but the reference has 12"):
        nearest_neighbors(X, Y[:, :3])
    with pytest.raises(ValueError, match="query contains NaN in row 0"):
        nearest_neighbors(X, Y * np.nan)
    with pytest.raises(ValueError, match="block_size is 0"):
        nearest_neighbors(X, Y, block_size=0)
