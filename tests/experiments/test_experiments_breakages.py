"""Breakages that networks learn from, and the networks that come with the pipeline."""

import numpy as np
import pytest
import torch

from experiments.garments import train_intact
from experiments.garments.breakages import FOR_THE_GUIDE, FOR_THE_JUDGE, break_by
from experiments.garments.changes import break_garments
from genmend.diffusion.reference import guide_usability, intact_scorer

KINDS = {**FOR_THE_GUIDE, **FOR_THE_JUDGE}


@pytest.fixture
def pictures():
    """A coat of stripes: trunk and sleeves."""
    found = torch.zeros(12, 1, 32, 32)
    found[:, :, 4:28, 10:22] = torch.linspace(0.4, 0.9, 12)[:, None, None, None]
    found[:, :, 6:24, 5:9] = found[:, :, 6:24, 23:27] = 0.6
    found[:6, :, 8:26:4] *= 0.7
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_breaks_and_is_repeated_exactly(pictures, kind):
    one, other = (KINDS[kind](pictures, np.random.default_rng(0)) for _ in range(2))
    assert torch.equal(one, other)
    assert one.shape == pictures.shape
    assert -1e-4 <= one.min() <= one.max() <= 1 + 1e-4
    assert ((one - pictures).abs().mean((1, 2, 3)) > 0.005).float().mean() > 0.8


def test_each_picture_is_broken_in_one_of_the_ways(pictures):
    kinds = {"dark": lambda x, rng: x * 0, "bright": lambda x, rng: x * 0 + 1}
    broken = break_by(kinds, pictures, np.random.default_rng(0)).mean((1, 2, 3))
    assert set(broken.tolist()) == {0.0, 1.0}


def test_a_training_learns_and_is_repeated_exactly():
    images = (np.random.default_rng(0).random((40, 28, 28)) * 255).astype(np.uint8)
    labels = np.arange(40) % 10
    one, other = (train_intact.train_intact("intact", images, labels, 2, batch=4) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert not one.training


def test_no_network_is_taught_what_it_is_tested_by():
    assert not set(FOR_THE_GUIDE) & set(FOR_THE_JUDGE)
    assert break_garments not in KINDS.values()


@pytest.mark.parametrize("name", ["intact", "intact_judge"])
def test_a_whole_garment_from_a_melted_one(pictures, name):
    """Which neither network was taught; how often, `experiments.garments.novelty_spaces` says of real ones."""
    scorer = intact_scorer(name)
    waves = [round(4 * np.sin(row / 2)) for row in range(32)]
    melted = torch.stack([pictures[:, :, row].roll(by, -1) for row, by in enumerate(waves)], dim=2)
    whole, broken = scorer(pictures.expand(-1, 3, -1, -1), "a coat"), scorer(melted, "a coat")
    assert whole.mean() > broken.mean() + 0.25
    np.testing.assert_allclose(scorer(pictures.flip(3), "a coat"), whole, atol=0.02)
    assert scorer.least_usable == 0.5


def test_the_tool_asks_whether_pictures_are_whole():
    assert list(guide_usability()) == ["guide", "intact"]
