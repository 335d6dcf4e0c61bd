"""Approximate search: labelled, never below the truth, with the recall that a brute-force count gives."""

import json

import numpy as np
import pytest
from manifold_brute_force import distances, radii

from genmend.manifold.engine.approximate import approximate_neighbors

rng = np.random.default_rng(0)
X = rng.standard_normal((1200, 6)).astype(np.float32)
Y = rng.standard_normal((70, 6)).astype(np.float32)


@pytest.mark.parametrize("method", ["ivf", "hnsw"])
@pytest.mark.parametrize("effort", [1, 8])
@pytest.mark.parametrize("query", [None, Y])
def test_distances_are_exact_and_recall_is_measured(method, effort, query):
    found = approximate_neighbors(X, query, k=4, method=method, effort=effort, recall_queries=5000)
    y = X if query is None else query
    table = distances(y, X)
    if query is None:
        np.fill_diagonal(table, np.inf)
    true = np.sort(table, axis=1)[:, :4]
    there = found.indices >= 0
    i = np.nonzero(there)[0]
    np.testing.assert_allclose(found.distances[there], table[i, found.indices[there]], rtol=1e-12)
    assert np.isinf(found.distances[~there]).all()
    assert (np.diff(np.where(there, found.distances, 1e9), axis=1) >= 0).all()
    assert all(len(set(row[row >= 0])) == (row >= 0).sum() for row in found.indices)
    assert (found.distances >= true * (1 - 1e-12)).all()
    np.testing.assert_array_equal(found.radii, found.distances[:, -1])
    assert found.approximate is True
    assert found.recall_queries == len(y)
    assert found.recall == pytest.approx((found.distances <= true[:, -1:] * (1 + 1e-12)).mean(), abs=0)
    assert found.recall < 1 or effort > 1
    assert json.loads(json.dumps(found.to_dict()))["approximate"] is True


@pytest.mark.parametrize("method", ["ivf", "hnsw"])
def test_with_all_effort_it_is_exact_even_far_from_the_origin(method):
    x = X[:300] + 300
    found = approximate_neighbors(x, k=3, method=method, n_lists=5, effort=300)
    assert found.recall == 1.0
    np.testing.assert_allclose(found.radii, radii(x, 3), rtol=1e-12)
    assert "5 lists" in found.index or method == "hnsw"


def test_recall_is_of_a_seeded_sample():
    settings = {"k": 4, "effort": 1, "recall_queries": 50}
    one, same, other = (approximate_neighbors(X, **settings, seed=seed) for seed in (0, 0, 1))
    assert one.recall_queries == 50
    assert one.recall == same.recall != other.recall
    np.testing.assert_array_equal(one.indices, other.indices)


def test_duplicates_are_neighbours_at_distance_zero():
    found = approximate_neighbors(np.repeat(X[:100], 2, axis=0), k=1, effort=200)
    np.testing.assert_array_equal(found.radii, 0)
    np.testing.assert_array_equal(found.indices[:, 0], np.arange(200) ^ 1)
    assert found.recall == 1


def test_too_few_candidates_are_marked():
    found = approximate_neighbors(X[:50], Y, k=20, n_lists=25, effort=1)
    assert (found.indices == -1).any()
    assert found.to_dict()["missing"] == (found.indices == -1).sum()
    assert found.recall < 1


def test_what_is_refused():
    with pytest.raises(ValueError, match="'ivf' and 'hnsw' are accepted"):
        approximate_neighbors(X, method="lsh")
    with pytest.raises(ValueError, match=r"need at least k\+1 samples"):
        approximate_neighbors(X[:3], k=3)
    with pytest.raises(ValueError, match="reference has 3 samples, which is less than k = 4"):
        approximate_neighbors(X[:3], Y, k=4)
    with pytest.raises(ValueError, match="n_lists is 51"):
        approximate_neighbors(X[:50], n_lists=51)
    with pytest.raises(ValueError, match="query contains NaN"):
        approximate_neighbors(X, Y * np.nan)
    with pytest.raises(ValueError, match="query has 5 features"):
        approximate_neighbors(X, Y[:, :5])
