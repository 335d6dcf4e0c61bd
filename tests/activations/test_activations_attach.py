import gc
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import MethodType

import pytest
import torch
from activation_toys import (
    EDITS,
    LAYER,
    BrokenAfter,
    Shift,
    generator,
    latents,
    misfit,
    pull_to_mean,
    same_bits,
    scale_units,
    snapshot,
)
from torch import nn

from genmend.activations import Edit, ScaleUnits, attach, edited, record
from genmend.activations.layers import UnknownLayerError


@contextmanager
def attached(model, *edits) -> Iterator[None]:
    """`attach` as people use it without `edited`."""
    handle = attach(model, *edits)
    try:
        yield handle
    finally:
        handle.remove()


WAYS = [edited, attached]


@pytest.fixture
def uneven():
    """A model whose flags differ from layer to layer, so that resetting all of them would show."""
    net = generator()
    net.main[3].train()
    net.main[5].weight.requires_grad_(False)
    net.main[0].register_forward_hook(lambda module, inputs, output: None)
    return net


@pytest.mark.parametrize("make", EDITS)
@pytest.mark.parametrize("way", WAYS)
class TestEveryEditLeavesTheModelAsItWas:
    def test_after_a_normal_run(self, make, way, uneven):
        before, plain = snapshot(uneven), uneven(latents())
        with way(uneven, make()):
            changed = uneven(latents())
        assert snapshot(uneven) == before
        assert not torch.equal(changed, plain)
        assert same_bits(uneven(latents()), plain)

    def test_after_an_error_in_the_model(self, make, way, uneven):
        net = BrokenAfter(uneven)
        before = snapshot(net)
        with pytest.raises(ArithmeticError, match="the model broke"), way(net, make(f"generator.{LAYER}")):
            net(latents())
        assert snapshot(net) == before

    def test_after_an_error_in_the_edit(self, make, way, uneven):
        before, plain = snapshot(uneven), uneven(latents())
        with pytest.raises(ValueError, match=f"cannot act on layer '{LAYER}'"), way(uneven, make(), misfit(make)):
            uneven(latents())
        assert snapshot(uneven) == before
        assert same_bits(uneven(latents()), plain)

    def test_after_a_bad_second_name(self, make, way, uneven):
        before = snapshot(uneven)
        with pytest.raises(UnknownLayerError, match=r"main\.77"), way(uneven, make(), make("main.77")):
            pytest.fail("the block must not be entered")
        assert snapshot(uneven) == before


@pytest.mark.parametrize("make", EDITS)
def test_the_edit_is_what_reaches_the_next_layer(make):
    net, z = generator(), latents()
    with torch.no_grad():
        expected = net.main[3:](make().apply(net.main[:3](z)))
        with edited(net, make()):
            assert torch.equal(net(z), expected)


@pytest.mark.parametrize("make", EDITS)
def test_in_place_layers_around_an_edit_do_not_disturb_it(make):
    net, z = generator(), latents()
    with torch.no_grad():
        expected = make("main.1").apply(net.main[:2](z))
        with edited(net, make("main.1")), record(net, ["main.1"]) as outputs:
            net(z)
    assert torch.equal(outputs["main.1"], expected)


@pytest.mark.parametrize("make", EDITS)
def test_strength_zero_attached_changes_no_bit(make):
    net, z = generator(), latents()
    plain = net(z)
    with edited(net, make(strength=0.0)):
        assert same_bits(net(z), plain)


@dataclass(frozen=True, eq=False)
class Fails(Edit):
    layer: str
    strength: float = 1.0

    def apply(self, output, strength=None):
        raise LookupError("the edit broke")


def test_edits_of_one_layer_act_in_the_order_given():
    net, x = nn.Sequential(nn.Identity()), torch.ones(1, 1)
    with edited(net, ScaleUnits("0", [0], 3.0), Shift("0", 1.0)):
        assert net(x).item() == 4
    with edited(net, Shift("0", 1.0), ScaleUnits("0", [0], 3.0)):
        assert net(x).item() == 6


def test_edits_of_several_layers_act_in_the_order_the_layers_run():
    net, x = nn.Sequential(nn.Identity(), nn.Identity()), torch.ones(1, 1)
    with edited(net, ScaleUnits("1", [0], 3.0), Shift("0", 1.0)):
        assert net(x).item() == 6


