"""The tail: how many samples are broken beyond chance, on scores whose broken share is known."""

import numpy as np
import pytest
from gans_toys import toy_generator
from sklearn.metrics import roc_auc_score

from genmend.activations import record
from genmend.gans.detection import learned_score
from genmend.gans.detection.evidence import threshold_table
from genmend.gans.detection.learned_score import early_activity, fit_learned_score, suspicion
from genmend.gans.detection.tail import tail_of
from genmend.gans.generator import early_layers


def mixed(broken_share, n=2_000, seed=0):
    """Scores of normal samples, N(0, 1), and of a share of broken ones, N(4, 1.5); and which are broken."""
    rng = np.random.default_rng(seed)
    broken = rng.random(n) < broken_share
    return np.where(broken, rng.normal(4, 1.5, n), rng.normal(0, 1, n)), broken


@pytest.mark.parametrize("share", [0.05, 0.15, 0.3])
def test_the_share_of_broken_samples_is_found_and_flagged(share):
    scores, broken = mixed(share)
    tail = tail_of(scores)
    assert tail.broken_share == pytest.approx(share, abs=0.1)
    assert tail.is_heavier
    flagged = scores > tail.threshold(scores)
    assert flagged[broken].mean() > 0.55  # of 5 % broken samples the exact densities find 0.62
    assert flagged[~broken].mean() < 0.03
    assert tail.normal_above(tail.threshold(scores)) == pytest.approx((flagged & ~broken).mean(), abs=0.01)


@pytest.mark.parametrize("seed", range(4))
def test_without_broken_samples_next_to_none_is_flagged(seed):
    scores, _ = mixed(0.0, seed=seed)
    tail = tail_of(scores)
    assert not tail.is_heavier
    assert not (scores > tail.threshold(scores)).any()
    assert not (scores > tail.default_threshold(scores)).any()


def test_where_broken_samples_hide_in_a_wide_null_as_many_are_flagged_as_there_may_be_up_to_a_fifth():
    rng = np.random.default_rng(0)
    broken = rng.random(2_000) < 0.25
    scores = np.where(broken, rng.normal(2, 1.5, 2_000), rng.normal(0, 1, 2_000))
    tail = tail_of(scores)
    alone, flagged = scores > tail.threshold(scores), scores > tail.default_threshold(scores)
    assert flagged.mean() == pytest.approx(min(0.2, tail.broken_share_interval[1]), abs=0.001)
    assert flagged[broken].mean() > alone[broken].mean() + 0.1
    assert flagged[~broken].mean() < 0.07


def test_a_few_hundred_samples_are_enough():
    """The counts of the README's own example."""
    for seed in range(5):
        assert tail_of(mixed(0.2, n=300, seed=seed)[0]).is_heavier
        assert not tail_of(mixed(0.0, n=300, seed=seed)[0]).is_heavier


def test_a_tail_below_is_no_sign_of_broken_samples():
    """Direction: higher is more broken, so a heavy lower tail flags nothing."""
    scores, _ = mixed(0.2)
    tail = tail_of(-scores)
    assert not (-scores > tail.threshold(-scores)).any()


def test_a_stricter_false_share_flags_fewer():
    scores, _ = mixed(0.2)
    tail = tail_of(scores)
    thresholds = [tail.threshold(scores, false_share) for false_share in (0.5, 0.2, 0.05)]
    assert thresholds == sorted(thresholds)
    assert len(set(thresholds)) == 3


@pytest.mark.parametrize("scores", [np.zeros(100), np.array([0.0, 1.0, 5.0])])
def test_scores_without_a_shape_flag_nothing(scores):
    tail = tail_of(scores)
    assert not tail.is_heavier
    assert not (scores > tail.threshold(scores)).any()


def test_the_learned_score_is_better_than_what_taught_it():
    """Two noisy parts, and features of which one direction tells the broken ones."""
    rng = np.random.default_rng(0)
    broken = rng.random(800) < 0.2
    features = rng.normal(size=(800, 20))
    features[:, 3] += 5 * broken
    parts = [broken + rng.normal(size=800) for _ in range(2)]
    score, own, auroc = fit_learned_score(features, suspicion(*parts))

    def found(values):
        return (values[broken][:, None] > values[~broken]).mean()

    assert found(own) > found(suspicion(*parts))
    assert found(score(features)) > 0.97
    assert 0.7 < auroc < 1


def test_a_part_that_says_nothing_is_left_out_of_the_suspicion():
    part = np.arange(10.0)
    np.testing.assert_array_equal(suspicion(part, np.ones(10)), suspicion(part))
    assert fit_learned_score(np.zeros((10, 2)), suspicion(np.ones(10))) is None


def test_the_table_of_thresholds_has_each_once_and_says_which_is_in_use():
    scores, _ = mixed(0.15)
    known = {"default": 1.0, "top 5 %": 3.0, "wide": 1.0, "widest": 0.5}
    rows = threshold_table(known, tail_of(scores), scores, used=1.0)
    assert [row["name"] for row in rows] == ["top 5 %", "default", "widest"]  # the highest first
    assert [row["in_use"] for row in rows] == [False, True, False]
    assert rows[0]["more"] < 0 < rows[2]["more"]
    rows = threshold_table(known, tail_of(scores), scores, used=2.0)
    assert [(row["name"], row["in_use"]) for row in rows][1] == ("in use", True)


def test_neurons_teach_the_image_score_better_than_the_noisy_parts_do():
    """Both views tell the broken ones apart; the parts that suspect agree with the image's noise, which misleads it."""
    rng = np.random.default_rng(1)
    broken = rng.random(1_000) < 0.2
    neurons, features = rng.normal(size=(2, 1_000, 20))
    neurons[:, 0] += 4 * broken
    features[:, 0] += 4 * broken
    rare = broken + rng.normal(size=1_000)
    distance = broken + 2 * features[:, 1]
    _, of_neurons, _ = fit_learned_score(neurons, suspicion(rare, distance))
    _, taught, _ = fit_learned_score(features, suspicion(rare, of_neurons))
    _, alone, _ = fit_learned_score(features, suspicion(rare, distance))
    assert roc_auc_score(broken, taught) > roc_auc_score(broken, alone) + 0.05


def test_early_activity_is_the_positive_part_of_as_many_neurons_of_each_early_layer(monkeypatch):
    generator = toy_generator()
    latents = generator.latents(5, 3)
    layers = early_layers(generator.layers)
    with record(generator.module, layers) as outputs:
        generator.run(latents)
    whole = [outputs[layer].flatten(1).clamp(min=0).numpy() for layer in layers]
    np.testing.assert_allclose(early_activity(generator, latents), np.concatenate(whole, axis=1), rtol=1e-6)
    monkeypatch.setattr(learned_score, "_MOST_NEURONS", 4 * len(layers))
    few = early_activity(generator, latents)
    assert few.shape == (5, 4 * len(layers))
    np.testing.assert_allclose(few[:, [0, 3]], whole[0][:, [0, -1]], rtol=1e-6)  # from the first to the last
