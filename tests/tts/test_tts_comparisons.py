"""Paired bootstrap and Fréchet distance of speech, against closed forms."""

import numpy as np
import pytest
import torch

from genmend.manifold.features.audio_extractor import AudioExtractor
from genmend.tts.measures.paired_bootstrap import paired_bootstrap
from genmend.tts.measures.speech_distance import frechet_speech_distance


def test_differences_and_counts_are_of_the_pairs():
    found = paired_bootstrap([0.5, 0.2, 0.1, 0.4], [0.3, 0.3, 0.1, 0.1])
    assert found.difference == pytest.approx(-0.1)
    assert (found.before, found.after) == (pytest.approx(0.3), pytest.approx(0.2))
    assert (found.better, found.worse, found.same, found.n) == (2, 1, 1, 4)
    assert found.low <= found.difference <= found.high
    assert found.to_dict()["n"] == 4


def test_higher_can_be_better():
    found = paired_bootstrap([3, 3, 3], [4, 2, 5], lower_is_better=False)
    assert (found.better, found.worse) == (2, 1)


def test_weights_make_it_the_difference_of_the_rates_over_all_phonemes():
    errors_before, errors_after, lengths = np.array([5, 1, 0]), np.array([2, 1, 1]), np.array([50, 10, 5])
    found = paired_bootstrap(errors_before / lengths, errors_after / lengths, weights=lengths)
    assert found.difference == pytest.approx(errors_after.sum() / 65 - errors_before.sum() / 65)
    assert found.difference != pytest.approx(
        paired_bootstrap(errors_before / lengths, errors_after / lengths).difference
    )


def test_the_interval_is_as_wide_as_theory_says():
    change = np.random.default_rng(0).normal(0.3, 1.0, 400)
    found = paired_bootstrap(np.zeros(400), change)
    half = 1.96 * change.std() / 20
    assert found.low == pytest.approx(change.mean() - half, abs=0.01)
    assert found.high == pytest.approx(change.mean() + half, abs=0.01)


def test_pairing_takes_out_what_both_share():
    shared = np.random.default_rng(1).normal(0, 10, 100)
    found = paired_bootstrap(shared, shared + 0.5)
    assert (found.low, found.high) == (pytest.approx(0.5), pytest.approx(0.5))
    assert found.worse == 100


def test_the_same_seed_gives_the_same_interval():
    before, after = np.random.default_rng(2).random((2, 30))
    assert paired_bootstrap(before, after) == paired_bootstrap(before, after)
    assert paired_bootstrap(before, after).low != paired_bootstrap(before, after, seed=1).low


@pytest.mark.parametrize(
    ("before", "after", "options", "message"),
    [
        ([1.0], [1.0], {}, "at least 2"),
        ([1.0, 2.0], [1.0], {}, "2 values before, 1 after"),
        ([1.0, np.nan], [1.0, 2.0], {}, "before has"),
        ([1.0, 2.0], [1.0, 2.0], {"weights": [1.0, 0.0]}, "above 0"),
        ([1.0, 2.0], [1.0, 2.0], {"weights": [1.0]}, "1 weights"),
    ],
)
def test_bad_pairs_are_refused(before, after, options, message):
    with pytest.raises(ValueError, match=message):
        paired_bootstrap(before, after, **options)


@pytest.fixture
def embedding(monkeypatch):
    """An embedding whose features are known: mean and standard deviation of the samples."""
    extractor = AudioExtractor("toy", 16_000, lambda wave: np.array([wave.mean(), wave.std()], np.float32), {})
    monkeypatch.setattr("genmend.manifold.features.load_extractor", lambda name: extractor)


def waves(means, levels):
    return [mean + level * np.tile([1.0, -1.0], 200) for mean, level in zip(means, levels, strict=True)]


def closed_form(x, y):
    """Fréchet distance of two one-dimensional normal distributions."""
    return (x.mean() - y.mean()) ** 2 + (x.std(ddof=1) - y.std(ddof=1)) ** 2


def test_the_distance_is_that_of_the_embedding_s_normal_distributions(embedding):
    pytest.importorskip("torch_fidelity")
    draw = np.random.default_rng(0)
    x, y = draw.normal(0, 0.1, 50), draw.normal(0.2, 0.2, 40)
    found = frechet_speech_distance(waves(x, [0.3] * 50), waves(y, [0.3] * 40), 16_000, embedding="toy")
    assert found.name == "frechet_toy"
    assert found.distance == pytest.approx(closed_form(x, y), rel=1e-3)
    assert (found.n_reference, found.n_generated, found.n_features) == (50, 40, 2)


def test_principal_components_are_the_reference_s_and_in_the_name(embedding):
    pytest.importorskip("torch_fidelity")
    draw = np.random.default_rng(0)
    x, y = draw.normal(0, 0.1, 50), draw.normal(0.2, 0.1, 40)
    levels = 0.5 + 0.01 * draw.normal(size=40)  # a direction that the reference has little of
    found = frechet_speech_distance(waves(x, [0.3] * 50), waves(y, levels), 16_000, embedding="toy", components=1)
    assert found.name == "frechet_toy_pca1"
    assert found.n_features == 1
    assert found.distance == pytest.approx(closed_form(x, y), rel=0.02)


def test_a_wav2vec_2_of_ones_own_is_an_embedding(tmp_path):
    pytest.importorskip("torch_fidelity")
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    wave = {"conv_dim": (8, 8), "conv_kernel": (10, 8), "conv_stride": (5, 4), "num_feat_extract_layers": 2}
    positions = {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
    torch.manual_seed(0)
    folder = tmp_path / "own-wav2vec2"
    transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**sizes, **wave, **positions)).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(folder)
    draw = np.random.default_rng(0)
    low, high = (
        [0.2 * np.sin(np.arange(4000) * step * draw.uniform(0.9, 1.1)) for _ in range(6)] for step in (0.05, 1)
    )
    found = frechet_speech_distance(low, high, 16_000, embedding=f"transformers:{folder}")
    assert found.name == "frechet_transformers:own-wav2vec2"
    assert found.n_features == 12
    same = frechet_speech_distance(low, low, 16_000, embedding=f"transformers:{folder}")
    assert same.distance == pytest.approx(0, abs=1e-3)
    assert found.distance > 10 * max(same.distance, 1e-6)


def test_too_many_components_are_refused(embedding):
    with pytest.raises(ValueError, match="components is 3, and 1 to 2"):
        frechet_speech_distance(waves([0, 1], [1, 1]), waves([0, 1], [1, 1]), 16_000, components=3)


@pytest.mark.real("whisper-tiny")
def test_the_embedded_embedding_is_the_default():
    pytest.importorskip("faster_whisper")
    pytest.importorskip("torch_fidelity")
    draw, time = np.random.default_rng(0), np.arange(8000) / 16_000
    tones = [0.2 * np.sin(2 * np.pi * pitch * time) for pitch in (200, 250)]
    hiss = [0.2 * draw.normal(size=8000) for _ in range(2)]
    found = frechet_speech_distance(tones, hiss, 16_000)
    assert found.name == "frechet_whisper-tiny"
    assert found.n_features == 384
    assert found.distance > 100  # two pairs of tones: 74
