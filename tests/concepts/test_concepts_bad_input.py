"""What every method of this room says of a model or an input that it can't serve, in one sentence."""

import warnings

import pytest
import torch
from torch import nn

from genmend.concepts import (
    DistilledGradient,
    ExplanationMasks,
    FullGradient,
    GuidedIntegratedGradients,
    PositiveInteractions,
    configurations,
    explain,
    find_region,
    patches,
)
from genmend.concepts.regions.layer_states import layer_states
from genmend.concepts.scalar_target import NotDeterministicWarning, as_module

IMAGES = torch.rand(12, 3, 12, 12, generator=torch.Generator().manual_seed(0))


class Noise(nn.Module):
    def forward(self, maps):
        return maps + 0.1 * torch.randn_like(maps)


class Never(nn.Module):
    """A classifier with a nonlinearity that is not used."""

    def __init__(self):
        super().__init__()
        self.net, self.spare = classifier(), nn.ReLU()

    def forward(self, images):
        return self.net(images)


def classifier(extra=None):
    torch.manual_seed(0)
    maps = [nn.Conv2d(3, 4, 3), nn.ReLU(), extra or nn.Dropout(0.5)]
    return nn.Sequential(*maps, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)).eval()


def score_of(net):
    score = nn.Sequential(net, nn.Linear(3, 1))
    score.training = net.training  # its parts stay as they are
    return score


ATTRIBUTIONS = {
    "DGA": lambda net, images, target=0: DistilledGradient(net, n_steps=2).attribute(images, target),
    "guided": lambda net, images, target=0: GuidedIntegratedGradients(net, n_steps=2).attribute(images, target),
    "FullGrad": lambda net, images, target=0: FullGradient(net).attribute(images, target),
    "API": lambda net, images, target=0: PositiveInteractions(net, patches((12, 12), 6)).attribute(images, target),
    "explain": lambda net, images, target=0: explain(net, images[:2], target, methods=["full-gradient"]),
}
REGIONS = {
    "configurations": lambda net, images: find_region(configurations(net, "1", images), 0, k=4),
    "states": lambda net, images: layer_states(net, "1", lambda numbers: images[numbers], len(images)),
}
MASKS = {"masks": lambda net, images: ExplanationMasks("fullgrad")(score_of(net), images)}
ALL = ATTRIBUTIONS | REGIONS | MASKS


@pytest.mark.parametrize("method", ALL.values(), ids=ALL)
def test_nan_is_said_before_anything_is_made_of_it(method):
    with pytest.raises(ValueError, match="NaN or infinity"):
        method(classifier(), IMAGES.clone().index_fill_(0, torch.tensor([1]), torch.nan))


@pytest.mark.parametrize("method", ALL.values(), ids=ALL)
def test_a_model_in_training_mode_is_refused_as_a_whole_or_in_a_part(method):
    with pytest.raises(ValueError, match=r"The model is in training mode.*call model\.eval\(\) first"):
        method(classifier().train(), IMAGES)
    part = classifier()
    part[2].train()
    with pytest.raises(
        ValueError, match=r"Part '(0\.)*2' of the model is in training mode.*call model\.eval\(\) first"
    ):
        method(part, IMAGES)


@pytest.mark.parametrize("method", ALL.values(), ids=ALL)
def test_that_two_runs_differ_is_said_with_the_spread(method):
    noisy = classifier(Noise() if method not in REGIONS.values() else None)
    if method in REGIONS.values():  # before the layer that is looked at
        noisy = nn.Sequential(nn.Sequential(noisy[0], Noise()), *noisy[1:]).eval()
    with pytest.warns(NotDeterministicWarning, match=r"Two runs of .* on one input differ by 0\.\d+") as said:
        method(noisy, IMAGES)
    assert len([each for each in said if each.category is NotDeterministicWarning]) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", NotDeterministicWarning)
        method(classifier(), IMAGES)


@pytest.mark.parametrize("method", ATTRIBUTIONS.values(), ids=ATTRIBUTIONS)
@pytest.mark.parametrize("target", [3, -1])
def test_a_class_that_there_is_not_is_said(method, target):
    with pytest.raises(ValueError, match=rf"target {target} is no class of the model: it has 3, 0 to 2"):
        method(classifier(), IMAGES[:2], target)


def test_layers_that_never_ran_or_have_no_gate_and_too_few_samples():
    for see in (
        lambda: configurations(Never().eval(), "spare", IMAGES),
        lambda: layer_states(Never().eval(), "spare", lambda numbers: IMAGES[numbers], len(IMAGES)),
    ):
        with pytest.raises(ValueError, match="layer 'spare' never ran when the model was called: name one that runs"):
            see()
    # Without a gate at 0 the thresholds are learned, and the result says so.
    assert configurations(classifier(), "0", IMAGES).threshold == "learned"
    with pytest.raises(
        ValueError, match="There are 4 samples, but more than k = 4 are needed: give more, or a smaller"
    ):
        find_region(configurations(classifier(), "1", IMAGES[:4]), 0, k=4)


def test_parts_whose_training_mode_changes_nothing_are_no_reason_to_refuse():
    net = classifier()
    for part in (net[0], net[1], net[5]):
        part.train()
    assert as_module(net) is net
    attention = nn.Sequential(nn.MultiheadAttention(4, 1)).eval()
    attention[0].train()
    assert as_module(attention) is attention, "without dropout"
    attention[0].dropout = 0.1
    with pytest.raises(ValueError, match="Part '0'"):
        as_module(attention)
    own = nn.Sequential(Noise()).eval()
    own[0].train()
    with pytest.raises(ValueError, match="Part '0'"):
        as_module(own)
