"""The labelled device refuses what torch refuses between devices, allows what it allows, and keeps every value."""

import copy

import numpy as np
import pytest
import torch
from labelled_device import labelled_device
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

REFUSED = {
    "a sum": lambda cpu, cuda: cuda + cpu,
    "in place": lambda cpu, cuda: cpu.add_(cuda),
    "a product": lambda cpu, cuda: cuda @ cpu,
    "a number on the device": lambda cpu, cuda: cpu + cuda[0, 0],
    "a condition": lambda cpu, cuda: torch.where(cpu > 0, cuda, cuda),
    "a concatenation": lambda cpu, cuda: torch.cat([cuda, cpu]),
    "numbers in a stack": lambda cpu, cuda: torch.stack([cuda[0, 0], cpu[0, 0]]),
    "a mask on the device": lambda cpu, cuda: cpu[cuda > 0],
    "rows on the device": lambda cpu, cuda: cpu.index_select(0, (cuda[0] > 0).long()),
    "a layer": lambda cpu, cuda: functional.linear(cuda, cpu),
}
ALLOWED = {
    "a number": lambda cpu, cuda: cuda * cpu[0, 0],
    "rows": lambda cpu, cuda: cuda[torch.tensor([1, 0])],
    "a copy": lambda cpu, cuda: cuda.copy_(cpu),
    "a move": lambda cpu, cuda: cpu.to(cuda) + cuda,
    "a place": lambda cpu, cuda: cuda.index_put((torch.tensor([0]), torch.tensor([1])), cpu[0, 0]),
    "what torch makes itself": lambda cpu, cuda: torch.quantile(cuda, 0.5) + cuda,
    "a new one": lambda cpu, cuda: cuda.new_tensor([1.0, 2.0]) + torch.zeros(2, device=cuda.device) + cuda,
}


def a_and_b(device):
    return torch.arange(4.0).view(2, 2) - 1, (torch.arange(4.0).view(2, 2) / 4).to(device)


@pytest.mark.parametrize("name", REFUSED)
def test_devices_do_not_mix(name):
    REFUSED[name](*a_and_b("cpu"))
    with labelled_device() as device, pytest.raises(RuntimeError, match="device"):
        REFUSED[name](*a_and_b(device))


@pytest.mark.parametrize("name", ALLOWED)
def test_values_are_those_of_the_cpu(name):
    expected = ALLOWED[name](*a_and_b("cpu"))
    with labelled_device() as device:
        found = ALLOWED[name](*a_and_b(device))
        assert found.device == device
        torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=0)


# They let a number pass everywhere, and cannot know how many rows a mask leaves.
@pytest.mark.parametrize("name", sorted({*REFUSED, *ALLOWED} - {"numbers in a stack", "a mask on the device"}))
def test_torchs_fake_tensors_agree(name):
    with FakeTensorMode(allow_non_fake_inputs=True):
        cpu, cuda = torch.ones(2, 2), torch.ones(2, 2, device="cuda")
        if name in ALLOWED:
            assert ALLOWED[name](cpu, cuda).device.type == "cuda"
        else:
            with pytest.raises(Exception, match="device"):
                REFUSED[name](cpu, cuda)


def test_what_leaves_torch_has_to_be_on_the_cpu():
    with labelled_device():
        values = torch.ones(2, device="cuda")
        for leave in (lambda: values.numpy(), lambda: np.asarray(values)):
            with pytest.raises(TypeError, match=r"Tensor\.cpu"):
                leave()
        assert values.tolist() == values.cpu().numpy().tolist() == [1, 1]


def test_a_generator_draws_on_its_own_device():
    with labelled_device() as device:
        for place, other in ((device, "cpu"), ("cpu", device)):
            draw = torch.Generator(place).manual_seed(0)
            assert torch.randn(2, generator=draw, device=place).device == torch.device(place)
            with pytest.raises(RuntimeError, match="generator"):
                torch.randn(2, generator=draw, device=other)


def test_modules_and_gradients_move():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LSTM(4, 2)).eval()
    images = torch.rand(2, 3, 3, 3)
    before = torch.zeros_like(images).requires_grad_()
    expected = net(images + before)[0]
    with labelled_device() as device:
        moved, start = copy.deepcopy(net).to(device), before.detach().requires_grad_()
        assert all(one.device == device for one in moved.state_dict().values())
        found = copy.deepcopy(moved)((images + start).to(device))[0]
        torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=0)
        found.sum().backward()
        assert start.grad.device.type == "cpu"
        assert start.grad.any()
        assert moved.double().to("cpu")[0].weight.device.type == "cpu"
    assert images.device.type == "cpu"
