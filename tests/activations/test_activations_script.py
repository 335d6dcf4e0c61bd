"""Where hooks can't reach, or not when one would think: scripted modules, checkpointing; and nothing that piles up."""

import gc

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from genmend.activations import ScaleUnits, attach, edited, record

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU()).eval()


def script(module):
    return torch.jit.script(module)


def trace(module):
    return torch.jit.trace(module, torch.ones(1, 1, 2, 2))


@pytest.mark.parametrize("compiled", [script, trace])
@pytest.mark.parametrize(("wrap", "layer", "where"), [(False, "1", "the model"), (True, "0.1", "'0'")])
def test_a_layer_inside_a_scripted_or_traced_module_is_refused_by_name(compiled, wrap, layer, where):
    model = nn.Sequential(compiled(net())) if wrap else compiled(net())
    says = f"Layer '{layer}' .* because {where} is a scripted or traced module"
    with pytest.raises(TypeError, match=says):
        attach(model, ScaleUnits(layer, [0], 0.0))
    with pytest.raises(TypeError, match=says), record(model, [layer]):
        pass


def test_a_scripted_module_as_the_layer_itself_is_refused():
    with pytest.raises(TypeError, match=r"Layer '0' .* because '0' is a scripted"):
        attach(nn.Sequential(script(net())), ScaleUnits("0", [0], 0.0))


def test_the_output_of_a_traced_module_and_layers_beside_it_can_be_edited():
    model, x = nn.Sequential(trace(net()), nn.Sigmoid()), torch.ones(1, 1, 2, 2)
    for layer in ("0", "1"):
        with edited(model, {layer: lambda output: output + 1}), record(model, [layer]) as outputs:
            result = model(x)
        assert outputs
        assert not torch.equal(result, model(x))


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_sees_the_edit_while_backward_runs_inside_the_block(reentrant):
    model, x = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Sigmoid()), torch.ones(1, 1, 2, 2, requires_grad=True)

    def gradient(run):
        x.grad = None
        with edited(model, {"0": lambda output: output * 3}):
            run(x).sum().backward()
        return x.grad

    plain = gradient(model).clone()
    assert plain.abs().sum() > 0
    assert torch.equal(gradient(lambda given: checkpoint(model, given, use_reentrant=reentrant)), plain)


def test_two_hundred_attachments_leave_no_object_behind():
    model, x = net(), torch.ones(1, 1, 2, 2)

    def cycle():
        with edited(model, ScaleUnits("1", [0], 0.5)), record(model, ["0"]):
            model(x)

    cycle()
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(200):
        cycle()
    gc.collect()
    assert len(gc.get_objects()) - before < 20
