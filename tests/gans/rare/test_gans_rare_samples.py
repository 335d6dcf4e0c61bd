"""Rare versions of references: every constraint checked anew by loops, the loss by hand, feasible or nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gans_toys import EXTRACTOR, snapshot, toy_features, toy_generator
from scipy.stats import chi2

from genmend.gans import ArtifactDetector, Generator
from genmend.gans.families import LAYOUTS
from genmend.gans.families.stylegan2_adapter import stylegan2_generator
from genmend.gans.image_features import image_features
from genmend.gans.latent_prior import latent_prior
from genmend.gans.rare import GaussianMixtureDensity, RareSamples, RareSpace, label_free_artifact_score, rare_samples
from genmend.gans.rare.objective import rare_loss
from genmend.gans.settings import RareObjective, RareSearch
from genmend.manifold import Manifold

SEARCH = RareSearch(n_versions=3, n_steps=25, k_reference=50)


@pytest.fixture(scope="module")
def generator():
    return toy_generator()


@pytest.fixture(scope="module")
def space(generator):
    detector = ArtifactDetector(EXTRACTOR, rate=0.1, flagged_share=0.05, n_statistics=200, n_reference=500, seed=5).fit(
        generator
    )
    density = GaussianMixtureDensity((1, 2), max_dims=12).fit(detector.own_features_[detector.own_normal_])
    score, limit = label_free_artifact_score(detector)
    return RareSpace.from_detector(detector, density, artifact_score=score, max_artifact_score=limit)


@pytest.fixture(scope="module")
def samples(generator, space):
    return rare_samples(generator, generator.latents(5, 9), space, SEARCH, seed=1)


def test_what_is_found_keeps_every_constraint(generator, space, samples):
    rows = np.flatnonzero(samples.found)
    assert len(rows) >= 8
    references = toy_features(generator.generate(samples.reference_latents)).double().numpy()
    features = toy_features(generator.generate(samples.latents[rows])).double().numpy()
    centres, radii = space.manifold.reference_.astype(float), space.manifold.radii_
    for row, x in zip(rows, features, strict=True):
        anchor = references[row // 3]
        distances = np.linalg.norm(centres - x, axis=1)
        assert (distances <= radii).any()
        assert samples.rarity[row] == radii[distances <= radii].min()
        limit = np.sort(np.linalg.norm(space.generated - anchor, axis=1))[49]
        assert samples.distance_limit[row // 3] == pytest.approx(limit, rel=1e-5)
        assert np.linalg.norm(x - anchor) <= limit
        assert space.artifact_score(x[None])[0] <= space.max_artifact_score
        assert (samples.latents[row].astype(float) ** 2).sum() <= chi2.ppf(0.99, 16)
    assert samples.inside[rows].all()


def test_versions_are_rarer_than_their_references(samples):
    before = samples.reference_log_prob[samples.reference]
    assert samples.log_prob[samples.found].mean() < before[samples.found].mean() - 0.1
    assert np.nanmean(samples.rarity_percentile) > np.nanmean(samples.reference_rarity_percentile) + 0.1


def test_nothing_is_returned_where_nothing_is_feasible(generator, space):
    strict = replace(space, max_artifact_score=-1e9)
    none = rare_samples(generator, generator.latents(2, 9), strict, SEARCH)
    assert not none.found.any()
    assert np.isnan(none.latents).all()
    assert np.isnan(none.rarity).all()
    assert not none.inside.any()
    assert none.to_dict()["n_given_up"] == 6
    assert none.to_dict()["rarity_percentile_mean"] is None


def test_the_same_seed_gives_the_same_and_the_pieces_the_whole(generator, space, samples):
    latents = generator.latents(5, 9)
    again = rare_samples(generator, latents, space, SEARCH, seed=1)
    np.testing.assert_array_equal(again.latents, samples.latents)
    parts = [
        rare_samples(generator, latents[rows], space, SEARCH, seed=1, start=rows.start)
        for rows in (slice(0, 2), slice(2, 5))
    ]
    joined = RareSamples.join(parts)
    np.testing.assert_array_equal(joined.found, samples.found)
    np.testing.assert_allclose(joined.latents, samples.latents, atol=1e-3)


def test_the_generator_is_left_as_it_was(space):
    generator = toy_generator()
    before = snapshot(generator.module)
    generator.module.requires_grad_(True)
    rare_samples(generator, generator.latents(1, 2), space, RareSearch(n_versions=2, n_steps=2, k_reference=20))
    assert all(parameter.requires_grad for parameter in generator.module.parameters())
    assert all(parameter.grad is None for parameter in generator.module.parameters())
    assert snapshot(generator.module.requires_grad_(False)) == before


@pytest.mark.parametrize("all_pairs", [False, True])
def test_the_loss_is_the_papers_sum(all_pairs):
    draw = torch.Generator().manual_seed(0)
    log_prob, distance = torch.randn(2, 3, generator=draw), 2 * torch.rand(2, 3, generator=draw)
    between = torch.rand(2, 3, 3, generator=draw)
    between = (between + between.mT) * (1 - torch.eye(3))
    latents, limit, below = torch.randn(2, 3, 4, generator=draw), torch.ones(2, 3), torch.full((2, 3), -1.0)
    objective = RareObjective(similarity=30, diversity=0.5, prior=0, all_pairs=all_pairs)
    found = rare_loss(objective, log_prob, distance, limit, between, latents, below, below)
    for r in range(2):
        pairs = sum(float(between[r, i, j]) ** 2 for i in range(3) for j in range(i + 1, 3))
        for i in range(3):
            own = sum(float(between[r, i, j]) ** 2 for j in range(3) if j != i)
            wanted = float(log_prob[r, i]) + 30 * max(float(distance[r, i]) - 1, 0) ** 2
            wanted -= 0.5 * (pairs if all_pairs else own)
            assert float(found[r, i]) == pytest.approx(wanted, rel=1e-5)


def test_bad_settings_say_what_is_accepted(generator, space):
    with pytest.raises(ValueError, match="similarity is -1"):
        RareObjective(similarity=-1.0)
    with pytest.raises(ValueError, match="anchor is 'x'"):
        RareObjective(anchor="x")
    with pytest.raises(ValueError, match="n_versions=0"):
        RareSearch(n_versions=0)
    with pytest.raises(ValueError, match="neighbour 900 of 500 own samples"):
        rare_samples(generator, generator.latents(1, 2), space, RareSearch(k_reference=900))
    with pytest.raises(ValueError, match="NaN"):
        rare_samples(generator, torch.full((1, 16), float("nan")), space, SEARCH)


def test_found_means_rarer_than_the_reference(samples):
    rarity, log_prob = samples.reference_rarity[samples.reference], samples.reference_log_prob[samples.reference]
    for row in np.flatnonzero(samples.found):
        if np.isnan(rarity[row]):
            assert samples.log_prob[row] < log_prob[row]
        else:
            assert samples.rarity[row] > rarity[row]


def test_a_search_that_moves_nothing_finds_nothing(generator, space):
    still = RareSearch(n_versions=2, n_steps=0, noise=0.0, k_reference=50)
    none = rare_samples(generator, generator.latents(20, 9), space, still)
    assert none.reference_inside.any()
    assert not none.found.any()  # each version is its reference, which is no rarer than itself


@pytest.fixture(scope="module")
def styled():
    module = LAYOUTS["stylegan2-nvidia"].build(
        {
            "z_width": 6, "w_width": 8, "widths": {"4": 6, "8": 5, "16": 4}, "n_mapping": 2, "n_classes": 3,
            "embedded": 6, "channels": 3, "clamp": None, "mapping_rate": 1.0,
        }
    )  # fmt: skip
    draw = torch.Generator().manual_seed(3)
    for name, values in module.state_dict().items():
        if not name.endswith("resample_filter"):
            values.copy_(torch.randn(values.shape, generator=draw) * 0.5 + name.endswith("affine.bias"))
    return module


def own_space(generator):
    own = generator.latents(300, 4)
    features = image_features(generator, own, toy_features)
    density = GaussianMixtureDensity(1, max_dims=8).fit(features)
    return RareSpace(toy_features, Manifold(3).fit(features), features, density)


@pytest.mark.parametrize("space_name", ["z", "w", "w+"])
def test_the_search_stays_where_the_latents_of_its_space_are(styled, space_name):
    generator = stylegan2_generator(styled, space=space_name)
    search = RareSearch(n_versions=3, n_steps=20, k_reference=100)
    found = rare_samples(generator, generator.latents(8, 9), own_space(generator), search, seed=1)
    assert found.found.sum() >= 8
    rows = torch.from_numpy(found.latents[found.found]).flatten(1)
    own = generator.latents(3000, 77).flatten(1)
    if space_name == "z":
        classes = torch.from_numpy(found.reference_latents)[found.reference[found.found], -1]
        assert torch.equal(rows[:, -1], classes)  # the number that chooses the class
        rows, own = rows[:, :-1], own[:, :-1]
    mean, std = own.mean(0), own.std(0)
    lengths, usual = (((part - mean) / std).norm(dim=1) for part in (rows, own))
    assert lengths.max() <= 1.05 * usual.quantile(0.99)
    assert lengths.mean() >= 0.8 * usual.mean()


def test_the_prior_of_normal_latents_is_the_chi_distribution_and_of_others_their_own(styled):
    normal = latent_prior(toy_generator())
    assert normal.norm_at(0.99) == pytest.approx(np.sqrt(chi2.ppf(0.99, 16)))
    latents = toy_generator().latents(5, 1)
    assert torch.equal(normal.standardised(latents), latents)
    assert latent_prior(stylegan2_generator(styled)).n_free == 6
    generator = stylegan2_generator(styled, space="w")
    prior, own = latent_prior(generator), generator.latents(3000, 5)
    assert prior.n_free == 8
    assert prior.standardised(own).mean(0).abs().max() < 0.2
    assert (prior.norms(own) <= prior.norm_at(0.99)).double().mean() == pytest.approx(0.99, abs=0.01)
    torch.testing.assert_close(prior.latents(prior.standardised(own)), own)


def test_gradients_a_few_at_a_time_are_those_of_all_at_once(space, monkeypatch):
    generator = toy_generator(batch_size=8)
    latents = generator.latents(2, 9)
    search = RareSearch(n_versions=3, n_steps=6, k_reference=100)
    free = replace(space, max_artifact_score=np.inf)
    whole = rare_samples(generator, latents, free, search, seed=1)
    monkeypatch.setattr("genmend.gans.generator._MANY_NEURONS", 500)
    large, held = toy_generator(batch_size=8), []
    images = Generator.images
    monkeypatch.setattr(Generator, "images", lambda self, z: held.append(len(z) * z.requires_grad) or images(self, z))
    parts = rare_samples(large, latents, free, search, seed=1)
    assert max(held) == 2
    np.testing.assert_array_equal(parts.found, whole.found)
    np.testing.assert_allclose(parts.latents, whole.latents, atol=1e-4)
