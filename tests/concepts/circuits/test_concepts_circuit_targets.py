import numpy as np
import pytest
import torch
from torch import nn

from genmend.concepts.circuits.ablation import ablation_drop
from genmend.concepts.circuits.block_calls import call_blocks
from genmend.concepts.circuits.circuit import CircuitGraph, Edge, read_graph
from genmend.concepts.circuits.find_circuits import find_circuits
from genmend.concepts.circuits.on_target import effects_on_target, predicted_effects
from genmend.concepts.circuits.patching import unit_effects
from genmend.concepts.circuits.unit_examples import unit_examples
from genmend.concepts.circuits.unit_index import build_index

IMAGES = torch.randn(200, 3, 6, 6, generator=torch.Generator().manual_seed(1))


def net(width=24):
    torch.manual_seed(0)
    parts = [layer for _ in range(3) for layer in (nn.Conv2d(width, width, 1), nn.ReLU())]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 4)]
    return nn.Sequential(nn.Conv2d(3, width, 1), *parts, *head).eval()


BLOCKS = ["2", "4", "6"]


def index_of(model):
    return build_index(model, BLOCKS, lambda start, stop: IMAGES[start:stop], len(IMAGES), high=0.05, active=0.2)


def test_effects_on_a_class_are_those_of_the_whole_network():
    model = net()
    call = call_blocks(model, BLOCKS, IMAGES[:1])[1]
    found = effects_on_target(model, call, IMAGES[:1], [0, 5, 11], 2, batch_size=2)
    for row, unit in enumerate((0, 5, 11)):
        given = call.output.clone()
        given[:, unit] = 0
        with torch.no_grad():
            expected = model(IMAGES[:1])[0, 2] - model[5:](given)[0, 2]
        torch.testing.assert_close(found[row], expected)


@pytest.mark.parametrize("value", [None, 0.3])
def test_a_gradient_predicts_effects_on_a_class_where_the_rest_is_linear(value):
    model = net()
    calls = call_blocks(model, BLOCKS, IMAGES[:1])
    other = None if value is None else torch.full((1, 1, 1, 1), value)
    last = predicted_effects(model, calls, IMAGES[:1], 2, [other] * 3)[-1]
    exact = effects_on_target(model, calls[-1], IMAGES[:1], range(24), 2, replacement=other)
    torch.testing.assert_close(last, exact, atol=1e-5, rtol=1e-4)


def test_screened_circuits_hold_the_units_with_the_largest_predicted_effects():
    model = net()
    index = index_of(model)
    sample = IMAGES[int(index.top["4"][2, 0])][None]
    whole = find_circuits(model, index, sample, 1, least_flow=0.0)
    part = find_circuits(model, index, sample, 1, least_flow=0.0, screen=0.25)
    predicted = predicted_effects(model, call_blocks(model, BLOCKS, sample), sample, 1, [None] * 3)
    kept = {(block, int(unit)) for block, own in enumerate(predicted) for unit in own.abs().topk(6).indices}
    assert part.units
    assert set(part.units) <= kept & set(whole.units)
    assert {root for root in whole.roots if root in kept} == set(part.roots)
    with pytest.raises(ValueError, match="below 1 only with target="):
        find_circuits(model, index, sample, screen=0.25)


