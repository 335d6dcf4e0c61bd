"""Soft-label logistic regression against scikit-learn's on hard labels, and scores that never saw their sample."""

import tracemalloc

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from genmend.gans.detection import soft_logistic
from genmend.gans.detection.soft_logistic import (
    REGULARISATIONS,
    LinearScore,
    cross_validated_scores,
    fit_on_rows,
    fit_soft_logistic,
)


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    features = random.normal(size=(200, 6)) * [1, 2, 0.1, 30, 1, 1] + [0, 5, 0, -100, 0, 0]
    logit = features[:, 0] * 2 + features[:, 2] * 10 + random.normal(size=200)
    return features, (logit > 0).astype(float)


def test_hard_labels_give_scikit_learns_own_model(data):
    features, labels = data
    scaler = StandardScaler().fit(features)
    expected = LogisticRegression(C=0.1, max_iter=2000, tol=1e-8).fit(scaler.transform(features), labels)
    score = fit_soft_logistic(features, labels, regularisation=0.1)
    weights = expected.coef_[0] / scaler.scale_
    np.testing.assert_allclose(score.weights, weights, rtol=1e-3, atol=1e-4 * np.abs(weights).max())
    # Weights and bias are for the features as they come, without standardisation.
    np.testing.assert_allclose(score(features), expected.decision_function(scaler.transform(features)), atol=2e-3)
    assert score.regularisation == 0.1


def test_soft_labels_minimise_the_weighted_loss(data):
    features, labels = data
    random = np.random.default_rng(1)
    shares = np.clip(labels * 0.75 + random.choice([0, 0.25], size=200), 0, 1)
    standardised = (features - features.mean(0)) / features.std(0)

    def loss(parameters):
        z = standardised @ parameters[1:] + parameters[0]
        cross_entropy = shares * np.logaddexp(0, -z) + (1 - shares) * np.logaddexp(0, z)
        return cross_entropy.sum() + (parameters[1:] ** 2).sum() / (2 * 0.05)

    best = minimize(loss, np.zeros(7), method="BFGS", options={"gtol": 1e-6}).x
    score = fit_soft_logistic(features, shares, regularisation=0.05)
    np.testing.assert_allclose(score.weights * features.std(0), best[1:], atol=2e-3)
    np.testing.assert_allclose(score(features), standardised @ best[1:] + best[0], atol=1e-2)


def test_a_fit_on_rows_is_that_of_an_array_of_them(data, monkeypatch):
    monkeypatch.setattr(soft_logistic, "_ROWS_AT_ONCE", 7)
    monkeypatch.setattr(soft_logistic, "_COLUMNS_AT_ONCE", 4)
    features, labels = data
    rows = np.random.default_rng(2).permutation(200)[:90]
    shares = np.where(np.arange(90) % 3, labels[rows], 0.5)
    of_rows = fit_on_rows(features, rows, shares, 0.1)
    monkeypatch.undo()
    of_array = fit_soft_logistic(features[rows], shares, regularisation=0.1)
    np.testing.assert_allclose(of_rows.weights, of_array.weights, rtol=1e-9)
    assert of_rows.bias == pytest.approx(of_array.bias, rel=1e-9)