def test_nested_blocks_equal_one_block_and_remove_only_their_own():
    net, z = generator(), latents()
    plain = net(z)
    with edited(net, pull_to_mean()):
        one = net(z)
    with edited(net, pull_to_mean(), scale_units()):
        both = net(z)
    with edited(net, pull_to_mean()):
        with edited(net, scale_units()):
            assert torch.equal(net(z), both)
        assert torch.equal(net(z), one)
    assert torch.equal(net(z), plain)


def test_handles_may_go_in_any_order():
    net, x = nn.Sequential(nn.Identity()), torch.ones(1, 1)
    before = snapshot(net)
    first, second = attach(net, Shift("0", 1.0)), attach(net, Shift("0", 10.0))
    assert net(x).item() == 12
    first.remove()
    assert net(x).item() == 11
    second.remove()
    assert net(x).item() == 1
    assert snapshot(net) == before


def test_one_handle_may_be_entered_again_while_open():
    net, x = nn.Sequential(nn.Identity()), torch.ones(1, 1)
    with attach(net, Shift("0", 1.0)) as handle:
        assert net(x).item() == 2
        with handle:
            assert net(x).item() == 2
        assert net(x).item() == 1
    handle.remove()
    assert handle.edits == ()
    assert not net[0]._forward_hooks


def test_a_block_may_be_entered_from_inside_the_model():
    """A model that edits a part of itself while it runs, and calls that part twice."""

    class Inner(nn.Module):
        def __init__(self):
            super().__init__()
            self.part = nn.Identity()

        def forward(self, x):
            with edited(self, Shift("part", 1.0)):
                x = self.part(x)
            return self.part(x)

    net, x = nn.Sequential(Inner()), torch.ones(1, 1)
    with edited(net, Shift("0.part", 10.0)):
        assert net(x).item() == 1 + 11 + 10
    assert net(x).item() == 2


def test_set_changes_all_strengths_or_one():
    net, x = nn.Sequential(nn.Identity()), torch.zeros(1, 1)
    edits = Shift("0", 1.0), Shift("0", 10.0)
    with edited(net, *edits) as handle:
        handle.set(strength=0.5)
        assert net(x).item() == 5.5
        handle.set(strength=1, edit=0)
        assert net(x).item() == 6.0
        assert [edit.strength for edit in handle.edits] == [1.0, 0.5]
        assert repr(handle) == "<Handle: Shift on '0' at strength 1, Shift on '0' at strength 0.5>"
    assert [edit.strength for edit in edits] == [1.0, 1.0]
    assert repr(handle) == "<Handle: nothing attached>"


def test_a_wrong_set_changes_nothing():
    net, x = nn.Sequential(nn.Identity()), torch.zeros(1, 1)
    with edited(net, Shift("0", 1.0), Shift("0", 10.0)) as handle:
        for arguments, error in [
            ({"strength": 2.0}, ValueError),
            ({"strength": "0.5"}, TypeError),
            ({"strength": 0.0, "edit": 2}, IndexError),
            ({"strength": 0.0, "edit": -1}, IndexError),
        ]:
            with pytest.raises(error):
                handle.set(**arguments)
            assert net(x).item() == 11
    with pytest.raises(RuntimeError, match="no edits attached"):
        handle.set(strength=1.0)


def test_layers_that_never_ran_are_named_on_leaving():
    net = nn.Sequential(nn.Identity(), nn.ModuleDict({"spare": nn.Identity()}))
    net.forward = lambda x: net[0](x)
    with pytest.warns(UserWarning, match="'1.spare'") as caught, edited(net, Shift("0", 1.0), Shift("1.spare", 1.0)):
        net(torch.ones(1, 1))
    assert len(caught) == 1
    assert "'0'" not in str(caught[0].message)
    assert not net[1]["spare"]._forward_hooks


def test_removal_without_a_warning_when_it_is_asked_for():
    net = generator()
    before, handle = snapshot(net), attach(net, scale_units())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        handle.remove(warn=False)
        handle.remove()
    assert snapshot(net) == before


def test_an_error_is_not_followed_by_a_warning_about_layers_it_kept_from_running():
    net = generator()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ArithmeticError), edited(net, scale_units()):
            raise ArithmeticError
    assert not net.main[2]._forward_hooks


