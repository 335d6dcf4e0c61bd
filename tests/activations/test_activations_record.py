import gc
import weakref

import pytest
import torch
from activation_toys import BrokenAfter, Styled, TupleNet, generator, latents, snapshot
from torch import nn

from genmend.activations import ActivationRate, MeanVariance, record
from genmend.activations.layers import UnknownLayerError


def test_outputs_are_those_of_the_layers():
    net, z = generator(), latents()
    with torch.no_grad(), record(net, ["main.0", "main.3"]) as outputs:
        image = net(z)
    with torch.no_grad():
        first = net.main[0](z)
        fourth = net.main[:4](z)
        assert torch.equal(image, net(z))
    assert torch.equal(outputs["main.0"], first)
    assert torch.equal(outputs["main.3"], fourth)


def test_a_later_in_place_layer_does_not_reach_what_was_recorded():
    net = nn.Sequential(nn.Identity(), nn.ReLU(inplace=True))
    with record(net, ["0", "1"]) as outputs:
        net(torch.tensor([[-1.0, 2.0]]))
    assert outputs["0"].tolist() == [[-1.0, 2.0]]
    assert outputs["1"].tolist() == [[0.0, 2.0]]


def test_detached_by_default_and_differentiable_on_request():
    net, z = generator(), latents()
    with record(net, ["main.3"]) as outputs:
        net(z)
    assert not outputs["main.3"].requires_grad
    with record(net, ["main.3"], detach=False) as outputs:
        net(z)
    outputs["main.3"].sum().backward()
    assert net.main[0].weight.grad.abs().sum() > 0
    assert net.main[5].weight.grad is None


@pytest.mark.parametrize("container", [tuple, list, Styled])
def test_the_first_tensor_of_a_tuple_is_recorded(container):
    net = TupleNet(container)
    with record(net, ["block"]) as outputs:
        net(torch.ones(1, 2))
    assert outputs["block"].tolist() == [[2.0, 2.0]]


def test_a_layer_without_any_tensor_is_named():
    class Words(nn.Module):
        def forward(self, x):
            return {"text": "none"}

    net = nn.Sequential(Words())
    with pytest.raises(TypeError, match=r"Layer '0' returned dict"), record(net, ["0"]):
        net(torch.ones(1))
    assert not net[0]._forward_hooks


def test_the_latest_call_of_a_layer_stays():
    net = nn.Sequential(nn.Identity())
    with record(net, ["0"]) as outputs:
        net(torch.zeros(1))
        net(torch.ones(1))
    assert outputs["0"].tolist() == [1.0]


class Counting(nn.Module):
    calls = 0

    def forward(self, x):
        type(self).calls += 1
        return x


def test_stop_ends_the_forward_once_all_layers_have_run():
    Counting.calls = 0
    net = nn.Sequential(nn.Identity(), nn.ReLU(), Counting())
    after = []
    with record(net, ["1", "0"], stop=True) as outputs:
        net(torch.tensor([-1.0]))
        after.append("reached")
    assert Counting.calls == 0
    assert not after
    assert outputs["0"].tolist() == [-1.0]
    assert outputs["1"].tolist() == [0.0]
    net(torch.tensor([-1.0]))
    assert Counting.calls == 1


def test_stop_without_any_forward_is_no_error():
    with record(generator(), ["main.2"], stop=True) as outputs:
        pass
    assert outputs == {}


def test_stop_does_not_swallow_other_errors():
    net = BrokenAfter(generator())
    before = snapshot(net)
    with pytest.raises(ArithmeticError, match="the model broke"), record(net, ["", "generator.main.2"], stop=True):
        net(latents())
    assert snapshot(net) == before


@pytest.mark.parametrize(("inner", "outer"), [("0", "1"), ("1", "0")])
def test_nested_stops_end_their_own_block_only(inner, outer):
    net = nn.Sequential(nn.Identity(), nn.ReLU(), nn.Identity())
    reached = []
    with record(net, [outer], stop=True) as outside:
        with record(net, [inner], stop=True) as inside:
            net(torch.tensor([-1.0]))
        reached.append("after the inner block")
    # Layer 0 runs first: its block ends, and if that is the outer one it ends both.
    assert reached == (["after the inner block"] if inner == "0" else [])
    assert (list(inside), list(outside)) == ((["0"], []) if inner == "0" else ([], ["0"]))
    assert not any(layer._forward_hooks for layer in net)


