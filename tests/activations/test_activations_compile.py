"""Edits and records under torch.compile: followed, refused, never silently ignored."""

import copy
import gc

import pytest
import torch
from activation_toys import EDITS, LAYER, generator, latents, pull_to_mean, scale_units, snapshot
from torch import nn
from torch._dynamo.utils import counters

from genmend.activations import PullToMean, attach, edited, record

pytestmark = pytest.mark.all


@pytest.fixture(autouse=True)
def fresh_dynamo():
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()
    gc.collect()


def graphs():
    return counters["stats"]["unique_graphs"]


def compiled_by(how, net, backend="eager"):
    if how == "torch.compile":
        return torch.compile(net, backend=backend, fullgraph=True)
    net.compile(backend=backend, fullgraph=True)
    return net


def scaled(net, z):
    """What the model returns with `scale_units`, worked out layer by layer."""
    return net.main[3:](scale_units().apply(net.main[:3](z)))


HOWS = ["torch.compile", "module.compile"]


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("how", HOWS)
def test_attached_before_the_first_call_and_set_without_a_recompile(how, backend):
    net, z = generator(), latents()
    same = copy.deepcopy(net)  # never compiled
    edits = [make(strength=0.5) for make in EDITS]
    handle, plain_handle = attach(net, *edits), attach(same, *edits)
    with torch.no_grad():
        compiled = compiled_by(how, net, backend)
        torch.testing.assert_close(compiled(z), same(z))
        assert graphs() == 1
        for strength in (0.0, 0.25, 1.0):
            handle.set(strength=strength)
            plain_handle.set(strength=strength)
            torch.testing.assert_close(compiled(z), same(z))
        assert graphs() == 1
        handle.remove()  # warns if the compiled run had not been noticed
        plain_handle.remove()
        torch.testing.assert_close(compiled(z), same(z))
    assert graphs() == 2


@pytest.mark.parametrize("how", HOWS)
def test_attaching_to_a_module_that_was_compiled_and_has_run_is_refused(how):
    net, z = generator(), latents()
    compiled = compiled_by(how, net)
    compiled(z)
    before = snapshot(net)
    for target in {id(model): model for model in (net, compiled)}.values():
        with pytest.raises(RuntimeError, match=rf"layer '{LAYER}'.*already run.*before the first compiled call"):
            attach(target, scale_units())
    with pytest.raises(RuntimeError, match="layer '2'"):
        attach(net.main, scale_units("2"))  # a part of what was compiled
    with pytest.raises(RuntimeError, match=r"layer '0\.main\.2'"):
        attach(nn.Sequential(net), scale_units("0.main.2"))  # contains what was compiled
    assert snapshot(net) == before
    torch._dynamo.reset()  # what the message advises
    with torch.no_grad():
        expected = scaled(net, z)
        with attach(net, scale_units()):
            torch.testing.assert_close(compiled(z), expected)


def test_compiled_but_not_yet_run_is_accepted():
    net, z = generator(), latents()
    other = torch.compile(generator(), backend="eager")
    other(z)  # another of the same class has run
    compiled = torch.compile(net, backend="eager")
    with torch.no_grad():
        expected = scaled(net, z)
        with attach(compiled, scale_units()):
            torch.testing.assert_close(compiled(z), expected)


def test_a_block_around_a_compiled_region_may_be_edited_at_any_time():
    net, z = generator(), latents()
    inner = nn.Sequential(torch.compile(net, backend="eager"))
    plain = inner(z)
    with edited(inner, PullToMean("", torch.zeros(3), strength=0.5)):
        assert not torch.equal(inner(z), plain)
    assert torch.equal(inner(z), plain)


def test_a_model_that_shares_the_graph_of_another_is_edited_all_the_same():
    """Graphs are shared by structure, and Dynamo does not look at hooks that were not there when it built one."""
    z = latents()
    with torch.no_grad():
        torch.compile(generator(), backend="eager", fullgraph=True)(z)
        net = generator()
        expected = scaled(net, z)
        with edited(net, scale_units()):
            torch.testing.assert_close(torch.compile(net, backend="eager", fullgraph=True)(z), expected)
        third = generator()
        with edited(third, pull_to_mean()):
            image = torch.compile(third, backend="eager", fullgraph=True)(z)
        torch.testing.assert_close(image, third.main[3:](pull_to_mean().apply(third.main[:3](z))))


def test_a_compiled_function_follows_edits_that_come_late_and_go():
    net, z = generator(), latents()

    @torch.compile(backend="eager", fullgraph=True)
    def twice(z):
        return 2 * net(z)

    with torch.no_grad():
        plain = twice(z)
        changed = 2 * scaled(net, z)
        with edited(net, scale_units()):
            torch.testing.assert_close(twice(z), changed)
            with edited(net, pull_to_mean()):
                both = twice(z)
            torch.testing.assert_close(twice(z), changed)
        torch.testing.assert_close(twice(z), plain)
        with edited(net, scale_units(), pull_to_mean()):
            torch.testing.assert_close(twice(z), both)


@pytest.mark.filterwarnings("ignore:torch.compile with fullgraph=True found no compiled frames")
@pytest.mark.parametrize("how", HOWS)
def test_a_compiled_model_is_recorded_and_its_graph_kept(how):
    net, z = generator(), latents()
    with torch.no_grad():
        expected = net.main[:3](z)
        compiled = compiled_by(how, net)
        image = compiled(z)
        with record(compiled, [LAYER]) as outputs:
            torch.testing.assert_close(compiled(z), image)
        torch.testing.assert_close(outputs[LAYER], expected)
        with record(net, [LAYER], stop=True, reduce=torch.mean) as outputs:
            compiled(z)
        torch.testing.assert_close(outputs[LAYER], expected.mean())
        compiled(z)
    assert graphs() == 1


def test_record_sees_edits_of_a_compiled_model():
    net, z = generator(), latents()
    with torch.no_grad(), attach(net, scale_units()):
        compiled = torch.compile(net, backend="eager")
        compiled(z)
        with record(net, [LAYER]) as outputs:
            compiled(z)
    with torch.no_grad():
        torch.testing.assert_close(outputs[LAYER], scale_units().apply(net.main[:3](z)))
