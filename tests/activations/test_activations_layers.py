import pytest
import torch
from activation_toys import generator
from torch import nn

from genmend.activations import layer_names
from genmend.activations.layers import UnknownLayerError, find_layer


def test_names_are_those_of_named_modules_without_the_model_itself():
    net = generator()
    assert layer_names(net) == [name for name, _ in net.named_modules() if name]


def test_every_listed_name_is_found():
    net = generator()
    for name in layer_names(net):
        assert find_layer(net, name) is net.get_submodule(name)
    assert find_layer(net, "") is net


def test_a_miss_names_the_layer_three_near_ones_and_the_way_to_list_all():
    with pytest.raises(UnknownLayerError) as caught:
        find_layer(generator(), "mian.2")
    message = str(caught.value)
    assert isinstance(caught.value, LookupError)
    assert "'mian.2'" in message
    assert "layer_names(model)" in message
    assert message.count("'main.") == 3
    assert "'main.2'" in message


def test_a_model_without_layers_says_so():
    with pytest.raises(UnknownLayerError, match="no layers"):
        find_layer(nn.ReLU(), "main")


def test_a_module_registered_twice_is_found_under_both_names():
    shared = nn.ReLU()
    net = nn.ModuleDict({"a": shared, "b": shared})
    assert layer_names(net) == ["a", "b"]
    assert find_layer(net, "a") is find_layer(net, "b") is shared


def test_a_compiled_model_has_the_names_of_the_plain_one():
    net = generator()
    compiled = torch.compile(net, backend="eager")
    assert layer_names(compiled) == layer_names(net)
    assert find_layer(compiled, "main.2") is net.main[2]
    assert find_layer(compiled, "_orig_mod.main.2") is net.main[2]
    regional = nn.Sequential(torch.compile(net, backend="eager"))
    assert find_layer(regional, "0.main.2") is net.main[2]
    assert find_layer(regional, "0") is net
