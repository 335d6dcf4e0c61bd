"""Training on labels: what is normal follows them, and AUROC with its interval is that of the textbook."""

import numpy as np
import pytest
from gans_toys import EXTRACTOR, toy_generator
from sklearn.metrics import roc_auc_score

from genmend.gans import load_detector, save_detector, train_detector
from genmend.gans.detection.discrimination import discrimination
from genmend.gans.detection.labelled_samples import LabelledSamples
from genmend.gans.settings import DetectorSettings, TrainSettings

SETTINGS = TrainSettings(detector=DetectorSettings(EXTRACTOR, n_statistics=120, n_reference=160))


@pytest.fixture(scope="module")
def run():
    """Labels that call the darker half of the samples broken, which no score without labels would."""
    generator = toy_generator()
    latents = generator.latents(120, 5)
    light = generator.generate(latents).mean((1, 2, 3)).numpy()
    return train_detector(
        generator, labels=LabelledSamples(latents, (light < np.median(light)).astype(float)), settings=SETTINGS
    )


def test_half_of_the_own_samples_are_normal_where_labels_say_so(run):
    own = toy_generator().latents(160, SETTINGS.detector.seed + 1)
    light = toy_generator().generate(own).mean((1, 2, 3)).numpy()
    normal = run.detector.own_normal_
    assert run.measured.auroc > 0.9
    assert 0.3 < normal.mean() < 0.75
    assert roc_auc_score(normal, light) > 0.9
    np.testing.assert_array_equal(run.detector.manifold_.reference_, run.detector.own_features_[normal])


def test_the_threshold_flags_the_asked_share_of_the_normal_ones(run):
    normal = run.shares == 0
    assert (run.scores[normal] > run.detector.threshold_).mean() == pytest.approx(0.03, abs=1 / normal.sum())


def test_the_file_keeps_what_it_learnt(run, tmp_path):
    save_detector(tmp_path / "d.safetensors", run.detector)
    again = load_detector(tmp_path / "d.safetensors")
    np.testing.assert_array_equal(again.labelled_.shares, run.shares)
    assert again.training_ == run.detector.training_
    assert again.training_["auroc"] == run.measured.auroc
    features, counts = run.detector.own_features_, run.detector.own_counts_
    np.testing.assert_array_equal(
        again.score_measured(features, counts).combined, run.detector.score_measured(features, counts).combined
    )


def test_a_label_that_is_nan_is_refused():
    shares = np.repeat([0.0, 1.0], 10)
    shares[3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        train_detector(
            toy_generator(), labels=LabelledSamples(toy_generator().latents(20, 1), shares), settings=SETTINGS
        )


def test_fewer_labels_than_latents_are_refused():
    with pytest.raises(ValueError, match="20 latents and 19 labels"):
        train_detector(
            toy_generator(),
            labels=LabelledSamples(toy_generator().latents(20, 1), np.repeat([0.0, 1.0], [9, 10])),
            settings=SETTINGS,
        )


def test_auroc_counts_pairs_and_its_interval_covers_what_resamples_give():
    rng = np.random.default_rng(0)
    broken = np.repeat([False, True], [30, 20])
    scores = rng.integers(0, 6, 50) + 2.0 * broken  # with ties
    found = discrimination(scores, broken)
    pairs = scores[broken][:, None] - scores[~broken][None]
    assert found.auroc == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())
    drawn = []
    for _ in range(500):
        rows = np.concatenate([rng.integers(0, 30, 30), 30 + rng.integers(0, 20, 20)])
        drawn.append(roc_auc_score(broken[rows], scores[rows]))
    np.testing.assert_allclose(found.interval, np.quantile(drawn, [0.025, 0.975]), atol=0.03)
