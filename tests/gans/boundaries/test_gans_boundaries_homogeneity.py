"""Sets to compare a region's samples with keep what they promise, and the variance is the one written out."""

import numpy as np
import pytest
import torch
from gans_toys import toy_features, toy_generator

from genmend.gans.boundaries import ball_round, homogeneity, mean_distance, rotate_round, spread


@pytest.mark.parametrize(("n", "shape"), [(7, (16,)), (40, (16,)), (16, (4, 2, 2)), (5, (100,)), (3, (2,))])
def test_a_rotation_keeps_distances_spread_and_norms(n, shape):
    draw = torch.Generator().manual_seed(3)
    query = torch.randn(1, *shape, generator=draw)
    latents = query + 0.7 * torch.randn(n, *shape, generator=draw)
    turned = rotate_round(query, latents, seed=1)
    assert turned.shape == latents.shape
    flat, flat_turned, centre = latents.flatten(1), turned.flatten(1), query.flatten(1)
    torch.testing.assert_close((flat_turned - centre).norm(dim=1), (flat - centre).norm(dim=1), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.pdist(flat_turned), torch.pdist(flat), atol=1e-5, rtol=0)
    torch.testing.assert_close(flat_turned.norm(dim=1), flat.norm(dim=1), atol=1e-5, rtol=1e-6)
    assert spread(turned) == pytest.approx(spread(latents), abs=1e-5)
    assert torch.equal(turned, rotate_round(query, latents, seed=1))
    if n > 3:
        assert (turned - latents).abs().max() > 0.1
        assert not torch.equal(turned, rotate_round(query, latents, seed=2))


def test_rotations_are_uniform_across_the_axis():
    query = torch.tensor([[0.0, 0.0, 2.0]])
    point = query + torch.tensor([[1.0, 0.0, 0.5]])
    turned = torch.cat([rotate_round(query, point, seed=seed) for seed in range(400)])
    assert torch.allclose(turned[:, 2], torch.tensor(2.5))
    assert turned[:, :2].mean(0).norm() < 0.15  # four standard errors
    angles = torch.atan2(turned[:, 1], turned[:, 0]).div(np.pi / 2).floor()
    assert angles.unique(return_counts=True)[1].min() > 65  # of 100 expected in each quarter


def test_a_query_of_zero_has_no_direction_to_keep():
    latents = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
    turned = rotate_round(torch.zeros(1, 4), latents)
    torch.testing.assert_close(torch.pdist(turned), torch.pdist(latents), atol=1e-5, rtol=0)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_balls_have_the_distance_asked_for(norm):
    query = torch.ones(1, 3, 2)
    draws = ball_round(query, 500, 1.5, norm, seed=4)
    assert draws.shape == (500, 3, 2)
    assert mean_distance(draws, query) == pytest.approx(1.5, abs=1e-5)
    away = (draws - query).flatten(1)
    size = away.norm(dim=1) if norm == "l2" else away.abs().amax(1)
    share = (size / size.max()) ** 6  # uniform in a ball of 6 dimensions
    assert share.mean() == pytest.approx(0.5, abs=0.05)


def test_variance_and_feature_distance_are_those_written_out():
    generator = toy_generator()
    latents = generator.latents(6, 1)
    images = generator.generate(latents).numpy().astype(np.float64)
    expected = np.mean([((images[:, c, y, x] - images[:, c, y, x].mean()) ** 2).sum() / 5
                        for c in range(3) for y in range(32) for x in range(32)])  # fmt: skip
    found = homogeneity(generator, latents, toy_features)
    assert found.pixel_variance == pytest.approx(expected, rel=1e-9)
    features = toy_features(torch.from_numpy(images)).numpy()
    distances = [np.linalg.norm(features[i] - features[j]) for i in range(6) for j in range(i)]
    assert found.feature_distance == pytest.approx(np.mean(distances), rel=1e-5)
    assert homogeneity(generator, latents).to_dict() == {"pixel_variance": found.pixel_variance,
                                                         "feature_distance": None}  # fmt: skip


def test_refusals():
    with pytest.raises(ValueError, match="two or more"):
        homogeneity(toy_generator(), toy_generator().latents(1, 0))
    with pytest.raises(ValueError, match="'l2' or 'linf'"):
        ball_round(torch.ones(1, 2), 3, 1.0, "l1")
