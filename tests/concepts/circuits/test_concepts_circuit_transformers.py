"""Circuits where units are not channels of maps: a transformer's hidden units, sequences, maps with channels last."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from genmend.activations.recording import record
from genmend.concepts.circuits.ablation import ablation_drop
from genmend.concepts.circuits.block_calls import call_blocks
from genmend.concepts.circuits.blocks import find_blocks
from genmend.concepts.circuits.find_circuits import find_circuits
from genmend.concepts.circuits.on_target import effects_on_target
from genmend.concepts.circuits.patching import unit_effects
from genmend.concepts.circuits.unit_examples import unit_examples
from genmend.concepts.circuits.unit_index import build_index
from genmend.concepts.circuits.units import last_weighted, unit_axis, unit_scores
from genmend.concepts.scalar_target import NotDeterministicWarning
from genmend.manifold.features import load_extractor


class Layer(nn.Module):
    """Pre-norm attention and an MLP with a module between its linear layers, each added to what it was given."""

    def __init__(self, width, act):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.fc1, self.act, self.fc2 = nn.Linear(width, 4 * width), act, nn.Linear(4 * width, width)

    def forward(self, tokens, mask=None):
        normed = self.norm1(tokens)
        tokens = tokens + self.attention(normed, normed, normed, attn_mask=mask)[0]
        return tokens + self.fc2(self.act(self.fc1(self.norm2(tokens))))


class Tower(nn.Module):
    def __init__(self, width=8, depth=4, act=nn.GELU):
        super().__init__()
        self.layers = nn.ModuleList(Layer(width, act()) for _ in range(depth))
        self.head = nn.Linear(width, 3)

    def forward(self, tokens):
        for layer in self.layers:
            tokens = layer(tokens)
        return self.head(tokens[:, 0])


TOKENS = torch.randn(120, 5, 8, generator=torch.Generator().manual_seed(1))


def tower(**options):
    torch.manual_seed(0)
    return Tower(**options).eval()


def index_of(model, blocks):
    return build_index(model, blocks, lambda start, stop: TOKENS[start:stop], len(TOKENS), high=0.05, active=0.3)


def test_a_transformers_units_are_the_hidden_ones_of_its_mlps():
    model = tower()
    assert find_blocks(model, TOKENS[:2]) == [f"layers.{n}.act" for n in range(4)]
    assert find_blocks(tower(act=lambda: nn.Softmax(-1)), TOKENS[:1])[0] == "layers.0.act"
    for layer in model.layers:  # a block that does not widen has none
        layer.fc1, layer.fc2 = nn.Linear(8, 8), nn.Linear(8, 8)
    assert find_blocks(model.eval(), TOKENS[:2]) == [f"layers.{n}" for n in range(4)]


@pytest.mark.parametrize("act", [nn.GELU, lambda: nn.Softmax(-1)])
@pytest.mark.parametrize("value", [None, 0.3])
def test_hidden_units_take_the_short_way_and_find_the_same(act, value):
    model = tower(act=act)
    blocks = find_blocks(model, TOKENS[:1])
    calls = call_blocks(model, blocks, TOKENS[:1])
    source, target = calls[1], calls[2]
    elementwise = act is nn.GELU
    assert (target.made_by is not None) == elementwise, "a softmax needs all its units"
    assert source.read_by is not None
    other = None if value is None else torch.full((1, 1, 1), value)
    units, on = [0, 7, 31], [3, 4, 20]
    found = unit_effects(source, target, units, on=on, replacement=other, batch_size=2)
    plain = unit_effects(replace(source, read_by=None), replace(target, made_by=None), units, replacement=other)
    torch.testing.assert_close(found, plain[:, on], atol=1e-6, rtol=1e-4)
    for row, unit in enumerate(units):
        hook = model.layers[1].act.register_forward_hook(
            lambda module, args, output, unit=unit: output.index_fill(2, torch.tensor([unit]), value or 0.0)
        )
        with torch.no_grad(), record(model, ["layers.2.act"]) as made:
            scores = model(TOKENS[:1])
        hook.remove()
        fell = (target.output - made["layers.2.act"]).mean((0, 1))
        torch.testing.assert_close(plain[row], fell, atol=1e-6, rtol=1e-4)
        fell = effects_on_target(model, source, TOKENS[:1], [unit], 1, replacement=other)
        torch.testing.assert_close(fell, (model(TOKENS[:1]) - scores)[:, 1], atol=1e-6, rtol=1e-4)
    assert not any("forward" in vars(module) for module in model.modules())


def test_circuits_of_a_transformer():
    model = tower()
    index = index_of(model, find_blocks(model, TOKENS[:1]))
    sample = TOKENS[int(index.top["layers.1.act"][2, 0])][None]
    graph = find_circuits(model, index, sample, 1, least_flow=0.0)
    assert (1, 2) in graph.roots
    assert graph.edges
    drop = ablation_drop(model, graph, index, sample, 1, n_draws=2)
    assert drop.n_units == len(graph.units)


def test_a_model_in_which_chance_is_at_work_is_said():
    model = tower()
    index = index_of(model, find_blocks(model, TOKENS[:1]))
    sample = TOKENS[int(index.top["layers.0.act"][2, 0])][None]
    model.layers[0].fc2.register_forward_hook(lambda module, args, output: output + torch.randn_like(output))
    with pytest.warns(NotDeterministicWarning, match=r"Two runs of the model on one input differ by \d"):
        assert find_circuits(model, index, sample).roots


def test_a_block_that_cannot_be_run_by_itself_is_said():
    model = tower()
    blocks = find_blocks(model, TOKENS[:1])
    index = index_of(model, blocks)
    sample = TOKENS[int(index.top["layers.0.act"][2, 0])][None]
    # What it makes of several is not what it makes of one.
    model.layers[0].fc2.register_forward_hook(
        lambda module, args, output: output + len(output) * torch.linspace(0, 1, output.shape[-1])
    )
    with pytest.raises(ValueError, match="gives something else when it is run again"):
        find_circuits(model, index, sample)


def test_a_token_stands_for_a_place_in_the_picture():
    model = tower()
    blocks = find_blocks(model, TOKENS[:1])
    index = index_of(model, blocks)
    (found,) = unit_examples(model, index, lambda numbers: TOKENS[list(numbers)], [(1, 5)]).values()
    for example in found:
        with torch.no_grad(), record(model, blocks[1:2]) as made:
            model(TOKENS[example.number][None])
        at = int(made[blocks[1]][0, 1:, 5].argmax())  # of five tokens the first is the class's
        assert example.place == ((at // 2 + 0.5) / 2, (at % 2 + 0.5) / 2)


def sequences():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(4, 12, 3, padding=1), nn.ReLU(), nn.Conv1d(12, 9, 3, padding=1), nn.ReLU()).eval()


def test_the_units_of_a_sequence_are_its_channels():
    model = sequences()
    waves = torch.randn(40, 4, 30)
    index = build_index(model, ["1", "3"], lambda start, stop: waves[start:stop], 40)
    assert [len(index.means[block]) for block in ("1", "3")] == [12, 9]
    with torch.no_grad():
        np.testing.assert_allclose(index.means["3"], model(waves).mean((0, 2)), rtol=1e-4, atol=1e-6)
    calls = call_blocks(model, ["1", "3"], waves[:1])
    assert [call.axis for call in calls] == [1, 1]
    found = unit_effects(*calls, [3])
    given = calls[0].output.clone()
    given[:, 3] = 0
    with torch.no_grad():
        torch.testing.assert_close(found[0], (calls[1].output - model[2:](given)).mean((0, 2)))


@pytest.mark.parametrize(
    ("layer", "shape", "axis"),
    [
        (nn.Conv1d(4, 6, 1), (2, 6, 9), 1),
        (nn.Conv1d(4, 9, 1), (2, 6, 9), 2),
        (nn.Conv2d(3, 6, 2), (2, 6, 9), 2),  # patches that became tokens
        (nn.Linear(4, 6), (2, 6, 9), 2),
        (None, (2, 6, 9), 2),
        (nn.Linear(4, 6), (2, 6), 1),
        (nn.Linear(4, 5), (2, 3, 3, 5), 3),
        (nn.LayerNorm(5), (2, 3, 3, 5), 3),
        (nn.Linear(4, 7), (2, 7, 3, 3), 1),  # turned back into maps
        (nn.Conv2d(3, 7, 1), (2, 7, 3, 3), 1),
    ],
)
def test_which_axis_holds_the_units(layer, shape, axis):
    assert unit_axis(torch.zeros(shape), layer) == axis
    assert unit_scores(torch.zeros(shape), axis).shape == (2, shape[axis])


def test_the_layer_that_ran_last_is_known_while_asked():
    model = sequences()
    with last_weighted(model) as last:
        assert not last
        model(torch.randn(1, 4, 5))
        assert last == [model[2]]
    assert not any(layer._forward_hooks for layer in model)


@pytest.mark.clip
@pytest.mark.real("clip-vit-b16")
def test_the_hidden_units_of_the_clip_tower():
    network = load_extractor("clip-vit-b16").network
    image = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    blocks = find_blocks(network, image)
    assert len(blocks) == 12
    assert all(block.endswith("mlp.activation_fn") for block in blocks)
    calls = call_blocks(network, blocks[4:6], image)
    assert [call.output.shape for call in calls] == [(1, 197, 3072)] * 2
    found = unit_effects(*calls, [7], on=[3, 4, 1000])
    plain = unit_effects(replace(calls[0], read_by=None), replace(calls[1], made_by=None), [7])
    torch.testing.assert_close(found, plain[:, [3, 4, 1000]], atol=1e-6, rtol=1e-3)