class Joins(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.joined = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(8, 3)

    def forward(self, rows):
        return self.joined(torch.cat([self.b(self.a(rows)), rows], 1))


def test_a_block_whose_output_is_joined_with_an_earlier_one():
    model, rows = Joins().eval(), torch.randn(1, 4)
    calls = call_blocks(model, ["a", "joined"], rows)
    found = effects_on_target(model, calls[0], rows, [0, 1], 2, batch_size=2)
    between = unit_effects(*calls, [0, 1])
    for row in range(2):
        given = calls[0].output.clone()
        given[:, row] = 0
        with torch.no_grad():
            after = model.joined(torch.cat([model.b(given), rows], 1))
        torch.testing.assert_close(found[row], (calls[1].output - after)[0, 2])
        torch.testing.assert_close(between[row], (calls[1].output - after)[0])


class Sums(nn.Module):
    """Two layers whose units are asked, with a sum and a reshaping between them, and one beside them."""

    def __init__(self):
        super().__init__()
        self.hidden, self.out, self.beside = nn.Linear(4, 8), nn.Linear(4, 8), nn.Linear(4, 2)
        self.act, self.last = nn.GELU(), nn.ReLU()

    def forward(self, rows):
        self.beside(rows)
        made = self.act(self.hidden(rows))
        return self.last(self.out(rows + made.reshape(len(made), 2, 4).sum(1)))


def test_what_stands_between_two_blocks_need_not_be_a_module():
    model, rows = Sums().eval(), torch.randn(1, 4)
    calls = call_blocks(model, ["act", "last"], rows)
    found = unit_effects(calls[0], calls[1], [1, 6])
    for row, unit in enumerate((1, 6)):
        given = calls[0].output.clone()
        given[:, unit] = 0
        with torch.no_grad():
            after = model.last(model.out(rows + given.reshape(1, 2, 4).sum(1)))
        torch.testing.assert_close(found[row], (calls[1].output - after)[0])
    with pytest.raises(ValueError, match="does not depend on"):
        unit_effects(*call_blocks(model, ["beside", "last"], rows), [0, 1])
    with pytest.raises(ValueError, match="in order of execution"):
        call_blocks(model, ["last", "act"], rows)


def test_the_part_that_speaks_for_a_class_carries_its_score():
    model = net()
    with torch.no_grad():
        model[-1].weight.zero_()
        model[-1].bias.zero_()
        model[-1].weight[1, 3] = 1.0  # class 1 is unit 3 of the last block, and that is unit 2 of the one before
        model[5].weight[3] = 0
        model[5].weight[3, 2] = 1.0
        model[5].bias.zero_()
    index = index_of(model)
    sample = IMAGES[int(index.top["4"][2, 0])][None]
    graph = find_circuits(model, index, sample, 1, least_flow=0.0)
    assert list(graph.on_target) == [(2, 3)]
    part = graph.towards_target()
    assert {(1, 2), (2, 3)} <= set(part.units)
    assert all(edge.effect > 0 for edge in part.edges)
    assert {edge.target for edge in part.edges if edge.target[0] == 2} == {(2, 3)}
    for patch in ("zero", "mean"):
        drop = ablation_drop(model, part, index, sample, 1, patch=patch)
        left = float(index.means["6"][3]) if patch == "mean" else 0.0
        assert drop.circuit == pytest.approx(drop.score - left, rel=1e-5)
        assert drop.circuit > 3 * drop.random.mean()
    with pytest.raises(ValueError, match="accepted are 'zero' and 'mean'"):
        ablation_drop(model, part, index, sample, 1, patch="other")
    plain = find_circuits(model, index, sample, least_flow=0.0)
    assert plain.edges == graph.edges
    with pytest.raises(ValueError, match="target="):
        plain.towards_target()


def test_a_graph_is_read_back():
    edges = (Edge((0, 1), (1, 1), 0.5, 0.5, 0.2), Edge((1, 1), (2, 7), 0.1, 1.0, 0.9))
    graph = CircuitGraph(("a", "b.0", "c"), ((0, 1), (1, 4)), edges, {"target": 3}, {(2, 7): 0.25})
    assert read_graph(graph.to_dict()) == graph
    assert graph.towards_target().roots == ((0, 1),)


def test_examples_are_where_a_unit_fires():
    model = net()
    index = index_of(model)
    found = unit_examples(model, index, lambda numbers: IMAGES[list(numbers)], [(0, 3), (2, 5)], batch_size=2)
    for (block, unit), some in found.items():
        assert [example.number for example in some] == index.top[BLOCKS[block]][unit, :3].tolist()
        for example in some:
            with torch.no_grad():
                maps = model[: int(BLOCKS[block]) + 1](IMAGES[example.number][None])[0, unit]
            at = np.unravel_index(int(maps.argmax()), maps.shape)
            assert example.place == pytest.approx([(number + 0.5) / 6 for number in at])
