"""Edits on models of every kind: tuples, other dtypes, offloaded, under inference mode, copied."""

import copy

import pytest
import torch
from activation_toys import EDITS, Shift, Styled, TupleNet, generator, latents, scale_units, snapshot
from torch import nn

from genmend.activations import ScaleUnits, attach, edited


@pytest.mark.parametrize("container", [tuple, list, Styled])
def test_tuples_keep_their_type_and_their_other_items(container):
    net, x = TupleNet(container), torch.ones(1, 2)
    plain = net(x)
    with edited(net, ScaleUnits("block", [0], 0.0)):
        result = net(x)
    assert type(result) is container
    assert result[0].tolist() == [[0.0, 2.0]]
    assert torch.equal(result[1], plain[1])


def test_nested_tuples_and_recurrent_layers():
    lstm = nn.Sequential(nn.LSTM(2, 3, batch_first=True))
    x = torch.randn(1, 4, 2)
    plain, (hidden, cell) = lstm(x)
    with edited(lstm, Shift("0", 1.0)):
        shifted, states = lstm(x)
    assert torch.equal(shifted, plain + 1)
    assert torch.equal(states[0], hidden)
    assert torch.equal(states[1], cell)


@pytest.mark.parametrize("make", EDITS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_edits_follow_the_dtype_of_the_model(make, dtype):
    net, z = generator(dtype=dtype), latents(dtype=dtype)
    with torch.no_grad(), edited(net, make(strength=0.3)):
        image = net(z)
    with torch.no_grad():
        expected = net.main[3:](make(strength=0.3).apply(net.main[:3](z)))
    assert image.dtype == dtype
    torch.testing.assert_close(image, expected, rtol=1e-2 if dtype != torch.float64 else 1e-12, atol=1e-6)


@pytest.mark.parametrize("make", EDITS)
def test_edits_follow_a_model_that_changes_after_attaching(make):
    net, z = generator(), latents()
    with torch.no_grad(), edited(net, make(strength=0.5)):
        net.double()
        image = net(z.double())
    assert image.dtype == torch.float64


@pytest.mark.parametrize("make", EDITS)
def test_a_model_kept_on_meta_between_calls_loses_no_edit(make):
    net = generator()
    weights = {name: value.clone() for name, value in net.state_dict().items()}
    with edited(net.to("meta"), make()):
        net.to_empty(device="cpu").load_state_dict(weights)
        changed = net(latents())
    with edited(net, make()):
        assert torch.equal(net(latents()), changed)


@pytest.mark.parametrize("make", EDITS)
def test_attached_copies_do_not_follow_the_tensors_they_came_from(make):
    net, edit = generator(), make()
    with edited(net, edit):
        image = net(latents())
        for value in vars(edit).values():
            if isinstance(value, torch.Tensor):
                value.zero_()
        assert torch.equal(net(latents()), image)


@pytest.mark.parametrize("make", EDITS)
def test_attached_in_inference_mode_and_used_outside(make):
    net, z = generator(), latents()
    with torch.inference_mode():
        handle = attach(net, make(strength=0.2))
        net(z)
    handle.set(strength=1.0)
    image = net(z)
    image.sum().backward()
    handle.remove()
    with edited(net, make()):
        assert torch.equal(net(z), image)
    assert net.main[0].weight.grad.abs().sum() > 0


def test_a_deep_copy_of_an_edited_model_keeps_edits_of_its_own():
    net, z = generator(), latents()
    plain = net(z)
    with edited(net, scale_units()) as handle:
        changed = net(z)
        twin = copy.deepcopy(net)
        handle.set(strength=0.0)
        assert torch.equal(net(z), plain)
        assert torch.equal(twin(z), changed)
        with torch.no_grad():
            twin.main[5].weight.zero_()
        assert torch.equal(net(z), plain)
        assert not torch.equal(twin(z), changed)
        twin.load_state_dict(net.state_dict())
    assert torch.equal(twin(z), changed)
    assert torch.equal(net(z), plain)


def test_a_deep_copy_of_a_plain_model_is_edited_alone():
    net, z = generator(), latents()
    plain, twin = net(z), copy.deepcopy(net)
    before = snapshot(net)
    with edited(twin, scale_units()):
        assert not torch.equal(twin(z), plain)
        assert torch.equal(net(z), plain)
        assert snapshot(net) == before
