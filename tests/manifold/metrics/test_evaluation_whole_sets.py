"""Vendi score, kernel distance and Fréchet distance against closed forms and the packages people already use."""

import numpy as np
import pytest
import scipy.linalg
import torch
import torch_fidelity
from scipy.spatial.distance import cdist
from torch_fidelity.metric_kid import kid_features_to_metric

from genmend.manifold.metrics import frechet as frechet_module
from genmend.manifold.metrics import kernel_distance
from genmend.manifold.metrics.cmmd import cmmd
from genmend.manifold.metrics.evaluation import evaluate
from genmend.manifold.metrics.frechet import frechet_distance
from genmend.manifold.metrics.kernel_distance import kid, squared_mmd
from genmend.manifold.metrics.vendi import vendi_score


@pytest.fixture(scope="module")
def sets():
    rng = np.random.default_rng(0)
    return rng.standard_normal((300, 16)), 0.2 + 1.3 * rng.standard_normal((260, 16)) @ np.diag(rng.uniform(0.5, 2, 16))


# Vendi score


def plain_vendi(features):
    n = len(features)
    kernel = np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in features] for a in features])
    eigenvalues = [one for one in np.linalg.eigvalsh(kernel / n) if one > 1e-14]
    return np.exp(-sum(one * np.log(one) for one in eigenvalues))


def test_vendi_of_orthonormal_vectors_and_of_copies():
    assert vendi_score(np.eye(4)) == pytest.approx(4)
    assert vendi_score(5 * np.eye(4, 9)) == pytest.approx(4)
    assert vendi_score(np.tile([1.0, 2, 3], (4, 1))) == pytest.approx(1)
    assert vendi_score(np.tile(np.eye(4), (3, 1))) == pytest.approx(4)  # n > d


@pytest.mark.parametrize("q", [0, 0.5, 2, 7.0, np.inf])
def test_vendi_of_other_orders(q):
    """Hill numbers of the shares of four kinds, whatever the number of samples."""
    counts = np.array([5, 3, 1, 1])
    shares = counts / counts.sum()
    expected = {0: 4, np.inf: 2}.get(q) or np.sum(shares**q) ** (1 / (1 - q))
    kinds = np.repeat(np.eye(4, 6), counts, axis=0)
    assert vendi_score(kinds, q) == pytest.approx(expected)
    assert vendi_score(np.tile(kinds, (3, 1)), q) == pytest.approx(expected)
    assert vendi_score(kinds, 1 + 1e-7) == pytest.approx(vendi_score(kinds), rel=1e-5)
    with pytest.raises(ValueError, match="q is -1; a number of at least 0"):
        vendi_score(kinds, -1)


def test_cmmd_is_the_biased_discrepancy_of_directions():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((700, 9)), rng.standard_normal((40, 9)) + 0.3
    both = [z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, y)]
    xx, yy, xy = (np.exp(-cdist(a, b, "sqeuclidean") / 200).mean() for a, b in ((both[0],) * 2, (both[1],) * 2, both))
    assert cmmd(x, y) == pytest.approx(1000 * (xx + yy - 2 * xy), rel=1e-9)
    assert cmmd(3 * x, y) == pytest.approx(cmmd(x, y))
    assert cmmd(x, x) == 0
    assert evaluate(x, y, metrics=("cmmd",)).to_dict()["cmmd"] == cmmd(x, y)
    with pytest.raises(ValueError, match="all zeros in row 1"):
        cmmd(x, np.array([[1.0] * 9, [0.0] * 9]))


@pytest.mark.parametrize("shape", [(7, 30), (30, 7), (20, 20)])
def test_vendi_through_either_matrix(shape):
    features = np.random.default_rng(1).standard_normal(shape) + 0.3
    assert vendi_score(features) == pytest.approx(plain_vendi(features), rel=1e-10)
    assert vendi_score(1e120 * features) == pytest.approx(plain_vendi(features), rel=1e-10)
    assert vendi_score(1e-200 * features) == pytest.approx(plain_vendi(features), rel=1e-10)


def test_vendi_in_parts_and_with_zeros(monkeypatch):
    features = np.random.default_rng(2).standard_normal((90, 6))
    whole = vendi_score(features)
    monkeypatch.setattr("genmend.manifold.metrics.vendi._ROWS", 25)
    assert vendi_score(features) == pytest.approx(whole, rel=1e-12)
    assert vendi_score(np.zeros((5, 3))) == pytest.approx(1)  # a direction of their own
    assert vendi_score([[0.0, 0], [0, 0], [1, 0], [2, 0]]) == pytest.approx(2)
    assert vendi_score(torch.eye(3)) == pytest.approx(3)


# Kernel distance


def test_kid_on_the_subsets_of_torch_fidelity(sets):
    x, y = sets
    theirs = kid_features_to_metric(
        torch.from_numpy(x), torch.from_numpy(y), kid_subsets=20, kid_subset_size=100, rng_seed=5, verbose=False
    )
    rng = np.random.RandomState(5)  # as they draw
    ours = []
    for _ in range(20):
        i, j = rng.choice(300, 100, replace=False), rng.choice(260, 100, replace=False)
        ours.append(squared_mmd(x[i], y[j]))
    assert np.mean(ours) == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-11)


