"""Edits by gradient through a predictor: linear, convolutional, and FastSpeech2's own."""

import numpy as np
import pytest
import torch

from genmend.tts.prosody.predictor_edits import edit_through

N, D = 9, 5


@pytest.fixture
def vectors():
    return np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)


@pytest.fixture
def where():
    return np.arange(N) % 4 == 1


def test_the_wish_is_met_and_other_vectors_stay(vectors, where):
    weights = torch.linspace(-1, 1, D)
    edit = edit_through(lambda given: given @ weights, vectors, where, 3.0)
    assert abs(edit.predicted - 3) <= 1e-3
    assert (vectors @ weights.numpy())[where].mean() < 2
    np.testing.assert_array_equal(edit.vectors[~where], vectors[~where])
    assert edit.moved == 0
    change = (edit.vectors - vectors)[where]
    share = np.linalg.norm(change, axis=1) / np.linalg.norm(vectors[where], axis=1)
    assert edit.relative_length == pytest.approx(share.mean(), rel=1e-4)
    assert 0 < edit.n_steps < 200


def test_nothing_is_done_where_the_wish_is_met_already(vectors, where):
    edit = edit_through(lambda given: given[:, 0], vectors, where, float(vectors[where, 0].mean()))
    assert edit.n_steps == 0
    np.testing.assert_array_equal(edit.vectors, vectors)


def test_values_of_the_others_are_kept_where_they_can_be(vectors, where):
    torch.manual_seed(0)
    convolution = torch.nn.Conv1d(D, 1, 3, padding=1).requires_grad_(False)

    def predictor(given):
        return convolution(given.T[None])[0, 0]

    loose, kept = (edit_through(predictor, vectors, where, 2.0, keep=keep, n_steps=400) for keep in (0.0, 30.0))
    assert abs(loose.predicted - 2) < 0.01
    assert abs(kept.predicted - 2) < 0.05
    assert kept.moved < 0.5 * loose.moved


def test_a_penalty_holds_the_vectors_back(vectors, where):
    weights = torch.ones(D)
    original = torch.from_numpy(vectors[where])
    edit = edit_through(
        lambda given: given @ weights, vectors, where, 5.0, penalty=lambda given: 10 * (given - original).square().sum()
    )
    free = edit_through(lambda given: given @ weights, vectors, where, 5.0)
    assert edit.relative_length < 0.5 * free.relative_length


def test_fastspeech2_pitch_predictor_is_such_a_predictor():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.FastSpeech2ConformerConfig(
        hidden_size=12,
        vocab_size=9,
        encoder_layers=1,
        decoder_layers=1,
        encoder_num_attention_heads=2,
        decoder_num_attention_heads=2,
        encoder_linear_units=8,
        decoder_linear_units=8,
        pitch_predictor_layers=2,
        pitch_predictor_channels=8,
        num_mel_bins=6,
    )
    model = transformers.FastSpeech2ConformerModel(config).eval().requires_grad_(False)

    def pitch(given):
        return model.pitch_predictor(given[None], torch.zeros(1, len(given), 1, dtype=torch.bool))[0, :, 0]

    vectors = np.random.default_rng(0).normal(size=(7, 12)).astype(np.float32)
    where = np.arange(7) == 3
    before = float(pitch(torch.from_numpy(vectors))[3])
    edit = edit_through(pitch, vectors, where, before + 0.2)
    assert float(pitch(torch.from_numpy(edit.vectors))[3]) == pytest.approx(before + 0.2, abs=2e-3)


@pytest.mark.parametrize(
    ("where", "wanted"), [(np.zeros(N, bool), 1.0), (np.ones(N + 1, bool), 1.0), (np.ones(N, bool), np.nan)]
)
def test_nothing_chosen_and_nothing_finite_wanted_are_refused(vectors, where, wanted):
    with pytest.raises(ValueError, match="choose at least one of the 9 tokens"):
        edit_through(lambda given: given[:, 0], vectors, where, wanted)
