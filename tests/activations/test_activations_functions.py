"""Any function as an edit: for the length of a block, out of place, checked, and never in a file."""

import copy

import pytest
import torch
from activation_toys import LAYER, BrokenAfter, TupleNet, generator, latents, scale_units, snapshot
from torch import nn

from genmend.activations import Correction, attach, edited, record, save_correction
from genmend.activations.edits import ApplyFunction
from genmend.activations.layers import UnknownLayerError


def test_the_output_is_what_the_function_returns():
    net, z = generator(), latents()
    before, plain = snapshot(net), net(z)
    tail = net.main[3:]
    with torch.no_grad(), edited(net, {LAYER: lambda output: output.flip(1) * 2}):
        found = net(z)
    torch.testing.assert_close(found, tail(net.main[:3](z).flip(1) * 2), rtol=0, atol=0)
    assert torch.equal(net(z), plain)
    assert snapshot(net) == before


def test_functions_of_several_layers_and_edits_go_together():
    net, z = generator(), latents()
    with edited(net, {"main.0": torch.neg, "main.5": torch.zeros_like}, scale_units()) as handle:
        assert [edit.layer for edit in handle.edits] == ["main.0", "main.5", LAYER]
        assert "ApplyFunction on 'main.0' at strength 1" in repr(handle)
        assert torch.equal(net(z), torch.zeros(3, 3, 8, 8))


def test_attached_until_it_is_removed_and_at_any_strength():
    net, z = generator(), latents()
    plain = net(z)
    with record(net, [LAYER]) as recorded:
        net(z)
    layer = recorded[LAYER]
    handle = attach(net, {LAYER: lambda output: output + 1})
    for strength in (1.0, 0.25, 0.0):
        handle.set(strength=strength)
        torch.testing.assert_close(net(z), net.main[3:](layer + strength), rtol=1e-5, atol=1e-5)
    assert torch.equal(net(z), plain)  # at strength 0, every bit
    handle.remove()
    assert torch.equal(net(z), plain)


def test_blocks_nest_and_each_removes_its_own():
    net, z = generator(), latents()
    before, plain = snapshot(net), net(z)
    with edited(net, {LAYER: lambda output: output * 2}):
        doubled, inside = net(z), snapshot(net)
        with edited(net, {LAYER: lambda output: output / 2}):
            assert torch.equal(net(z), plain)  # powers of two: no rounding
        assert snapshot(net) == inside
        assert torch.equal(net(z), doubled)
    assert snapshot(net) == before


@pytest.mark.parametrize("container", [tuple, list])
def test_of_a_tuple_the_first_tensor_is_meant(container):
    net, x = TupleNet(container), torch.ones(1, 2)
    with edited(net, {"block": torch.neg}):
        features, style = net(x)
    assert features.tolist() == [[-2, -2]]
    assert style == 2


def test_a_recurrent_network_and_attention():
    x = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0))
    for net in (nn.LSTM(4, 6, batch_first=True), nn.TransformerEncoderLayer(4, 2, 8, batch_first=True).eval()):
        model, before = nn.ModuleDict({"inner": net}), snapshot(net)
        with torch.no_grad(), edited(model, {"inner": torch.zeros_like}):
            found = net(x)
        assert (found[0] if isinstance(found, tuple) else found).abs().sum() == 0
        assert snapshot(net) == before


def test_what_the_function_does_in_place_changes_no_other_tensor():
    net, z = generator(), latents()
    kept = []
    net.main[2].register_forward_hook(lambda module, inputs, output: kept.append((output, output.clone())))
    with torch.no_grad(), edited(net, {LAYER: lambda output: output.zero_()}):
        found = net(z)
    ((output, as_it_was),) = kept
    # The next layer's in-place activation is not this one's: compare before it, by the function's own result.
    assert torch.equal(output, as_it_was)
    torch.testing.assert_close(found, net.main[3:](torch.zeros_like(output)), rtol=0, atol=0)


def test_gradients_pass_through_the_function():
    net, z = generator(), latents().requires_grad_(True)
    with edited(net, {LAYER: lambda output: output * 0.5}):
        net(z).sum().backward()
    assert z.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("function", "error", "words"),
    [
        (lambda output: None, TypeError, "returned NoneType, but a tensor is needed; return the edited output"),
        (lambda output: output.numpy(), TypeError, "returned ndarray"),
        (lambda output: output[:1], ValueError, r"returned torch.float32 of shape \(1, 8, 4, 4\)"),
        (lambda output: output.mean(0), ValueError, r"shape \(8, 4, 4\) for torch.float32 of shape \(3, 8, 4, 4\)"),
        (lambda output: output.double(), ValueError, "returned torch.float64"),
        (lambda output: output > 0, ValueError, "returned torch.bool"),
        (lambda output: output @ 3, TypeError, "Tensor"),
        (lambda output: {}["a"], KeyError, "a"),
    ],
)
@pytest.mark.parametrize("make", [generator, lambda: BrokenAfter(generator())])
def test_a_bad_result_is_named_and_leaves_no_hook(make, function, error, words):
    net = make()
    layer = LAYER if make is generator else f"generator.{LAYER}"
    before = snapshot(net)
    with torch.no_grad(), pytest.raises(error, match=words) as caught, edited(net, {layer: function}):
        net(latents())
    if error is ValueError:
        assert f"The function for layer {layer!r}" in str(caught.value)
    assert snapshot(net) == before


def test_an_error_in_the_model_leaves_no_hook():
    net = BrokenAfter(generator())
    before = snapshot(net)
    with pytest.raises(ArithmeticError), edited(net, {f"generator.{LAYER}": torch.neg}):
        net(latents())
    assert snapshot(net) == before


def test_a_second_name_that_no_layer_has_attaches_nothing():
    net = generator()
    before = snapshot(net)
    with pytest.raises(UnknownLayerError, match=r"main\.77"), edited(net, {LAYER: torch.neg, "main.77": torch.neg}):
        pytest.fail("the block must not be entered")
    assert snapshot(net) == before


def test_a_copy_of_the_model_keeps_the_function():
    net, z = generator(), latents()
    with edited(net, {LAYER: torch.zeros_like}):
        twin, inside = copy.deepcopy(net), net(z)
    assert torch.equal(twin(z), inside)
    assert not torch.equal(net(z), inside)


def test_no_file_can_hold_it(tmp_path):
    made = Correction.of(generator(), [[ApplyFunction(LAYER, torch.neg)]])
    with pytest.raises(ValueError, match=r"ApplyFunction has no name in correction files; register a class"):
        save_correction(tmp_path / "c.safetensors", made)
    assert not list(tmp_path.iterdir())
    with pytest.raises(TypeError, match="sequences of edits"):
        Correction.of(generator(), [{LAYER: torch.neg}])