def test_removal_is_complete_even_if_the_warning_is_an_error():
    net = generator()
    before = snapshot(net)
    handle = attach(net, scale_units())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match=LAYER):
            handle.remove()
        handle.remove()
    assert snapshot(net) == before


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_retained(fails):
    net, edit = generator(), scale_units()
    try:
        with edited(net, edit) as handle:
            image = net(latents())
            if fails:
                raise ArithmeticError
    except ArithmeticError:
        pass
    gone = [weakref.ref(thing) for thing in (net, edit, edit.scale, image)]
    gc.disable()  # reference counts alone must do; the handle is alive
    try:
        del net, edit, image
        alive = [reference() for reference in gone]
    finally:
        gc.enable()
    assert alive == [None] * 4
    assert handle.edits == ()


def test_an_edit_that_raises_an_error_of_its_own_leaves_nothing():
    net = generator()
    before = snapshot(net)
    with pytest.raises(LookupError, match="the edit broke"), edited(net, scale_units(), Fails(LAYER)):
        net(latents())
    assert snapshot(net) == before


def test_record_sees_the_edit_inside_and_not_outside():
    net, x = nn.Sequential(nn.Identity()), torch.ones(1, 1)
    with edited(net, Shift("0", 1.0)), record(net, ["0"]) as outputs:
        net(x)
    assert outputs["0"].item() == 2
    with record(net, ["0"]) as outputs, edited(net, Shift("0", 1.0)):
        net(x)
    assert outputs["0"].item() == 1


def test_the_whole_model_and_a_shared_layer_are_layers_too():
    shared = nn.Identity()
    net, x = nn.Sequential(shared, shared), torch.ones(1, 1)
    with edited(net, Shift("", 1.0)):
        assert net(x).item() == 2
    with edited(net, Shift("1", 1.0)):
        assert net(x).item() == 3  # one module, run twice


@pytest.mark.parametrize("bound", [False, True])
def test_a_forward_of_somebody_else_is_left_alone(bound):
    net, x = nn.Sequential(nn.Identity()), torch.ones(1, 1)
    net[0].forward = MethodType(lambda self, value: value * 5, net[0]) if bound else lambda value: value * 5
    before = snapshot(net)
    with edited(net, Shift("0", 1.0)):
        assert net(x).item() == 6
    assert snapshot(net) == before


def test_a_layer_that_takes_no_hook_leaves_none_on_the_others():
    class Refuses(nn.Identity):
        def register_forward_hook(self, *arguments, **options):
            raise KeyboardInterrupt

    net = nn.Sequential(nn.Identity(), Refuses())
    before = snapshot(net)
    with pytest.raises(KeyboardInterrupt):
        attach(net, Shift("0", 1.0), Shift("1", 1.0))
    assert snapshot(net) == before


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        (("main.2",), {}, "attach.. got .str."),
        (([scale_units()],), {}, "unpack lists"),
        (({"main.2": 3},), {}, "3 was given for layer 'main.2', but a function of a tensor is needed"),
        (({0: torch.relu},), {}, "layer is 0, but the name of a layer is needed"),
        ((scale_units(),), {"rung": 0}, "rung"),
        ((scale_units(),), {"allow_other_weights": True}, "allow_other_weights"),
    ],
)
def test_wrong_arguments_are_refused(arguments, options, words):
    net = generator()
    before = snapshot(net)
    with pytest.raises(TypeError, match=words):
        attach(net, *arguments, **options)
    assert snapshot(net) == before


def test_no_edits_at_all_are_no_error():
    net, z = generator(), latents()
    plain = net(z)
    with edited(net):
        assert same_bits(net(z), plain)


def test_suspended_edits_come_back_and_others_take_their_place():
    model, x = nn.Sequential(nn.Identity(), nn.Identity()), torch.ones(1, 2)
    handle = attach(model, ScaleUnits("0", [0], 3.0), ScaleUnits("1", [1], 5.0))
    whole = model(x)
    handle.suspend()
    handle.suspend()
    assert torch.equal(model(x), x)
    assert not any(vars(layer).get("forward") or layer._forward_hooks for layer in model)
    handle.set(strength=0.5, edit=0)
    handle.resume()
    assert model(x).tolist() == [[2.0, 5.0]]
    handle.refit([ScaleUnits("0", [0], 3.0), ScaleUnits("1", [0], 10.0)])
    assert model(x).tolist() == [[30.0, 1.0]]
    with pytest.raises(ValueError, match="one edit for each"):
        handle.refit([ScaleUnits("0", [0], 3.0)])
    assert model(x).tolist() == [[30.0, 1.0]]
    assert whole.tolist() == [[3.0, 5.0]]
    handle.suspend()
    handle.remove()
    handle.resume()
    assert torch.equal(model(x), x)
