"""Walks that bounce, what they are diagnosed with, affine regions and random sets, where the answer is known."""

import numpy as np
import pytest
import torch
from gans_toys import toy_generator
from test_gans_boundaries_regions import triangle

from genmend.gans.boundaries import (
    AffineRegion,
    Box,
    as_affine,
    bouncing,
    convergence,
    generative_region,
    hit_and_run,
    preactivations,
    random_set,
    supporting_set,
    walks,
)
from genmend.gans.boundaries.convergence import effective_sizes, split_r_hat
from genmend.gans.settings import GateSettings


def region_of(layer, every=17):
    generator = toy_generator()
    query = generator.latents(1, 4)
    mask = torch.zeros(preactivations(generator, query, layer)[0].shape, dtype=torch.bool)
    mask.view(-1)[::every] = True
    return generative_region(generator, query, layer, mask)


def test_an_affine_layer_is_found_and_has_the_generators_values():
    region = region_of("stem.act")
    affine = as_affine(region)
    assert isinstance(affine, AffineRegion)
    latents = region.generator.latents(40, 9)
    torch.testing.assert_close(affine.values(latents), region.values(latents), atol=1e-5, rtol=1e-5)
    assert type(affine.in_float64()).__name__ == "GenerativeRegion"
    bent = region_of("widen.act")
    assert as_affine(bent) is bent


def test_bouncing_keeps_the_prior_in_a_half_plane():
    mask = torch.tensor([True, False, False])  # z0 > 0
    region = generative_region(triangle().generator, torch.tensor([[0.2, 0.3]]), "act", mask, margin=0.0)
    points = bouncing(region, 4000, bounds=Box(-6.0, 6.0), n_moves=3).latents
    torch.testing.assert_close(points.mean(0), torch.tensor([(2 / torch.pi) ** 0.5, 0.0]), atol=0.06, rtol=0)
    torch.testing.assert_close(points.std(0), torch.tensor([(1 - 2 / torch.pi) ** 0.5, 1.0]), atol=0.04, rtol=0)


def test_bouncing_is_the_prior_cut_off_by_a_triangle_and_by_bounds():
    bounds = Box(0.1, 0.6)
    points = bouncing(triangle(), 4000, bounds=bounds, n_moves=20).latents
    drawn = torch.randn(400_000, 2, generator=torch.Generator().manual_seed(1))
    expected = drawn[(drawn > 0).all(1) & (drawn.sum(1) < 1) & bounds.contains(drawn)]
    torch.testing.assert_close(points.mean(0), expected.mean(0), atol=0.01, rtol=0)
    torch.testing.assert_close(torch.cov(points.T), torch.cov(expected.T), atol=0.002, rtol=0)


def test_bouncing_stays_inside_in_many_dimensions_and_refuses_bent_walls():
    region = region_of("stem.act", every=3)
    found = bouncing(region, 12, n_moves=5)
    assert len(found.latents) == 12
    assert found.n_dropped == 0
    assert region.contains(found.latents).all()
    assert torch.equal(found.latents, bouncing(region, 12, n_moves=5).latents)
    with pytest.raises(ValueError, match="hit-and-run"):
        bouncing(region_of("widen.act"), 4)


def test_a_longer_walk_begins_with_the_shorter_one():
    region = region_of("stem.act")
    path = [latents for latents, _, _ in walks(region, 5, n_moves=12, seed=3)]
    assert torch.equal(path[6], hit_and_run(region, 5, n_moves=7, seed=3).latents)


def test_effective_sizes_of_a_known_process():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(8000, 4, 3))
    states = noise.copy()
    states[0] /= np.sqrt(1 - 0.8**2)
    for move in range(1, len(states)):
        states[move] += 0.8 * states[move - 1]
    expected = 32_000 * (1 - 0.8) / (1 + 0.8)
    np.testing.assert_allclose(effective_sizes(states), expected, rtol=0.12)
    np.testing.assert_allclose(effective_sizes(noise), 32_000, rtol=0.05)
    np.testing.assert_allclose(split_r_hat(states), 1, atol=0.01)
    found = convergence(states)
    assert found.moves_a_sample == pytest.approx(9, rel=0.15)


def test_walks_that_have_not_met_or_still_drift_show():
    rng = np.random.default_rng(0)
    apart = rng.normal(size=(100, 4, 1)) + np.array([0, 0, 3, 3]).reshape(1, 4, 1)
    # Written out for halves of walks: means 0, 0, 3, 3 twice have a variance of 18 / 7 between them, 1 within.
    assert split_r_hat(apart)[0] == pytest.approx(np.sqrt(1 + 18 / 7), rel=0.08)
    drifting = rng.normal(size=(100, 4, 1)) + np.linspace(0, 4, 100).reshape(-1, 1, 1)
    # Halves with means 1 and 3 and a variance of 1 + 4 / 12 within: the root of 1 + (8 / 7) / (4 / 3).
    assert split_r_hat(drifting)[0] == pytest.approx(np.sqrt(1 + 6 / 7), rel=0.05)
    with pytest.raises(ValueError, match="at least 8 moves of 2 walks"):
        convergence(apart[:, :1])
    with pytest.raises(ValueError, match="never changes"):
        convergence(np.zeros((20, 3, 1)))


@pytest.mark.parametrize("granularity", ["neuron", "unit"])
def test_a_random_set_is_as_large_and_of_active_neurons(granularity):
    generator = toy_generator()
    query = generator.latents(1, 4)
    gates = GateSettings(n_rounds=2, n_steps=5, n_draws=2)
    found = supporting_set(generator, query, "stem.act", tolerance=0.05, granularity=granularity, settings=gates)
    active = preactivations(generator, query, "stem.act")[0] > 0
    if granularity == "unit":
        active = active.flatten(1).any(1)
    masks = [random_set(generator, found, seed) for seed in range(3)]
    for mask in masks:
        assert mask.shape == found.mask.shape
        assert mask.sum() == found.n
        assert (active | ~mask).all()
    assert torch.equal(masks[0], random_set(generator, found, 0))
    if granularity == "neuron":
        assert not torch.equal(masks[0], masks[1])
