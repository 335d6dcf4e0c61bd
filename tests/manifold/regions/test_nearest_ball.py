"""The differentiable distance to the nearest ball, against the exact one of `Manifold`."""

import numpy as np
import torch

from genmend.manifold import Manifold
from genmend.manifold.regions.manifold import nearest_ball_distance


def test_it_is_the_least_distance_over_radius():
    rng = np.random.default_rng(0)
    normal, query = rng.normal(size=(60, 5)), rng.normal(size=(40, 5)) * 2
    manifold = Manifold(3).fit(normal)
    features = torch.from_numpy(query).requires_grad_(True)
    found = nearest_ball_distance(features, torch.from_numpy(normal), torch.from_numpy(manifold.radii_))
    np.testing.assert_allclose(found.detach(), manifold.score_samples(query), rtol=1e-9)
    (gradient,) = torch.autograd.grad(found.sum(), features)
    assert (gradient.norm(dim=1) > 0).all()
