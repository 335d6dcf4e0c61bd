"""Edits in the latent space of a VAE stay where the data are."""

import numpy as np
import pytest
import torch

from genmend.tts.prosody.residual_vae import edit_in_latents, fit_vae

D = 20


@pytest.fixture(scope="module")
def plane():
    """Vectors near a plane of two dimensions, and its orthonormal basis (D, 2)."""
    generator = np.random.default_rng(0)
    basis = np.linalg.qr(generator.normal(size=(D, 2)))[0]
    points = generator.normal(size=(800, 2)) * 3
    return (points @ basis.T + 0.05 * generator.normal(size=(800, D))).astype(np.float32), basis.astype(np.float32)


@pytest.fixture(scope="module")
def vae(plane):
    return fit_vae(plane[0], n_latent=4, n_steps=600)


def off_plane(vectors, basis):
    return np.linalg.norm(vectors - vectors @ basis @ basis.T, axis=1).mean()


def test_it_rebuilds_what_it_was_fitted_to(plane, vae):
    vectors = torch.from_numpy(plane[0])
    rebuilt = vae.decode(vae.encode(vectors)[0])
    assert (rebuilt - vectors).square().mean() < 0.1 * vectors.var()


def test_an_edit_along_the_data_reads_as_wanted_and_stays_there(plane, vae):
    vectors, basis = plane
    generator = np.random.default_rng(1)
    weights = torch.from_numpy((basis[:, 0] + 0.5 * generator.normal(size=D) / np.sqrt(D)).astype(np.float32))
    given = vectors[:30]
    wanted = torch.from_numpy(given) @ weights + 2

    edited = edit_in_latents(vae, given, lambda new: (new @ weights - wanted).square().sum())
    change = (edited - given) @ weights.numpy()
    assert np.abs(change.mean() - 2) < 0.5
    straight = given + 2 * weights.numpy() / float(weights @ weights)
    assert off_plane(edited, basis) < 0.6 * off_plane(straight, basis)
    half = edit_in_latents(vae, given, lambda new: (new @ weights - wanted).square().sum(), strength=0.5)
    np.testing.assert_allclose(half - given, (edited - given) / 2, atol=1e-5)


def test_no_step_changes_nothing(plane, vae):
    np.testing.assert_array_equal(edit_in_latents(vae, plane[0][:5], lambda new: new.sum(), n_steps=0), plane[0][:5])


def test_the_same_seed_fits_the_same_and_leaves_the_callers_randomness(plane):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    one = fit_vae(plane[0], n_latent=2, n_steps=5, seed=7)
    assert torch.equal(torch.rand(2), expected)
    other, third = (fit_vae(plane[0], n_latent=2, n_steps=5, seed=seed) for seed in (7, 8))
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])
    assert not torch.equal(one.encoder[0].weight, third.encoder[0].weight)


def test_too_few_vectors_are_refused():
    with pytest.raises(ValueError, match="3 vectors for 16 latents"):
        fit_vae(np.zeros((3, 4)))
