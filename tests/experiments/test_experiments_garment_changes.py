"""Trivial changes and breakages of garments, and the training of the space that tells them apart."""

import numpy as np
import pytest
import torch

from experiments.garments import train_contrastive
from experiments.garments.changes import TRIVIAL, UNSEEN, break_garments, change_at_random


@pytest.fixture
def pictures():
    found = torch.zeros(6, 3, 32, 32)
    found[:, :, 6:26, 8:20] = torch.linspace(0.3, 0.9, 6)[:, None, None, None]
    return found


@pytest.mark.parametrize("name", [*TRIVIAL, *UNSEEN])
def test_changes_get_stronger(name, pictures):
    change = {**TRIVIAL, **UNSEEN}[name]
    differences = [float((change(pictures, strength) - pictures).abs().mean()) for strength in change.strengths]
    assert differences == sorted(differences)
    assert differences[-1] > 0
    changed = change(pictures, change.strengths[-1])
    assert changed.shape == pictures.shape
    assert 0 <= changed.min() <= changed.max() <= 1


def test_shifts_and_zooms_go_where_they_say(pictures):
    shifted = TRIVIAL["shifted by pixels"](pictures, 2)
    torch.testing.assert_close(shifted[:, :, 10:24, 12:18], pictures[:, :, 8:22, 10:16], atol=1e-4, rtol=0)
    small = TRIVIAL["zoomed out, x"](pictures, 0.85)
    assert (small > 0.1).sum() < 0.9 * (pictures > 0.1).sum()


def test_every_breakage_breaks(pictures):
    broken = break_garments(pictures.repeat(4, 1, 1, 1), np.random.default_rng(0))
    assert broken.shape == (24, 3, 32, 32)
    assert ((broken - pictures.repeat(4, 1, 1, 1)).abs().mean((1, 2, 3)) > 0.005).float().mean() > 0.8
    changed = change_at_random(pictures, np.random.default_rng(0))
    assert changed.shape == pictures.shape


def test_the_loss_is_of_finding_the_other_view():
    one = torch.eye(4)[:2]
    apart, together = torch.cat([one, one.flip(0), one]), torch.cat([one, one, torch.eye(4)[2:]])
    loss = train_contrastive.contrastive_loss
    others = torch.exp(torch.tensor([1.0, 0, 0, 0, 0]) / train_contrastive.TEMPERATURE)
    assert loss(together, 2).item() == pytest.approx(float(-torch.log(others[0] / others.sum())), rel=1e-5)
    assert loss(apart, 2) > 2 + loss(together, 2)


def test_a_training_learns_and_is_repeated_exactly():
    images = (np.random.default_rng(0).random((40, 28, 28)) * 255).astype(np.uint8)
    one, other = (train_contrastive.train_contrastive(images, 2, batch=4, n_broken=2) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert not one.training
