"""Masks of what makes a score: where a score looks at one place only, every method that serves it marks that place."""

import pytest
import torch
from torch import nn

from genmend.concepts import ExplanationMasks
from genmend.concepts.explanation_masks import marked_pixels
from genmend.concepts.loop.methods import ABBREVIATIONS, METHODS

IMAGES = 0.6 + 0.4 * torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class LowerRight(nn.Module):
    """Brightness of the lower right quarter, by a convolution so that there are maps."""

    def __init__(self):
        super().__init__()
        self.sum = nn.Conv2d(3, 2, 3, padding=1)
        nn.init.constant_(self.sum.weight, 0.1)
        nn.init.zeros_(self.sum.bias)
        self.wake = nn.ReLU()

    def forward(self, images):
        return self.wake(self.sum(images - 0.5))[:, :, 8:, 8:].mean((1, 2, 3))


class Rounded(nn.Module):
    def forward(self, images):
        with torch.no_grad():
            return images.mean((1, 2, 3))


@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("random", "grad-cam", "full-gradient")])
def test_the_place_that_a_score_looks_at_is_marked(method):
    masks = ExplanationMasks(method, share=0.2, batch_size=2)(LowerRight().eval(), IMAGES)
    assert masks.shape == (3, 16, 16)
    assert set(masks.unique().tolist()) == {0, 1}
    assert masks[:, 7:, 7:].sum() / masks.sum() > 0.9


def test_grad_cam_and_full_gradients_serve_a_score_without_a_class():
    for method in ("grad-cam", "full-gradient"):
        masks = ExplanationMasks(method, share=0.2)(LowerRight().eval(), IMAGES)
        assert masks.sum((1, 2)).tolist() == [51] * 3


def test_a_share_is_marked_and_never_what_speaks_against():
    maps = torch.zeros(2, 8, 8)
    maps[0, :4] = torch.rand(4, 8, generator=torch.Generator().manual_seed(1))
    masks = marked_pixels(maps, 0.25)
    assert masks[0].sum() == 16
    assert masks[0, :4].sum() >= 15
    assert not masks[1].any()


def test_abbreviations_are_those_of_the_papers_and_a_miss_lists_all():
    assert ExplanationMasks("DGA") == ExplanationMasks("distilled-gradient")
    assert set(ABBREVIATIONS.values()) <= set(METHODS)
    with pytest.raises(ValueError, match=r"'lime' is no method; accepted are distilled-gradient \(dga\), .*, random\."):
        ExplanationMasks("lime")


def test_the_name_says_what_the_masks_depend_on():
    assert ExplanationMasks("dga").name == "explain:distilled-gradient"
    made = ExplanationMasks("dga", share=0.5, settings={"n_steps": 3})
    assert made.name == "explain:distilled-gradient (share=0.5, n_steps=3)"
    assert (made.passes, ExplanationMasks("dga").passes, ExplanationMasks("gradcam").passes) == (4, 31, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"share": 0.0}, "share is 0.0; give a share of the pixels"),
        ({"share": float("nan")}, "share is nan"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"settings": {"steps": 3}}, "distilled-gradient has no setting 'steps'; it has n_steps, quantile"),
    ],
)
def test_what_is_out_of_range_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        ExplanationMasks("dga", **arguments)


def test_a_score_that_a_method_does_not_serve_says_why_and_what_does():
    with pytest.raises(
        ValueError, match=r"no gradient by the input. Take one of occlusion, positive-interactions, ran"
    ):
        ExplanationMasks("dga")(Rounded().eval(), IMAGES)
    with pytest.raises(ValueError, match="training mode"):
        ExplanationMasks("dga")(LowerRight(), IMAGES)
    masks = ExplanationMasks("occlusion", settings={"cells": 4})(Rounded().eval(), IMAGES)
    assert masks.sum() > 0
