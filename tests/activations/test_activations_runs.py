"""A layer that runs several times in one pass: each run by its own name, in recording, edits, files and copies."""

import copy

import pytest
import torch
from activation_toys import snapshot
from torch import nn

from genmend.activations import (
    ActivationRate,
    Correction,
    ScaleUnits,
    attach,
    edited,
    load_correction,
    record,
    save_correction,
)
from genmend.activations.layers import UnknownLayerError, find_layer, run_number
from genmend.activations.runs import begin_pass


class Shared(nn.Module):
    """Three layers of different widths with one activation module between and behind them."""

    def __init__(self):
        super().__init__()
        self.act = nn.LeakyReLU(0.1)
        self.first, self.second, self.third = nn.Linear(2, 3), nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.act(self.third(self.tail(self.act(self.first(x)))))

    def tail(self, x):
        return self.act(self.second(x))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Shared().requires_grad_(False)


X = torch.tensor([[1.0, -2.0], [0.5, 3.0]])


def by_hand(net, x, change=lambda run, values: values):
    runs = []
    for run, layer in enumerate([net.first, net.second, net.third], start=1):
        x = nn.functional.leaky_relu(layer(x), 0.1)
        runs.append(x)
        x = change(run, x)
    return runs, x


def test_each_run_is_recorded_under_its_number(net):
    runs, _ = by_hand(net, X)
    for _ in range(2):  # in each call of the model anew
        with record(net, ["act#3", "act#1", "act#2"]) as outputs:
            net(X)
            net(X)
        for number, expected in enumerate(runs, start=1):
            assert torch.equal(outputs[f"act#{number}"], expected)
    with record(net, ["act#2"], stop=True) as outputs:
        net(X)
    assert torch.equal(outputs["act#2"], runs[1])


def test_a_statistic_takes_its_run_alone(net):
    rate = ActivationRate()
    with record(net, ["act#2"], reduce={"act#2": rate}):
        net(X)
        net(-X)
    assert rate.rate.shape == (4,)
    positive = torch.cat([by_hand(net, x)[0][1] > 0 for x in (X, -X)])
    assert torch.equal(rate.rate, positive.double().mean(0))


@pytest.mark.parametrize("run", [1, 2, 3])
def test_an_edit_of_a_run_leaves_the_others_alone(net, run):
    before = snapshot(net)
    _, expected = by_hand(
        net, X, lambda number, x: x * torch.tensor([0.0, 1, 1, 1])[: x.shape[1]] if number == run else x
    )
    with edited(net, ScaleUnits(f"act#{run}", [0], 0.0)):
        assert torch.equal(net(X), expected)
        assert torch.equal(net(X), expected)
    assert snapshot(net) == before


def test_an_edit_without_a_number_acts_on_every_run(net):
    _, expected = by_hand(net, X, lambda number, x: x * torch.tensor([0.0, 1, 1, 1])[: x.shape[1]])
    with edited(net, ScaleUnits("act", [0], 0.0)):
        assert torch.equal(net(X), expected)


def test_a_run_that_never_came_had_no_effect_and_says_so(net):
    with pytest.warns(UserWarning, match="'act#4'"), edited(net, ScaleUnits("act#4", [0], 0.0)):
        net(X)


def test_a_pass_that_calls_parts_of_the_model_is_begun_by_hand(net):
    runs, _ = by_hand(net, X)
    with record(net, ["act#1"]) as outputs:
        begin_pass(net)
        net.tail(runs[0])
        first = outputs["act#1"]
        begin_pass(net)
        net.tail(2 * runs[0])
    assert torch.equal(first, runs[1])
    assert not torch.equal(outputs["act#1"], first)


def test_a_correction_file_keeps_the_number(net, tmp_path):
    correction = Correction.of(net, [[ScaleUnits("act#2", [0, 3], 0.0)]])
    save_correction(tmp_path / "c.safetensors", correction)
    loaded = load_correction(tmp_path / "c.safetensors")
    assert loaded == correction
    _, expected = by_hand(net, X, lambda number, x: x * torch.tensor([0.0, 1, 1, 0]) if number == 2 else x)
    with edited(net, loaded, rung=0):
        assert torch.equal(net(X), expected)


def test_a_copy_counts_its_own_runs(net):
    plain = net(X)
    handle = attach(net, ScaleUnits("act#2", [0], 0.0))
    changed = net(X)
    other = copy.deepcopy(net)
    handle.remove()
    assert torch.equal(net(X), plain)
    assert torch.equal(other(X), changed)
    assert torch.equal(other(X), changed)


def test_runs_are_those_of_the_compiled_module_too(net):
    handle = attach(net, ScaleUnits("act#2", [0], 0.0))
    changed = net(X)
    compiled = torch.compile(net, backend="eager")
    assert torch.equal(compiled(X), changed)
    assert torch.equal(compiled(X), changed)
    handle.remove()
    with record(compiled, ["act#2"]) as outputs:
        compiled(X)
    assert torch.equal(outputs["act#2"], by_hand(net, X)[0][1])


def test_names_with_a_number_are_found_and_others_are_not(net):
    assert find_layer(net, "act#2") is net.act
    assert run_number(net, "act") is None
    assert run_number(net, "act#12") == 12
    for name in ("act#0", "act#", "act#x", "#2", "akt#2"):
        with pytest.raises(UnknownLayerError):
            find_layer(net, name)
    net.add_module("odd#2", nn.Identity())  # a name of the user's own that looks like one
    assert find_layer(net, "odd#2") is net.get_submodule("odd#2")
    assert run_number(net, "odd#2") is None
