"""Moves along a probe: both read 1 more, one is the shortest and one the likeliest."""

import numpy as np
import pytest

from genmend.tts.prosody.probe_moves import (
    move_along_covariance,
    move_along_weights,
    random_direction,
    shrink_covariance,
)
from genmend.tts.prosody.probes import LinearProbe


def probe_of(weights):
    return LinearProbe("last", "pitch", np.asarray(weights, dtype=float), 0.5, 1.0, 0.0, 100, 50)


@pytest.fixture
def vectors():
    generator = np.random.default_rng(0)
    return generator.normal(size=(400, 6)) @ generator.normal(size=(6, 6))


def test_both_moves_read_one_more(vectors):
    probe = probe_of(np.arange(6) - 2.0)
    for move in (move_along_weights(probe), move_along_covariance(probe, shrink_covariance(vectors))):
        np.testing.assert_allclose(probe(vectors + move) - probe(vectors), 1)


def test_one_is_shortest_the_other_likeliest(vectors):
    probe = probe_of([1, 0, -2, 0, 0, 1])
    covariance = shrink_covariance(vectors)
    shortest, likeliest = move_along_weights(probe), move_along_covariance(probe, covariance)
    inverse = np.linalg.inv(covariance)
    generator = np.random.default_rng(1)
    for _ in range(50):
        aside = generator.normal(size=6)
        aside -= probe.weights * (aside @ probe.weights) / (probe.weights @ probe.weights)
        assert np.linalg.norm(shortest) < np.linalg.norm(shortest + aside)
        assert likeliest @ inverse @ likeliest < (likeliest + aside) @ inverse @ (likeliest + aside)


def test_without_correlations_they_are_the_same():
    probe = probe_of([3, 0, 4])
    np.testing.assert_allclose(move_along_covariance(probe, 2 * np.eye(3)), move_along_weights(probe))


def test_the_covariance_of_few_vectors_is_regular():
    covariance = shrink_covariance(np.random.default_rng(0).normal(size=(4, 10)))
    assert np.linalg.eigvalsh(covariance).min() > 0


def test_what_moves_nothing_is_refused():
    with pytest.raises(ValueError, match="no weights but 0"):
        move_along_weights(probe_of([0, 0]))
    with pytest.raises(ValueError, match=r"shape \(3, 3\), but the probe 2 weights"):
        move_along_covariance(probe_of([1, 0]), np.eye(3))
    with pytest.raises(ValueError, match="do not vary along the probe"):
        move_along_covariance(probe_of([1, 0]), np.diag([0.0, 1.0]))


def test_random_directions_are_as_long_and_reproducible():
    like = np.arange(1.0, 9.0)
    one, other = random_direction(like, 1), random_direction(like, 2)
    np.testing.assert_allclose(np.linalg.norm([one, other], axis=1), np.linalg.norm(like))
    np.testing.assert_array_equal(one, random_direction(like, 1))
    assert abs(one @ other) < 0.95 * (like @ like)
