"""The space of novelty: a picture brighter, flatter, larger or elsewhere is aligned to the same, and lies beside it."""

import pytest
import torch
from torch import nn

from genmend.diffusion.reference import novelty_extractor, real_garments
from genmend.diffusion.reference.alignment import align_pictures


def shirt(left=10, top=8, width=12, height=16):
    """Two greys on black, with sleeves on one side."""
    picture = torch.zeros(1, 1, 32, 32)
    picture[:, :, top : top + height, left : left + width] = 0.7
    picture[:, :, top : top + height // 4, left : left + width + 4] = 0.4
    return picture


@pytest.mark.parametrize(
    ("name", "changed", "tolerance"),
    [
        ("contrast", lambda x: 0.5 + (x - 0.5) * 0.6, 1e-4),
        ("brightness", lambda x: x + 0.15, 1e-4),
        ("gamma", lambda x: x**1.4, 0.03),
        ("place", lambda x: x.roll((3, -2), (2, 3)), 1e-4),
    ],
)
def test_trivial_changes_are_undone(name, changed, tolerance):
    one, other = align_pictures(shirt()), align_pictures(changed(shirt()))
    assert one.shape == (1, 1, 32, 32)
    assert (one - other).abs().mean() < tolerance


def test_size_is_undone_and_shape_is_not():
    smaller = nn.functional.pad(nn.functional.avg_pool2d(shirt(), 2), (8, 8, 8, 8))
    one, half, slim = (align_pictures(x) for x in (shirt(), smaller, shirt(10, 8, 6, 16)))
    assert (one - half).abs().mean() < 0.6 * (one - slim).abs().mean()


def test_an_empty_picture_stays_finite():
    assert torch.isfinite(align_pictures(torch.zeros(1, 1, 32, 32))).all()
    assert torch.isfinite(novelty_extractor()(torch.ones(2, 3, 32, 32))).all()


def test_the_trained_space_sees_the_garment_alone():
    features = novelty_extractor()
    pictures = torch.cat([shirt(), shirt(10, 8, 6, 16), shirt(12, 4, 8, 26)]).expand(-1, 3, -1, -1)
    plain = features(pictures)
    torch.testing.assert_close(plain.norm(dim=1), torch.ones(3))
    apart = torch.pdist(plain).min()
    for changed in (pictures * 0.6, pictures + 0.1, pictures.roll(2, 3), pictures.flip(3)):
        assert (features(changed) - plain).norm(dim=1).max() < 0.5 * apart
    assert real_garments("a dress").shape == (200, 64)
