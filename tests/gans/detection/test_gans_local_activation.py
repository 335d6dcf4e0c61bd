"""Local activation against plain loops and autograd; what it refuses."""

import dataclasses
from functools import partial

import numpy as np
import pytest
import torch
from gans_toys import LATENT_WIDTH, LAYERS, snapshot, toy_generator, written_out
from sklearn.exceptions import NotFittedError

from genmend.gans.detection.local_activation import ESTIMATORS, LocalActivation
from genmend.gans.families.pretrained import load_faces


@pytest.fixture(scope="module")
def generator():
    return toy_generator()


@pytest.fixture(scope="module")
def own(generator):
    return generator.latents(150, 9)


@pytest.fixture(scope="module")
def latents(generator):
    return generator.latents(6, 1)


def activity(generator, latents, layer):
    return written_out(generator.module, latents)[0][layer].double().clamp(min=0).mean((2, 3))


def neighbours_of(latent, local):
    return [np.sqrt(1 - local.eps**2) * latent + local.eps * noise for noise in local.noise_]


@pytest.mark.parametrize("estimator", ["contrast", "support"])
def test_neighbourly_estimators_equal_plain_loops(generator, own, latents, estimator):
    local = LocalActivation(estimator, eps=0.5, n_neighbours=7, floor=0.1).fit(generator, own)
    scores = local.unit_scores(generator, latents)
    for layer in LAYERS:
        usual = activity(generator, own, layer)
        std, quantile = usual.std(0, correction=0), usual.quantile(0.99, dim=0)
        for row, latent in enumerate(latents):
            here = activity(generator, latent[None], layer)[0]
            near = torch.cat([activity(generator, one[None].float(), layer) for one in neighbours_of(latent, local)])
            for unit in range(len(here)):
                if estimator == "contrast":
                    expected = max(0.0, float(here[unit] - near[:, unit].mean()))
                    expected /= float(std[unit] + 0.1 * std.mean())
                else:
                    inside = float((near[:, unit] > quantile[unit]).double().mean())
                    expected = (1 - inside) if here[unit] > quantile[unit] else 0.0
                assert scores[layer][row, unit].item() == pytest.approx(expected, abs=1e-5)


def test_with_a_direction_for_each_dimension_the_gradient_is_exact(generator, own, latents):
    local = LocalActivation("differential", n_neighbours=LATENT_WIDTH, floor=0.1).fit(generator, own)
    scores = local.unit_scores(generator, latents)
    for layer in LAYERS:
        variance = activity(generator, own, layer).var(0, correction=0)
        for row, latent in enumerate(latents):
            jacobian = torch.autograd.functional.jacobian(partial(activity, generator, layer=layer), latent[None])
            here = activity(generator, latent[None], layer)[0]
            expected = jacobian[0].flatten(1).norm(dim=1) * here / (variance + 0.1 * variance.mean())
            torch.testing.assert_close(scores[layer][row], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_scores_stand_for_each_sample_alone_and_change_nothing(generator, own, latents, estimator):
    before = snapshot(generator.module)
    local = LocalActivation(estimator).fit(generator, own)
    scores = local.score(generator, latents)
    assert snapshot(generator.module) == before
    assert scores.shape == (6,)
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(local.score(generator, latents[2:4]), scores[2:4], atol=1e-5)
    np.testing.assert_array_equal(LocalActivation(estimator).fit(generator, own).score(generator, latents), scores)


def test_neighbours_are_samples_of_the_prior(generator, own):
    local = LocalActivation(eps=0.6, n_neighbours=200).fit(generator, own)
    near = local.neighbours(generator.latents(200, 2))
    assert near.mean().abs() < 0.05
    assert near.std() == pytest.approx(1, abs=0.02)


def test_neighbours_of_other_latents_go_by_their_spread(own):
    wide = toy_generator(draw=lambda module, normal: 5 + 3 * normal)
    local = LocalActivation(eps=0.5, n_neighbours=300).fit(wide, wide.latents(300, 1))
    near = local.neighbours(wide.latents(1, 2)) - wide.latents(1, 2)
    assert near.std() == pytest.approx(1.5, rel=0.1)


def test_top_units_decide(generator, own):
    local = LocalActivation(n_top=2)
    np.testing.assert_allclose(local.layer_score(torch.tensor([[1.0, 5.0, 3.0]])), [4.0])


@pytest.mark.parametrize(
    "parameters", [{"estimator": "other"}, {"eps": 0.0}, {"eps": 1.5}, {"n_neighbours": 0}, {"layers": []}]
)
def test_parameters_out_of_range_are_refused(generator, own, parameters):
    with pytest.raises(ValueError, match=r"give|name"):
        LocalActivation(**parameters).fit(generator, own)


def test_a_generator_with_noise_of_its_own_is_refused(generator, own):
    noisy = dataclasses.replace(generator, call=lambda module, z: module(z + torch.randn_like(z)))
    with pytest.raises(ValueError, match="fix its noise"):
        LocalActivation().fit(noisy, own)


def test_unfitted_and_too_few(generator, latents):
    with pytest.raises(NotFittedError):
        LocalActivation().score(generator, latents)
    with pytest.raises(ValueError, match="at least 2"):
        LocalActivation().fit(generator, latents[:1])


@pytest.mark.real("faces")
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_on_the_real_faces(estimator):
    generator = load_faces()
    local = LocalActivation(estimator, n_neighbours=4).fit(generator, generator.latents(50, 1))
    scores = local.score(generator, generator.latents(4, 2))
    assert np.isfinite(scores).all()
    assert len(set(scores.tolist())) > 1
