"""Normal by majority: doubted where most samples are blurred, nowhere else; then images say what is normal."""

import warnings

import numpy as np
import pytest
import torch
from gans_toys import EXTRACTOR, toy_generator
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from torch import nn

from genmend.gans import ArtifactDetector, Generator, correct, detect, load_detector, save_detector
from genmend.gans.detection.majority_trust import blurred, check_majority, detail_of, majority_trust
from genmend.gans.detection.normal_images import fitted_image, normal_features
from genmend.gans.settings import DetectorSettings
from genmend.manifold.features import load_extractor

SETTINGS = DetectorSettings("test_gans_majority_trust:extractor", n_statistics=200, n_reference=240)


def features(images):
    """Colours, and how strong the finest pattern is in eight places."""
    fine = images - nn.functional.interpolate(nn.functional.avg_pool2d(images, 2), scale_factor=2)
    strength = nn.functional.avg_pool2d(fine.abs(), 8).mean(1).flatten(1)
    return torch.cat([nn.functional.adaptive_avg_pool2d(images, 2).flatten(1), 10 * strength], dim=1)


def extractor():
    return features


class Half(nn.Module):
    """Soft colours everywhere; fine stripes of which a few samples have much, or all the same where `plain`."""

    def __init__(self, plain=False):
        super().__init__()
        self.plain = plain
        self.act, self.soft = nn.ReLU(), nn.Upsample(scale_factor=8, mode="bilinear")
        draw = torch.Generator().manual_seed(1)
        self.colours = torch.randn(4, 3, generator=draw)
        self.places = torch.randn(4, 4, 4, generator=draw)
        self.stripes = (torch.arange(32) % 2 * 2.0 - 1).repeat(32, 1)
        self.rare = torch.randn(12, 3, generator=draw)

    def forward(self, latents):
        base = self.soft(latents[:, :4, None, None] * self.places)
        image = torch.einsum("nchw,cd->ndhw", base, self.colours) * 0.3
        strength = self.act(latents[:, 4:, None, None] - 1.3)  # 12 neurons, each active in a tenth of the samples
        fine = 0.2 if self.plain else 0.2 * strength.sum(1, keepdim=True)
        odd = torch.einsum("nchw,cd->ndhw", strength, self.rare) if self.plain else 0
        return (image + fine * self.stripes + odd).tanh()


def half(plain=False):
    return Generator(Half(plain).eval(), (16,), layers=("act",), name="half")


@pytest.fixture(scope="module")
def detector():
    return ArtifactDetector(SETTINGS.extractor, n_statistics=200, n_reference=240).fit(half())


def stripes_of(latents):
    return (latents[:, 4:] - 1.3).clamp(min=0).sum(1).numpy()


def test_a_majority_of_blurred_samples_is_doubted(detector):
    found = check_majority(half(), detector)
    assert found.doubted
    assert found.sharper > 0.8
    assert found.correlation > 0.4


@pytest.mark.parametrize("generator", [half(plain=True), toy_generator(0), toy_generator(1)])
def test_other_generators_are_not(generator):
    """Also untrained ones whose contrast grows with the distance from the prior's centre, and so their score."""
    extractor = SETTINGS.extractor if generator.name == "half" else EXTRACTOR
    fitted = ArtifactDetector(extractor, n_statistics=200, n_reference=240).fit(generator)
    assert not check_majority(generator, fitted).doubted


def test_sharp_noise_in_a_few_broken_samples_is_no_reason():
    """The broken ones are sharper, but sharpness does not rank the others."""
    rng = np.random.default_rng(0)
    scores, detail = rng.normal(size=300), rng.normal(size=300)
    scores[:30] += 5
    detail[:30] += 5
    found = majority_trust(scores, detail, rng.normal(size=300))
    assert found.sharper > 0.95
    assert not found.doubted


