"""Rare versions of references: every constraint checked anew by loops, the loss by hand, feasible or nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gans_toys import EXTRACTOR, snapshot, toy_features, toy_generator
from scipy.stats import chi2

from genmend.gans import ArtifactDetector
from genmend.gans.rare import GaussianMixtureDensity, RareSamples, RareSpace, label_free_artifact_score, rare_samples
from genmend.gans.rare.objective import rare_loss
from genmend.gans.settings import RareObjective, RareSearch

SEARCH = RareSearch(n_versions=3, n_steps=25, k_reference=50)


@pytest.fixture(scope="module")
def generator():
    return toy_generator()


@pytest.fixture(scope="module")
def space(generator):
    detector = ArtifactDetector(EXTRACTOR, n_statistics=200, n_reference=500, seed=5).fit(generator)
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
