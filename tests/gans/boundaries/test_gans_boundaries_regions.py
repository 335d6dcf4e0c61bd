"""Regions, chords and explorations where the answer is known: a layer that one affine step precedes."""

from dataclasses import replace

import pytest
import torch
from gans_toys import LATENT_WIDTH, snapshot, toy_generator, written_out
from torch import nn
from torch.nn import functional

from genmend.gans import Generator
from genmend.gans.boundaries import (
    Box,
    chord,
    farthest_points,
    generative_region,
    grow_tree,
    hit_and_run,
    preactivations,
    prior_shell,
    random_directions,
)


class Corner(nn.Module):
    """Two latents; the pre-activations are the latents and 1 - their sum, so all positive is a triangle."""

    def __init__(self):
        super().__init__()
        self.walls = nn.Linear(2, 3)
        self.walls.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
        self.walls.bias.data = torch.tensor([0.0, 0.0, 1.0])
        self.act = nn.ReLU(inplace=True)

    def forward(self, z):
        return self.act(self.walls(z))[:, :, None, None].expand(-1, 3, 4, 4)


def triangle():
    generator = Generator(Corner().eval().requires_grad_(False), (2,), layers=("act",), batch_size=500)
    return generative_region(generator, torch.tensor([[0.2, 0.3]]), "act", torch.ones(3, dtype=torch.bool), margin=0.0)


def test_a_margin_makes_the_region_smaller():
    region = triangle()
    latents = region.generator.latents(200, 0).abs() / 3
    narrow = replace(region, margins=torch.full((3,), 0.1))
    torch.testing.assert_close(narrow.slack(latents), region.slack(latents) - 0.1)
    assert 0 < narrow.contains(latents).sum() < region.contains(latents).sum()


def test_preactivations_are_the_layers_input_and_leave_no_trace():
    generator = toy_generator()
    before, latents = snapshot(generator.module), generator.latents(5, 1)
    found = preactivations(generator, latents, "stem.act")
    up = generator.module.stem.up
    assert torch.equal(found, functional.conv_transpose2d(latents[:, :, None, None], up.weight, up.bias))
    assert (found < 0).any()
    assert torch.equal(found.relu(), written_out(generator.module, latents)[0]["stem.act"])
    assert snapshot(generator.module) == before


def test_refusals_name_the_layer():
    generator = toy_generator()
    with pytest.raises(ValueError, match="'paint' is ConvTranspose2d"):
        preactivations(generator, generator.latents(1, 1), "paint")
    generator.module.stem.act = nn.GELU()
    with pytest.raises(ValueError, match="allow_smooth"):
        preactivations(generator, generator.latents(1, 1), "stem.act")
    assert preactivations(generator, generator.latents(1, 1), "stem.act", allow_smooth=True).shape == (1, 6, 4, 4)
    with pytest.raises(ValueError, match="mask has shape"):
        generative_region(generator, generator.latents(1, 1), "widen.act", torch.ones(2, 2, dtype=torch.bool))


def test_chords_of_a_polytope_end_at_its_faces():
    region = triangle()
    starts = region.query.repeat(200, 1)
    ways = random_directions(starts, torch.Generator().manual_seed(0))
    low, high = chord(region.contains, starts, ways, torch.full((200,), -3.0), torch.full((200,), 3.0), 30)
    walls = region.generator.module.walls
    at, slope = walls(starts), ways @ walls.weight.T
    crossings = -at / slope
    torch.testing.assert_close(high, crossings.masked_fill(slope >= 0, torch.inf).amin(1), atol=1e-5, rtol=0)
    torch.testing.assert_close(low, crossings.masked_fill(slope <= 0, -torch.inf).amax(1), atol=1e-5, rtol=0)


def test_hit_and_run_is_uniform_in_a_triangle():
    points = hit_and_run(triangle(), 4000, bounds=Box(-2.0, 2.0), density="uniform", n_moves=25).latents
    # Uniform on the standard triangle: Dirichlet(1, 1, 1), mean 1/3, variance 1/18, covariance -1/36.
    torch.testing.assert_close(points.mean(0), torch.full((2,), 1 / 3), atol=0.015, rtol=0)
    expected = torch.tensor([[1 / 18, -1 / 36], [-1 / 36, 1 / 18]])
    torch.testing.assert_close(torch.cov(points.T), expected, atol=0.004, rtol=0)


def test_hit_and_run_keeps_the_prior_inside_the_region():
    mask = torch.tensor([True, False, False])  # the half plane z0 > 0
    region = generative_region(triangle().generator, torch.tensor([[0.2, 0.3]]), "act", mask, margin=0.0)
    points = hit_and_run(region, 4000, bounds=Box(-6.0, 6.0), n_moves=25).latents
    torch.testing.assert_close(points.mean(0), torch.tensor([(2 / torch.pi) ** 0.5, 0.0]), atol=0.06, rtol=0)
    torch.testing.assert_close(points[:, 1].std(), torch.tensor(1.0), atol=0.05, rtol=0)


@pytest.mark.parametrize("layer", ["stem.act", "widen.act"])
def test_everything_explored_has_the_querys_signs(layer):
    generator = toy_generator()
    query = generator.latents(1, 4)
    at_query = preactivations(generator, query, layer)
    mask = torch.zeros(at_query[0].shape, dtype=torch.bool)
    mask.view(-1)[::17] = True
    region = generative_region(generator, query, layer, mask)
    for found in (hit_and_run(region, 12, n_moves=20), grow_tree(region, 12, n_nodes=80, n_tests=3000)):
        assert len(found.latents) == 12
        signs = preactivations(generator, found.latents, layer)[:, mask] > 0
        assert (signs == (at_query[:, mask] > 0)).all()
        assert prior_shell((LATENT_WIDTH,)).reaching(query).contains(found.latents).all()
        assert found.spread > 0
        assert 0 < found.acceptance < 1
    again = grow_tree(region, 12, n_nodes=80, n_tests=3000)
    assert torch.equal(again.latents, found.latents)


def test_farthest_points_are_distinct_and_far():
    line = torch.tensor([[0.0], [1.0], [10.0], [5.0], [5.0]])
    assert farthest_points(line, 3).tolist() == [0, 2, 3]
    assert sorted(farthest_points(line, 9).tolist()) == [0, 1, 2, 3, 4]