def test_by_chance_it_never_fires():
    """Sharpness drawn anew for the same scores, 500 times: the second limit is 5.4 standard deviations away."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=300)
    drawn = [majority_trust(scores, rng.permutation(scores), rng.normal(size=300)) for _ in range(500)]
    assert not any(one.doubted for one in drawn)
    assert max(one.correlation for one in drawn) < 0.25


def test_constant_scores_and_images_say_nothing():
    up, flat = np.arange(300.0), np.zeros(300)
    for scores, detail, contrast in ((flat, up, flat), (up, flat, flat), (up, up, up)):
        assert not majority_trust(scores, detail, contrast).doubted
    assert majority_trust(up, up, flat).doubted


def test_the_correlation_is_the_partial_one_of_ranks():
    rng = np.random.default_rng(0)
    contrast = rng.normal(size=300)
    scores, detail = contrast + 0.5 * rng.normal(size=300), contrast + 0.5 * rng.normal(size=300)
    low = scores <= np.quantile(scores, 0.8)
    ab, ac, bc = (
        spearmanr(one[low], other[low]).statistic
        for one, other in ((scores, detail), (scores, contrast), (detail, contrast))
    )
    expected = (ab - ac * bc) / np.sqrt((1 - ac**2) * (1 - bc**2))
    found = majority_trust(scores, detail, contrast)
    assert ab > 0.5
    assert found.correlation == pytest.approx(expected)
    assert not found.doubted


def test_detail_is_what_averaging_two_by_two_takes_away():
    """By hand; and neither contrast nor brightness counts."""
    image = torch.rand(1, 3, 8, 6, generator=torch.Generator().manual_seed(0))
    grey = image.double().mean(1)[0].numpy()
    coarse = np.repeat(np.repeat(grey.reshape(4, 2, 3, 2).mean((1, 3)), 2, 0), 2, 1)
    expected = np.log(((grey - coarse).std() + 1 / 512) / (grey.std() + 1 / 512))
    assert detail_of(image)[0] == pytest.approx(expected)
    soft = nn.functional.interpolate(image, scale_factor=8, mode="bilinear")
    assert detail_of(soft)[0] < detail_of(image)[0] - 1
    assert detail_of(image * 0.5 + 0.2)[0] == pytest.approx(expected, abs=0.01)
    large = nn.functional.interpolate(image, scale_factor=64)  # 512 x 384: seen at a third
    assert detail_of(large).shape == (1,)


def test_a_correction_that_blurs_is_noticed():
    assert blurred(np.array([[0.0, -1.0], [0.0, -0.5], [0.0, 0.1]])) == {"share": pytest.approx(2 / 3), "doubted": True}
    assert blurred(np.array([[0.0, 0.2]])) == {"share": 0.0, "doubted": False}
    assert not blurred(np.zeros((0, 2)))["doubted"]


def test_detect_and_correct_warn_and_keep_it():
    latents = half().latents(40, 3)
    with pytest.warns(UserWarning, match="--normal FOLDER"):
        run = detect(half(), latents, settings=SETTINGS)
    assert run.to_dict()["majority"]["doubted"]
    with pytest.warns(UserWarning, match="can't be trusted"):
        mended = correct(half(), latents, settings=SETTINGS)
    assert mended.to_dict()["majority"] == run.to_dict()["majority"]


def test_normal_images_turn_the_ranking_the_right_way(tmp_path):
    """Sharp images are given, of other latents; the blurred majority is then what is flagged."""
    generator = half()
    drawn = generator.latents(400, 77)
    sharp = generator.generate(drawn[torch.from_numpy(stripes_of(drawn) > 0.9)])
    latents = generator.latents(120, 3)
    blurry = stripes_of(latents) < 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = detect(generator, latents, normal=sharp, settings=SETTINGS)
        mended = correct(generator, latents, normal=sharp, settings=SETTINGS)
    with pytest.warns(UserWarning, match="can't be trusted"):
        before = detect(generator, latents, settings=SETTINGS).detection.combined
    assert roc_auc_score(blurry, before) < 0.4
    assert roc_auc_score(blurry, run.detection.combined) > 0.9
    assert run.to_dict()["majority"] is None
    assert run.detection.flagged[blurry].mean() > 0.8
    # The stop rule asks for what looks like the images that were given.
    known = normal_features(sharp, generator, SETTINGS.extractor)
    np.testing.assert_allclose(mended.correction.stop_rule.features.float().numpy(), known, rtol=1e-2, atol=1e-3)
    assert mended.to_dict()["majority"] is None
    save_detector(tmp_path / "d.safetensors", run.detector)
    again = detect(generator, latents, detector=tmp_path / "d.safetensors")
    np.testing.assert_array_equal(again.detection.combined, run.detection.combined)
    assert load_detector(tmp_path / "d.safetensors").beyond_normal_ == run.detector.beyond_normal_


def test_rare_activation_that_disagrees_with_the_normal_images_has_no_weight():
    generator = half()
    drawn = generator.latents(400, 77)
    sharp = normal_features(
        generator.generate(drawn[torch.from_numpy(stripes_of(drawn) > 0.9)]), generator, SETTINGS.extractor
    )
    fitted = ArtifactDetector(SETTINGS.extractor, n_statistics=200, n_reference=240).fit(generator)
    fitted.learn_normal(sharp)
    assert fitted.rare_weight_ == 0


def test_images_of_another_kind_flag_half_and_not_all():
    other = toy_generator().sample(60, 1)
    run = detect(half(), half().latents(100, 3), normal=other, settings=SETTINGS)
    assert run.detector.beyond_normal_ > 0.8
    assert 0.2 < run.detection.flagged.mean() < 0.8


def test_normal_images_are_brought_to_the_generators_size():
    wide = torch.rand(3, 40, 100)
    assert fitted_image(wide, 16, 16).shape == (1, 3, 16, 16)
    # Of a picture in three parts the middle is kept.
    parts = torch.zeros(3, 10, 30)
    parts[:, :, 10:20] = 1
    assert fitted_image(parts, 10, 10).mean() > 0.95
    grey = fitted_image(wide, 16, 16, grey=True)
    assert torch.equal(grey[:, 0], grey[:, 2])
    square = torch.rand(3, 32, 32)
    np.testing.assert_allclose(fitted_image(square, 32, 32)[0], square, atol=1e-6)


@pytest.mark.parametrize(
    ("normal", "words"),
    [(torch.rand(5, 3, 8, 8), "holds 5 images"), (torch.full((30, 3, 8, 8), np.nan), "values are NaN in places")],
)
def test_normal_images_that_can_not_be_used_are_refused(normal, words):
    with pytest.raises(ValueError, match=words):
        normal_features(normal, half(), load_extractor(SETTINGS.extractor))


def test_a_detector_and_normal_images_are_one_too_many(detector):
    images = torch.rand(30, 3, 32, 32)
    with pytest.raises(ValueError, match="leave out"):
        detect(half(), half().latents(4, 1), detector=detector, normal=images)
    with pytest.raises(ValueError, match="leave out normal images"):
        correct(half(), half().latents(4, 1), detector=detector, normal=images)