def test_kid_of_whole_sets_is_that_of_torch_fidelity(sets):
    x, y = sets[0][:260], sets[1]
    theirs = kid_features_to_metric(
        torch.from_numpy(x), torch.from_numpy(y), kid_subsets=3, kid_subset_size=260, verbose=False
    )
    assert kid(x, y) == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-10)
    assert evaluate(x, y, metrics=("kid",)).totals["kid"] == kid(x, y)


def test_kid_of_random_subsets_agrees_within_their_scatter(monkeypatch):
    monkeypatch.setattr("genmend.manifold.metrics.kernel_distance.SUBSET_SIZE", 200)
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((1200, 4)), 0.3 + rng.standard_normal((1100, 4))
    theirs = kid_features_to_metric(torch.from_numpy(x), torch.from_numpy(y), kid_subset_size=200, verbose=False)
    spread = theirs["kernel_inception_distance_std"]
    assert kid(x, y) == pytest.approx(theirs["kernel_inception_distance_mean"], abs=5 * spread / np.sqrt(100))
    assert kid(x, y, seed=1) == kid(x, y, seed=1) != kid(x, y, seed=2)


def test_squared_mmd_against_loops():
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((6, 3)), rng.standard_normal((5, 3))

    def kernel(a, b):
        return (a @ b / 3 + 1) ** 3

    own = [np.mean([kernel(a, b) for i, a in enumerate(z) for j, b in enumerate(z) if i != j]) for z in (x, y)]
    assert squared_mmd(x, y) == pytest.approx(sum(own) - 2 * np.mean([kernel(a, b) for a in x for b in y]), rel=1e-12)


def test_kid_is_about_zero_for_equal_distributions():
    x, y = np.random.default_rng(5).standard_normal((2, 500, 8))
    assert abs(kid(x, y)) < 0.05 < 1 < kid(x, y + 1)


def test_kid_of_one_sample(sets):
    with pytest.raises(ValueError, match="query has 1 sample; KID needs at least 2"):
        kid(sets[0], sets[1][:1])


# Fréchet distance


def closed_form(x, y):
    covariances = [np.atleast_2d(np.cov(z, rowvar=False)) for z in (x, y)]
    root = scipy.linalg.sqrtm(covariances[0])
    cross = scipy.linalg.sqrtm(root @ covariances[1] @ root)
    return np.sum((x.mean(axis=0) - y.mean(axis=0)) ** 2) + np.trace(sum(covariances) - 2 * cross).real


@pytest.mark.parametrize("package", ["torch_fidelity", "torchmetrics"])
def test_frechet_is_the_closed_form(sets, package, monkeypatch):
    monkeypatch.setattr(frechet_module, "_is_installed", package.__eq__)
    x, y = sets
    assert frechet_distance(x, y) == pytest.approx(closed_form(x, y), rel=1e-9)
    assert frechet_distance(x + 1e4, y + 1e4) == pytest.approx(closed_form(x, y), rel=1e-9)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(x[:, :1], y[:, :1]) == pytest.approx(closed_form(x[:, :1], y[:, :1]), rel=1e-9)
    assert frechet_distance(torch.from_numpy(x), y) == frechet_distance(x, y)


def test_frechet_is_torch_fidelity_s(sets):
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    statistics = [fid_features_to_statistics(torch.from_numpy(z)) for z in sets]
    theirs = fid_statistics_to_metric(*statistics, verbose=False)[torch_fidelity.KEY_METRIC_FID]
    assert evaluate(*sets, metrics=("frechet",)).totals["frechet_features"] == pytest.approx(theirs, rel=1e-10)


def test_frechet_without_a_package(sets, monkeypatch):
    monkeypatch.setattr(frechet_module, "_is_installed", lambda module: False)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'genmend\[metrics\]'"):
        evaluate(*sets, metrics=("precision", "frechet"))
    assert "precision" in evaluate(*sets, metrics=("precision",)).to_dict()["k"]["3"]


def test_frechet_of_one_sample(sets):
    with pytest.raises(ValueError, match="reference has 1 sample"):
        frechet_distance(sets[0][:1], sets[1])


@pytest.mark.parametrize(("n", "m", "size"), [(90, 70, 40), (1200, 1300, 40)])  # by whole kernels, and subset by subset
def test_kid_is_the_mean_over_its_subsets(monkeypatch, n, m, size):
    monkeypatch.setattr(kernel_distance, "SUBSET_SIZE", size)
    x, y = np.random.default_rng(3).standard_normal((n, 7)) * 2, np.random.default_rng(4).standard_normal((m, 7))
    rng = np.random.default_rng(9)
    subsets = [(rng.choice(n, size, replace=False), rng.choice(m, size, replace=False)) for _ in range(100)]
    expected = np.mean([squared_mmd(x[i], y[j]) for i, j in subsets])
    assert kid(x, y, seed=9) == pytest.approx(expected, rel=1e-12)
    assert expected > 0.1
