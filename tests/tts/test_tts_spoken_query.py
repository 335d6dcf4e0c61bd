"""Pronunciation by a spoken query, on vectors and tokens made for it."""

from itertools import combinations_with_replacement

import numpy as np
import pytest
import torch

from genmend.tts.prosody.residual_vae import fit_codebook
from genmend.tts.prosody.spoken_query import fit_token_classifier, monotonic_alignment, pronounce_as


def cheapest(costs):
    """By trying every path that begins with the first token, ends with the last and skips none."""
    m, q = costs.shape
    paths = [p for p in combinations_with_replacement(range(q), m) if p[0] == 0 and p[-1] == q - 1]
    paths = [p for p in paths if m < q or set(p) == set(range(q))]
    return min(costs[np.arange(m), list(path)].sum() for path in paths)


@pytest.mark.parametrize(("m", "q"), [(5, 3), (4, 4), (6, 1), (3, 5), (2, 2)])
def test_the_alignment_is_the_cheapest_monotonic_one(m, q):
    for seed in range(10):
        costs = np.random.default_rng(seed).normal(size=(m, q))
        path = monotonic_alignment(costs)
        assert (np.diff(path) >= 0).all()
        assert (path[0], path[-1]) == (0, q - 1)
        assert costs[np.arange(m), path].sum() == pytest.approx(cheapest(costs))
        if m >= q:
            assert set(path) == set(range(q))


def test_one_position_takes_its_best_token():
    assert monotonic_alignment(np.array([[3.0, 1.0, 2.0]])).tolist() == [1]


@pytest.mark.parametrize("costs", [np.zeros((0, 3)), np.zeros(4), np.array([[np.nan]])])
def test_costs_that_are_none_are_refused(costs):
    with pytest.raises(ValueError, match="positions by tokens"):
        monotonic_alignment(costs)


@pytest.fixture(scope="module")
def spoken():
    """Vectors in four clusters, one a token; tokens 0, 1, 2 and 5."""
    generator = np.random.default_rng(0)
    kinds = np.array([0, 1, 2, 5])[np.arange(240) % 4]
    centres = 4 * np.eye(8)[:6]
    return (centres[kinds] + 0.3 * generator.normal(size=(240, 8))).astype(np.float32), kinds


def test_the_classifier_knows_what_it_saw(spoken):
    vectors, kinds = spoken
    logs = fit_token_classifier(vectors, kinds)(torch.from_numpy(vectors))
    assert logs.shape == (240, 6)
    assert (logs.argmax(1).numpy() == kinds).mean() > 0.99
    assert logs[:, 3].max() <= -20
    two = fit_token_classifier(vectors[kinds < 2], kinds[kinds < 2])(torch.from_numpy(vectors[kinds < 2]))
    assert (two.argmax(1).numpy() == kinds[kinds < 2]).all()
    torch.testing.assert_close(two.exp().sum(1), torch.ones(len(two)), atol=1e-4, rtol=0)


def test_a_word_takes_the_querys_tokens(spoken):
    vectors, kinds = spoken
    classify = fit_token_classifier(vectors, kinds)
    said = np.concatenate([vectors[kinds == token][:1] for token in (0, 0, 5, 2)])  # and wanted: 0, 0, 1, 2
    query = np.sin(np.arange(4_000) / 9)
    edit = pronounce_as(query, lambda audio: [0] * 7 + [1] * 3 + [2] * 5, classify, said)
    assert edit.query == (0, 1, 2)
    assert edit.assigned.tolist() == [0, 0, 1, 2]
    assert edit.before < -0.8 < -0.1 < edit.after
    heard = classify(torch.from_numpy(edit.vectors)).argmax(1)
    assert heard.tolist() == [0, 0, 1, 2]
    change = np.linalg.norm(edit.vectors - said, axis=1)
    assert change.argmax() == 2
    held = pronounce_as(
        query, lambda audio: [0, 1, 2], classify, said, penalty=fit_codebook(vectors, n_codes=8).penalty(said, 1.0)
    )
    assert np.linalg.norm(held.vectors - said) < np.linalg.norm(edit.vectors - said)


def test_silence_and_foreign_tokens_are_refused(spoken):
    vectors, kinds = spoken
    classify = fit_token_classifier(vectors, kinds)
    with pytest.raises(ValueError, match="query is silent"):
        pronounce_as(np.zeros(100), lambda audio: [0], classify, vectors[:3])
    with pytest.raises(ValueError, match="query is silent"):
        pronounce_as(np.zeros(0), lambda audio: [0], classify, vectors[:3])
    for tokens in ([], [9], [-1]):
        with pytest.raises(ValueError, match="classifier knows 0 to 5"):
            pronounce_as(np.ones(100), lambda audio, tokens=tokens: tokens, classify, vectors[:3])
    with pytest.raises(ValueError, match="at least 2 are needed"):
        fit_token_classifier(vectors, np.zeros(240, int))
