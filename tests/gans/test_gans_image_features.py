"""Images come a few at a time: what is learnt of them is what all at once would say, and no more than 16 are held."""

import numpy as np
import pytest
import torch
from gans_toys import EXTRACTOR, toy_correction, toy_extractor, toy_features, toy_generator

from genmend.gans import ArtifactDetector, Generator, corrected
from genmend.gans.boundaries import homogeneity
from genmend.gans.correctors import LatentOptimisation, ManifoldGuided
from genmend.gans.correctors.second_judge import SecondJudge
from genmend.gans.detection.defect_classifier import DefectClassifier
from genmend.gans.image_features import image_batches, image_features
from genmend.manifold.features import extract


@pytest.fixture
def most_held(monkeypatch):
    """The largest numbers of latents that one call of `Generator.generate` was asked for."""
    asked = []
    generate = Generator.generate
    monkeypatch.setattr(Generator, "generate", lambda self, z, **kw: asked.append(len(z)) or generate(self, z, **kw))
    return asked


@pytest.mark.parametrize("batch_size", [1, 5, 16, 40])
def test_groups_of_16_whatever_the_batches_and_the_same_bits(batch_size):
    generator = toy_generator(batch_size=batch_size)
    latents = generator.latents(37, 1)
    groups = list(image_batches(generator, latents))
    assert [len(images) for images in groups] == [16, 16, 5]
    assert torch.equal(torch.cat(groups), generator.generate(latents))
    wanted = extract(toy_features, generator.generate(latents))
    assert np.array_equal(image_features(generator, latents, toy_features), wanted)


def test_the_detector_holds_a_batch_and_keeps_every_bit(most_held):
    generator = toy_generator(batch_size=8)
    detector = ArtifactDetector(EXTRACTOR, n_statistics=40, n_reference=60).fit(generator)
    assert max(most_held) <= 8
    own = generator.generate(generator.latents(60, detector.seed + 1))
    assert np.array_equal(detector.own_features_, extract(toy_features, own))


def test_one_pass_gives_features_and_counts(monkeypatch):
    generator = toy_generator(batch_size=8)
    detector = ArtifactDetector(EXTRACTOR, n_statistics=40, n_reference=60).fit(generator)
    latents = generator.latents(37, 1)
    wanted = detector.rare_.standardised_counts(generator, latents)
    run, passes = Generator.run, []
    monkeypatch.setattr(Generator, "run", lambda self, z: passes.append(len(z)) or run(self, z))
    features, counts = detector.measure(generator, latents)
    assert sum(passes) == 37
    assert np.array_equal(counts, wanted)
    assert np.array_equal(features, extract(toy_features, generator.generate(latents)))


@pytest.mark.parametrize(
    "corrector", [ManifoldGuided([toy_extractor()], n_steps=1), LatentOptimisation(toy_extractor())]
)
def test_what_learns_from_normal_samples_holds_a_batch(most_held, corrector):
    generator = toy_generator(batch_size=8)
    corrector.fit(generator, generator.latents(60, 1), generator.latents(20, 2) * 2)
    assert max(most_held) <= 8


def test_the_judge_holds_a_batch(most_held, monkeypatch):
    monkeypatch.setattr("genmend.gans.correctors.second_judge.N_OWN", 120)
    generator = toy_generator(batch_size=8)
    mend = corrected(generator, toy_correction(generator))
    judge = SecondJudge(mend, "gans_toys:other_extractor", seed=3, facts={})
    most_held.clear()
    features = judge._normal()
    assert max(most_held) <= 8
    images = generator.sample(120, 5)
    passing = torch.from_numpy(mend.passes_gate(images))
    assert 50 < len(features) < 120
    np.testing.assert_allclose(features, judge.features(images[passing]), atol=1e-6)


def test_a_classifier_of_samples_is_that_of_their_images(most_held):
    generator = toy_generator(batch_size=8)

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 4, 3, stride=4)

        def forward(self, images):
            return self.conv(images).flatten(1)

    latents, shares = generator.latents(40, 1), torch.arange(40) % 2
    network = Network()
    found = DefectClassifier(network).fit_samples(generator, latents, shares)
    assert max(most_held) <= 8
    wanted = DefectClassifier(network).fit(generator.generate(latents), shares)
    images = generator.sample(5, 9)
    assert torch.equal(found.module_(images), wanted.module_(images))
    assert found.feature_layer_ == wanted.feature_layer_


def test_likeness_is_that_of_all_images_at_once(most_held):
    generator = toy_generator(batch_size=8)
    latents = generator.latents(40, 1)
    found = homogeneity(generator, latents, toy_features)
    assert max(most_held) <= 8
    images = generator.generate(latents)
    assert found.pixel_variance == pytest.approx(float(images.double().var(0).mean()), rel=1e-12)
    features = torch.from_numpy(extract(toy_features, images)).double()
    assert found.feature_distance == pytest.approx(float(torch.pdist(features).mean()), rel=1e-12)
