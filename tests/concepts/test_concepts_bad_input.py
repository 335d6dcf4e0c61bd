"""What every method of this room says of a model or an input that it can't serve, in one sentence."""

import warnings

import pytest
import torch
from concepts_toys import Noise, classifier, never, noisy
from torch import nn

from genmend.concepts import (
    DistilledGradient,
    ExplanationMasks,
    FullGradient,
    GuidedIntegratedGradients,
    PositiveInteractions,
    ablation_drop,
    build_index,
    configurations,
    explain,
    find_circuits,
    find_region,
    patches,
)
from genmend.concepts.circuits.block_calls import call_blocks
from genmend.concepts.circuits.circuit import CircuitGraph
from genmend.concepts.loop.operations import trace_model
from genmend.concepts.regions.layer_states import layer_states
from genmend.concepts.scalar_target import NotDeterministicWarning, as_module

IMAGES = torch.rand(12, 3, 12, 12, generator=torch.Generator().manual_seed(0))
BLOCKS = ("0", "1")
GRAPH = CircuitGraph(BLOCKS, ((0, 1), (1, 2)), ())
NEVER = (
    r"layer 'spare' never ran when the model was called: name one that runs \('net.0', 'net.1', 'net.2', 'net.3', "
    r"'net.4', 'net.5', 'net'\)"
)


def index_of(net, blocks=BLOCKS, images=IMAGES):
    return build_index(net, blocks, lambda start, stop: torch.cat([images, images])[start:stop], 2 * len(images))


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
CIRCUITS = {
    "circuits": lambda net, images, target=0: find_circuits(net, index_of(classifier()), images[1:2], target),
    "ablation": lambda net, images, target=0: ablation_drop(net, GRAPH, index_of(classifier()), images[1:2], target),
}
INDEX = {"index": lambda net, images: index_of(net, images=images)}
MASKS = {"masks": lambda net, images: ExplanationMasks("fullgrad")(score_of(net), images)}
ALL = ATTRIBUTIONS | REGIONS | CIRCUITS | INDEX | MASKS


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
    with pytest.warns(NotDeterministicWarning, match=r"Two runs of .* on one input differ by 0\.\d+") as said:
        method(noisy(), IMAGES)
    assert len([each for each in said if each.category is NotDeterministicWarning]) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", NotDeterministicWarning)
        method(classifier(), IMAGES)


def test_runs_that_differ_by_rounding_are_alike():
    assert trace_model(noisy(1e-7), IMAGES[:2]).spread == 0
    assert trace_model(noisy(1e-3), IMAGES[:2]).spread > 0


@pytest.mark.parametrize("method", (ATTRIBUTIONS | CIRCUITS).values(), ids=ATTRIBUTIONS | CIRCUITS)
def test_a_class_that_there_is_not_is_said(method):
    for target in (3, -1):
        with pytest.raises(ValueError, match=rf"^target {target} is no class of the model: it has 3, 0 to 2\.$"):
            method(classifier(), IMAGES[:2], target)
    for target, said in (("cat", "is 'cat'"), (1.0, r"is of type torch\.float32"), (True, r"is of type torch\.bool")):
        with pytest.raises(ValueError, match=rf"^target {said}, but whole numbers of classes are needed\.$"):
            method(classifier(), IMAGES[:2], target)


@pytest.mark.parametrize("number", [12, -1])
def test_a_sample_that_there_is_not_is_said(number):
    with pytest.raises(ValueError, match=rf"^number is {number}, but there are 12 samples: give one from 0 to 11\.$"):
        find_region(configurations(classifier(), "1", IMAGES), number, k=4)


def test_circuits_that_are_of_something_else():
    net, index = classifier(), index_of(classifier())
    assert find_circuits(net, index, IMAGES[:1], torch.tensor([1])).settings["target"] == 1
    for several in (lambda: find_circuits(net, index, IMAGES[:2]), lambda: ablation_drop(net, GRAPH, index, IMAGES, 0)):
        with pytest.raises(ValueError, match=r"^sample has \d+ rows, but circuits are of one sample: sample\[:1\]\.$"):
            several()
    with pytest.raises(ValueError, match="graph is of blocks 0, 2, but the index of 0, 1: give the index that it was"):
        ablation_drop(net, CircuitGraph(("0", "2"), ((0, 1),), ()), index, IMAGES[:1], 0)
    with pytest.raises(ValueError, match="blocks names none: give those whose units are to be indexed"):
        index_of(net, [])
    narrow = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 8, 3), nn.ReLU()).eval()
    with pytest.raises(ValueError, match=r"^block '1' has 4 units, but .* at least 8 random ones: leave it out"):
        find_circuits(narrow, index_of(narrow, ["1", "3"]), IMAGES[:1])
    with pytest.raises(ValueError, match=r"^n_random is 7, but a spread of random units needs at least 8\.$"):
        find_circuits(net, index, IMAGES[:1], n_random=7)


def test_layers_that_never_ran_or_have_no_gate_and_too_few_samples():
    for see in (
        lambda: configurations(never(), "spare", IMAGES),
        lambda: layer_states(never(), "spare", lambda numbers: IMAGES[numbers], len(IMAGES)),
        lambda: index_of(never(), ["net.0", "spare"]),
        lambda: call_blocks(never(), ["net.0", "spare"], IMAGES[:1]),
    ):
        with pytest.raises(ValueError, match=NEVER):
            see()
    many = nn.Sequential(*(nn.Identity() for _ in range(12)), never()).eval()
    with pytest.raises(ValueError, match=r"name one that runs \(('\S+', ){7}'\S+' and 12 more\)"):
        index_of(many, ["12.spare"])
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