def test_a_fit_holds_its_rows_once_more_in_float64_and_no_more():
    random = np.random.default_rng(3)
    features = random.standard_normal((600, 4000)).astype(np.float32)
    shares = (random.random(500) < 0.3).astype(float)
    tracemalloc.start()
    fit_on_rows(features, np.arange(100, 600), shares, 1e-3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.4 * 500 * 4000 * 8


def test_a_borderline_sample_pulls_less_than_a_clear_one():
    features = np.array([[-1.0], [-1.1], [-0.9], [1.0], [1.1], [0.9]])
    clear, borderline, none = (
        fit_soft_logistic(features, np.array([0, 0, 0, 1, 1, share]), regularisation=1.0)(np.array([[0.9]]))[0]
        for share in (1.0, 0.5, 0.0)
    )
    assert none < borderline < clear


def test_a_constant_feature_does_no_harm(data):
    features, labels = data
    with_constant = np.concatenate([features, np.full((200, 1), 3.0)], axis=1)
    score = fit_soft_logistic(with_constant, labels, regularisation=0.1)
    assert score.weights[-1] == 0
    without = fit_soft_logistic(features, labels, regularisation=0.1)
    np.testing.assert_allclose(score(with_constant), without(features), atol=1e-3)


def test_regularisation_is_chosen_by_cross_validated_loss(data):
    """Where only noise is offered the strongest is right; where one feature tells all, the weakest."""
    _, labels = data
    noise = np.random.default_rng(2).normal(size=(200, 60))
    assert fit_soft_logistic(noise, labels).regularisation == min(REGULARISATIONS)
    clear = np.concatenate([labels[:, None] * 10, noise[:, :2]], axis=1)
    assert fit_soft_logistic(clear, labels).regularisation == max(REGULARISATIONS)
    assert fit_soft_logistic(clear, labels, regularisations=(0.5, 1e-5)).regularisation == 0.5


def test_scores_far_from_zero_warn_of_no_overflow(recwarn):
    labels = np.repeat([0.0, 1.0], 50)
    features = np.random.default_rng(3).normal(size=(100, 2)) * 0.01 + labels[:, None]
    features[0] = 1e9
    assert np.isfinite(fit_soft_logistic(features, labels, regularisations=(1e6,)).weights).all()
    assert not [warning for warning in recwarn if "overflow" in str(warning.message)]


def test_cross_validated_scores_never_saw_their_sample():
    """Noise in more dimensions than samples: whoever trains on a sample tells its label, and nobody else can."""
    random = np.random.default_rng(4)
    features, labels = random.normal(size=(120, 600)), np.repeat([0.0, 1.0], 60)
    assert roc_auc_score(labels, fit_soft_logistic(features, labels, regularisation=1e-2)(features)) == 1
    unseen = cross_validated_scores(features, labels, regularisation=1e-2)
    assert 0.3 < roc_auc_score(labels, unseen) < 0.7
    nested = cross_validated_scores(features[:80], random.permutation(labels)[:80])
    assert np.isfinite(nested).all()


def test_changing_a_samples_label_leaves_its_own_score_alone(data):
    """Each fold's model is fitted on the others: a mark on a held-out sample cannot reach its own score."""
    features, labels = data
    features = np.concatenate([features, np.zeros((200, 1))], axis=1)
    features[17, -1] = 1e6  # sample 17 alone carries this, so only a model that saw it gives it a weight
    moved = features.copy()
    moved[17, -1] = 0
    with_mark = cross_validated_scores(features, labels, regularisation=0.1)
    without = cross_validated_scores(moved, labels, regularisation=0.1)
    assert with_mark[17] == pytest.approx(without[17], abs=1e-6)


def test_cross_validated_scores_find_a_real_signal_and_repeat(data):
    features, labels = data
    scores = cross_validated_scores(features, labels, regularisation=0.1, seed=1)
    assert roc_auc_score(labels, scores) > 0.85
    np.testing.assert_array_equal(scores, cross_validated_scores(features, labels, regularisation=0.1, seed=1))
    assert not np.array_equal(scores, cross_validated_scores(features, labels, regularisation=0.1, seed=2))


def test_a_linear_score_is_linear():
    score = LinearScore(np.array([1.0, -2.0]), 0.5, 0.1)
    np.testing.assert_array_equal(score(np.array([[0, 0], [3, 1]], dtype=np.float32)), [0.5, 1.5])
    assert score(np.zeros((1, 2), dtype=np.float32)).dtype == np.float64


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ([0.0, 1.0], r"200 samples and shares of shape \(2,\)"),
        (np.zeros((200, 1)), r"shares of shape \(200, 1\)"),
        (np.linspace(0, 2, 200), r"outside \[0, 1\]"),
        (np.linspace(-0.1, 1, 200), r"outside \[0, 1\]"),
        (np.full(200, np.nan), r"outside \[0, 1\]"),
        (np.zeros(200), "same label"),
        (np.ones(200), "same label"),
    ],
)
@pytest.mark.parametrize("function", [fit_soft_logistic, cross_validated_scores])
def test_bad_labels_are_refused(data, function, shares, message):
    with pytest.raises(ValueError, match=message):
        function(data[0], shares)
