"""Manifold-guided correction: what is inside stays, what is outside comes nearer, by the fewest layers."""

import numpy as np
import pytest
import torch
from gans_toys import toy_generator

from genmend.activations import edited
from genmend.gans.correctors import FeatureTarget, ManifoldGuided
from genmend.gans.families.pretrained import load_faces
from genmend.manifold import Manifold


def colours(images):
    """Mean and spread of each colour: smooth, 6 features."""
    return torch.cat([images.mean((2, 3)), images.var((2, 3)).add(1e-6).sqrt()], dim=1) * 10


@pytest.fixture(scope="module")
def fitted():
    generator = toy_generator()
    normal, broken = generator.latents(120, seed=1), generator.latents(60, seed=2) * 3
    return (
        generator,
        normal,
        broken,
        ManifoldGuided(colours, n_steps=60, learning_rate=0.1).fit(generator, normal, broken),
    )


def test_the_excess_is_the_distance_over_the_radius_and_the_score_above_their_limits():
    rng = np.random.default_rng(0)
    normal, broken, query = rng.normal(size=(80, 4)), rng.normal(size=(40, 4)) + 2, rng.normal(size=(30, 4)) * 3
    target = FeatureTarget.fit(
        lambda images: images[:, :, 0, 0], normal, broken, k=3, manifold_quantile=0.9, score_quantile=0.5
    )
    manifold = Manifold(3).fit(normal)
    distance = manifold.score_samples(query)
    limit = np.quantile(manifold.score_samples(leave_one_out=True), 0.9)
    score = query @ target.weights.double().numpy() + target.bias
    expected = np.maximum(distance - limit, 0) + np.maximum(score - target.score_limit, 0)
    found = target.excess(torch.from_numpy(query).float()[:, :, None, None])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert (expected == 0).any()
    assert (expected > 0).any()


def test_samples_that_are_normal_keep_every_bit_and_broken_ones_come_inside(fitted):
    generator, normal, broken, corrector = fitted
    latents = torch.cat([normal[:20], broken[:20]])
    before = corrector.excess(latents)
    edits = corrector.edits(latents)
    after = corrector.excess(latents, edits)
    inside = before == 0
    assert inside.any()
    assert (before > 0).sum() >= 10
    assert all((edit.scale[inside] == 1).all() for edit in edits)
    assert torch.equal(corrector.correct(generator, latents)[inside], generator.generate(latents)[inside])
    assert (after <= before).all()
    assert (after[~inside] == 0).float().mean() > 0.6
    assert all((edit.scale >= 0).all() and (edit.scale <= 1).all() for edit in edits)


def test_a_later_layer_is_touched_only_for_samples_that_earlier_ones_left_outside(fitted):
    generator, _, broken, corrector = fitted
    first, second = corrector.edits(broken[:20])
    assert [first.layer, second.layer] == list(generator.layers[:2])
    inside_after_first = corrector.excess(broken[:20], [first]) == 0
    assert (second.scale[inside_after_first] == 1).all()


def test_the_same_latents_give_the_same_edits_and_the_model_is_as_before(fitted):
    generator, _, broken, corrector = fitted
    untouched = generator.generate(broken[:6])
    one, other = corrector.edits(broken[:6]), corrector.edits(broken[:6])
    assert all(torch.equal(a.scale, b.scale) for a, b in zip(one, other, strict=True))
    assert torch.equal(generator.generate(broken[:6]), untouched)
    with edited(generator.module, *one):
        assert not torch.equal(generator.generate(broken[:6]), untouched)


def test_without_broken_samples_the_manifold_alone_guides():
    generator = toy_generator()
    corrector = ManifoldGuided(colours).fit(generator, generator.latents(60, seed=1))
    assert corrector.targets_[0].weights is None
    assert (corrector.excess(generator.latents(20, seed=5) * 4) > 0).any()


def test_no_extractor_is_refused():
    generator = toy_generator()
    with pytest.raises(ValueError, match="extractors is empty"):
        ManifoldGuided([]).fit(generator, generator.latents(20, seed=1))


@pytest.mark.real("faces", "efficientnet-lite0")
@pytest.mark.all
def test_on_the_real_faces_a_broken_sample_comes_inside():
    generator = load_faces()
    corrector = ManifoldGuided("efficientnet-lite0", ["main.2"], n_steps=12).fit(
        generator, generator.latents(60, seed=3)
    )
    far = generator.latents(6, seed=4) * 1.6
    before = corrector.excess(far)
    assert (before > 0).any()
    after = corrector.excess(far, corrector.edits(far))
    assert after[before > 0].sum() < 0.7 * before.sum()