def test_a_layer_that_did_not_run_is_a_telling_key_error():
    net = generator()
    with record(net, ["main.2"]) as outputs:
        pass
    with pytest.raises(KeyError, match=r"'main.2' is not among the recorded ones \[\]"):
        outputs["main.2"]


def test_a_bad_second_name_leaves_no_hook():
    net = generator()
    before = snapshot(net)
    with pytest.raises(UnknownLayerError), record(net, ["main.2", "main.99"]):
        pass
    assert snapshot(net) == before


def test_an_error_in_the_model_leaves_no_hook_and_keeps_what_was_recorded():
    net = BrokenAfter(generator())
    before = snapshot(net)
    with pytest.raises(ArithmeticError), record(net, ["generator.main.2"]) as outputs:
        net(latents())
    assert snapshot(net) == before
    assert outputs["generator.main.2"].shape == (3, 8, 4, 4)


@pytest.mark.parametrize(
    ("layers", "reduce", "error", "words"),
    [
        ("main.2", None, TypeError, r"write \['main.2'\]"),
        (["main.2", "main.2"], None, ValueError, "twice"),
        (["main.2"], ActivationRate(), TypeError, "wrap a single statistic"),
        (["main.2"], {"main.3": ActivationRate()}, ValueError, "'main.3'"),
        (["main.2"], {"main.2": len}, TypeError, "without update"),
    ],
)
def test_wrong_arguments_are_refused_before_any_hook(layers, reduce, error, words):
    net = generator()
    before = snapshot(net)
    with pytest.raises(error, match=words), record(net, layers, reduce=reduce):
        pass
    assert snapshot(net) == before


def test_reduce_by_a_function_keeps_its_result_only():
    net, z = generator(), latents()
    with record(net, ["main.2"]) as whole:
        net(z)
    with record(net, ["main.2"], reduce=lambda r: r.amax((2, 3))) as outputs:
        net(z)
    assert torch.equal(outputs["main.2"], whole["main.2"].amax((2, 3)))


def test_a_reduction_that_is_a_view_is_safe_from_in_place_layers_too():
    net = nn.Sequential(nn.Identity(), nn.ReLU(inplace=True))
    with record(net, ["0"], reduce=lambda r: r[:, :1]) as outputs:
        net(torch.tensor([[-1.0, 2.0]]))
    assert outputs["0"].tolist() == [[-1.0]]


def test_streaming_statistics_see_every_batch_and_hold_no_activation():
    net, z = generator(), latents(6)
    seen = []

    class Spy(ActivationRate):
        def update(self, batch):
            seen.append(weakref.ref(batch))
            super().update(batch)

    rate, moments = Spy(), MeanVariance("unit")
    with (
        torch.no_grad(),
        record(net, ["main.2", "main.4", "main.5"], reduce={"main.2": rate, "main.4": moments}) as outputs,
    ):
        for batch in z.split(2):
            net(batch)
    with torch.no_grad():
        full = net.main[:3](z)
    assert outputs["main.2"] is rate
    assert outputs["main.4"] is moments
    assert outputs["main.5"].shape == (2, 3, 8, 8)
    assert rate.count == 6
    assert torch.equal(rate.rate, (full > 0).double().mean(0))
    assert moments.count == 6 * 64
    gc.collect()
    assert len(seen) == 3
    assert all(reference() is None for reference in seen)


@pytest.mark.parametrize("stop", [False, True])
def test_nothing_is_retained_after_the_block(stop):
    net = generator()
    with record(net, ["main.2"], stop=stop) as outputs:
        net(latents())
    gone = [weakref.ref(net), weakref.ref(outputs["main.2"])]
    gc.disable()  # reference counts alone must do
    try:
        del net, outputs
        alive = [reference() for reference in gone]
    finally:
        gc.enable()
    assert alive == [None, None]


def test_leaving_restores_the_model():
    net = generator()
    net.main[3].train()
    net.main[5].weight.requires_grad_(False)
    before = snapshot(net)
    with record(net, ["", "main.0", "main.2"], stop=True):
        net(latents())
    assert snapshot(net) == before
