import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from genmend.concepts.circuits.ablation import ablation_drop, units_in_common
from genmend.concepts.circuits.block_calls import call_blocks
from genmend.concepts.circuits.blocks import find_blocks
from genmend.concepts.circuits.circuit import CircuitGraph, Edge, merge_alike
from genmend.concepts.circuits.find_circuits import find_circuits
from genmend.concepts.circuits.patching import unit_effects
from genmend.concepts.circuits.thresholds import beyond_random_units, peaks_over_threshold
from genmend.concepts.circuits.unit_index import build_index, load_index
from genmend.concepts.circuits.units import unit_scores
from genmend.storage.pieces import Work


class Residual(nn.Module):
    def __init__(self, width, dilation=1):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(width, width, 1), nn.ReLU(inplace=True))

    def forward(self, maps, scale=1.0):
        return maps + scale * self.body(maps)


class Net(nn.Module):
    """A stem, four residual blocks in two stages, a head."""

    def __init__(self, width=12):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 1)
        self.stages = nn.Sequential(
            nn.Sequential(Residual(width), Residual(width)), nn.Sequential(Residual(width), Residual(width))
        )
        self.head = nn.Linear(width, 4)

    def forward(self, images):
        return self.head(self.stages(self.stem(images)).mean((2, 3)))


BLOCKS = ["stages.0.0", "stages.0.1", "stages.1.0", "stages.1.1"]
IMAGES = torch.randn(200, 3, 6, 6, generator=torch.Generator().manual_seed(1))


def net():
    torch.manual_seed(0)
    return Net().eval()


def index_of(model, images=IMAGES, **options):
    return build_index(model, BLOCKS, lambda start, stop: images[start:stop], len(images), **options)


class Attends(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True) for _ in range(4))

    def forward(self, tokens):
        for layer in self.layers:
            tokens = layer(tokens)
        return tokens.mean(1)


def test_blocks_are_found_in_networks_of_all_kinds():
    assert find_blocks(net(), IMAGES[:2]) == BLOCKS
    assert find_blocks(Attends().eval(), torch.randn(2, 5, 8)) == [f"layers.{i}" for i in range(4)]
    plain = nn.Sequential(
        *(part for _ in range(3) for part in (nn.Conv2d(3, 3, 1), nn.ReLU(inplace=True), nn.MaxPool2d(1)))
    )
    assert find_blocks(plain.eval(), IMAGES[:2]) == ["1", "4", "7"]
    with pytest.raises(ValueError, match="name the blocks yourself"):
        find_blocks(nn.Sequential(nn.Flatten(), nn.Linear(108, 2)).eval(), IMAGES[:2])


@pytest.mark.parametrize("model", [net(), Attends().eval()])
def test_a_block_is_called_again_as_the_model_called_it(model):
    sample = IMAGES[:1] if isinstance(model, Net) else torch.randn(1, 5, 8)
    blocks = find_blocks(model, sample)
    calls = call_blocks(model, blocks, sample)
    for before, after in pairwise(calls):
        torch.testing.assert_close(after(before.output), after.output)
    skipping = call_blocks(model, blocks[::3], sample)
    assert len(skipping[1].steps) == 3
    torch.testing.assert_close(skipping[1](skipping[0].output), calls[3].output)
    with pytest.raises(ValueError, match="does not follow"):
        call_blocks(model, blocks[::-1], sample)


def test_blocks_that_work_in_place_are_kept_as_they_were():
    plain = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 1), nn.ReLU(inplace=True)).eval()
    calls = call_blocks(plain, ["0", "1", "3"], IMAGES[:1])
    assert calls[0].output.min() < 0 <= calls[1].output.min()
    assert [len(call.steps) for call in calls] == [0, 1, 2]
    torch.testing.assert_close(calls[2](calls[1].output), plain(IMAGES[:1]))


def test_scores_are_means_of_the_largest_tenth():
    maps = torch.randn(3, 5, 7, 7)
    expected = maps.flatten(2).sort(2, descending=True).values[..., :4].mean(2)
    torch.testing.assert_close(unit_scores(maps), expected)
    torch.testing.assert_close(unit_scores(maps[..., :2, :2]), maps[..., :2, :2].amax((2, 3)))
    tokens = torch.randn(3, 40, 5)
    torch.testing.assert_close(unit_scores(tokens), tokens.topk(4, dim=1).values.mean(1))
    torch.testing.assert_close(unit_scores(tokens[:, 0]), tokens[:, 0])


@pytest.mark.parametrize("batch_size", [7, 64])
def test_the_index_holds_each_units_top_samples(batch_size):
    model = net()
    found = index_of(model, batch_size=batch_size)
    calls = torch.cat(
        [unit_scores(call.output) for image in IMAGES for call in call_blocks(model, BLOCKS[1:2], image[None])]
    )
    order = np.argsort(-calls.numpy().T, axis=1, kind="stable")
    np.testing.assert_array_equal(found.top[BLOCKS[1]], order[:, :20])
    np.testing.assert_allclose(found.scores[BLOCKS[1]], -np.sort(-calls.numpy().T, axis=1)[:, :20], rtol=1e-5)
    assert found.high == 2
    with torch.no_grad():
        means = model.stages[0](model.stem(IMAGES)).mean((0, 2, 3))
    np.testing.assert_allclose(found.means[BLOCKS[1]], means, rtol=1e-4, atol=1e-5)
    for number in (0, 77):
        inside = found.in_top(BLOCKS[1], calls[number].numpy())
        np.testing.assert_array_equal(inside, (order[:, :2] == number).any(1))
    shared = found.overlap(BLOCKS[0], 3, BLOCKS[1])
    brute = [len(set(found.top[BLOCKS[0]][3, :2]) & set(row[:2])) for row in found.top[BLOCKS[1]]]
    np.testing.assert_array_equal(shared, brute)


def test_the_index_goes_on_where_it_stopped_and_is_read_back(tmp_path):
    model, asked = net(), []

    def samples(start, stop):
        asked.append(start)
        if len(asked) == 4:
            raise KeyboardInterrupt
        return IMAGES[start:stop]

    work = Work(tmp_path / "work")
    with pytest.raises(KeyboardInterrupt):
        build_index(model, BLOCKS, samples, 200, work=work, key="a")
    found = build_index(model, BLOCKS, samples, 200, work=work, key="a")
    assert asked == [0, 32, 64, 96, 96, 128, 160, 192]
    found.save(tmp_path / "index.safetensors")
    read = load_index(tmp_path / "index.safetensors")
    whole = index_of(model)
    for block in BLOCKS:
        for name in ("top", "scores", "means"):
            np.testing.assert_array_equal(getattr(read, name)[block], getattr(whole, name)[block])
    with pytest.raises(ValueError, match="key="):
        build_index(model, BLOCKS, samples, 200, work=work)


def test_effects_are_those_of_the_whole_network():
    model = net()
    calls = call_blocks(model, BLOCKS, IMAGES[:1])
    found = unit_effects(calls[1], calls[2], [0, 5, 11], batch_size=2)
    for row, unit in enumerate((0, 5, 11)):
        handle = model.stages[0][1].register_forward_hook(
            lambda module, args, output, unit=unit: output.index_fill(1, torch.tensor([unit]), 0)
        )
        with torch.no_grad():
            after = model.stages[1][0](model.stages[0](model.stem(IMAGES[:1])))
        handle.remove()
        torch.testing.assert_close(found[row], (calls[2].output - after).mean((0, 2, 3)), rtol=1e-4, atol=1e-6)
    without = unit_effects(calls[1], calls[2], [5], through_identity=False)
    torch.testing.assert_close(without[0, 5], found[1, 5] - calls[1].output[0, 5].mean())
    torch.testing.assert_close(without[0, 4], found[1, 4])
    same = unit_effects(calls[1], calls[2], [0, 5], replacement=calls[1].output)
    torch.testing.assert_close(same, torch.zeros_like(same), atol=1e-6, rtol=0)


def test_effects_on_tokens():
    model = Attends().eval()
    tokens = torch.randn(1, 5, 8)
    calls = call_blocks(model, ["layers.1", "layers.2"], tokens)
    found = unit_effects(calls[0], calls[1], [3])
    given = calls[0].output.clone()
    given[..., 3] = 0
    with torch.no_grad():
        expected = (calls[1].output - model.layers[2](given)).mean(1)
    torch.testing.assert_close(found, expected)


def test_chance_finds_few_edges_and_a_planted_one_is_found():
    rng = np.random.default_rng(0)
    null = rng.standard_normal((64, 300))
    own = rng.standard_normal((40, 300))
    assert beyond_random_units(own, null).sum() < 40, "of 12,000"
    own[0, 7], own[1, 9] = 12, -12
    found = beyond_random_units(own, null)
    assert found[0, 7]
    assert found[1, 9]
    with pytest.raises(ValueError, match="at least 8"):
        beyond_random_units(own, null[:5])


def test_the_published_threshold_keeps_a_twentieth_whatever_happens():
    rng = np.random.default_rng(0)
    for scores in (rng.random(512), rng.pareto(2, 512)):
        kept = (scores > peaks_over_threshold(scores)).mean()
        assert 0.03 < kept < 0.08
    assert np.isnan(peaks_over_threshold(np.ones(50)))


def planted():
    """A network in which unit 2 makes unit 3, which makes 4, and all else hands on what it gets."""
    model = net()
    with torch.no_grad():
        for number, block in enumerate(module for stage in model.stages for module in stage):
            nn.init.zeros_(block.body[0].weight)
            nn.init.zeros_(block.body[0].bias)
            if number in (1, 2):
                block.body[0].weight[2 + number, 1 + number] = 5.0
        model.head.weight.zero_()
        model.head.bias.zero_()
        model.head.weight[0, 4] = 1
    return model


def test_a_planted_circuit_is_found_and_carries_the_score():
    model = planted()
    index = index_of(model)
    # The sample that excites the unit most.
    sample = IMAGES[int(index.top[BLOCKS[0]][2, 0])][None]
    graph = find_circuits(model, index, sample, least_flow=0.0)
    assert (0, 2) in graph.roots
    circuit = graph.circuit((0, 2))
    chain = {((0, 2), (1, 3)), ((1, 3), (2, 4))}
    assert chain <= {(edge.source, edge.target) for edge in circuit.edges}
    others = [edge for edge in circuit.edges if not edge.is_identity and (edge.source, edge.target) not in chain]
    assert not [edge for edge in others if edge.target[1] not in (3, 4)]
    drop = ablation_drop(model, circuit, index, sample, 0)
    assert drop.circuit == pytest.approx(drop.score)
    assert drop.circuit > 3 * np.abs(drop.outside).max()
    assert drop.circuit > drop.random.mean()
    assert drop.n_units == len(circuit.units)
    bare = find_circuits(model, index, sample, least_flow=0.0, identity=False)
    assert not [edge for edge in bare.edges if edge.is_identity]
    again = find_circuits(model, index, sample, least_flow=0.0)
    assert again == graph
    assert units_in_common(again, graph) == 1


@pytest.mark.parametrize("options", [{"patch": "mean"}, {"patch": "other", "other": IMAGES[:1] * 0.1}])
def test_other_ways_of_patching(options):
    model = planted()
    index = index_of(model)
    sample = IMAGES[int(index.top[BLOCKS[0]][2, 0])][None]
    graph = find_circuits(model, index, sample, **options)
    assert ((0, 2), (1, 3)) in {(edge.source, edge.target) for edge in graph.edges}
    plain = find_circuits(model, index, sample)
    assert graph.roots == plain.roots
    assert [edge.effect for edge in graph.edges] != [edge.effect for edge in plain.edges]


def test_the_published_choice_keeps_excited_units_above_its_threshold():
    torch.manual_seed(3)
    model = Net(width=48).eval()
    index = index_of(model, high=0.05, active=0.5)
    graph = find_circuits(model, index, sample := IMAGES[7:8] * 4, chosen="peaks")
    assert graph.edges
    assert min(edge.effect for edge in graph.edges) > 0
    calls = call_blocks(model, BLOCKS, sample)
    source = graph.edges[0].source
    effects = unit_effects(calls[source[0]], calls[source[0] + 1], [source[1]])[0].clamp_min(0).numpy()
    block = BLOCKS[source[0] + 1]
    candidates = index.in_top(block, unit_scores(calls[source[0] + 1].output)[0].numpy(), high=False) & (effects > 0)
    share = effects / effects.sum()
    flow = index.overlap(BLOCKS[source[0]], source[1], block) / index.high
    kept = candidates & (share > peaks_over_threshold(share[candidates])) & (flow > max(flow[candidates].mean(), 0.1))
    assert {edge.target[1] for edge in graph.after[source]} == set(np.flatnonzero(kept))


def small_graph():
    edges = (
        Edge((0, 1), (1, 1), 0.5, 0.5, 0.2),
        Edge((0, 2), (1, 1), -0.5, -0.5, 0.0),
        Edge((1, 1), (2, 7), 0.1, 1.0, 0.9),
    )
    return CircuitGraph(("a", "b", "c"), ((0, 1), (0, 2), (0, 3)), edges)


def test_views_of_a_graph(tmp_path):
    graph = small_graph()
    assert graph.circuit((0, 2)).units == ((0, 2), (1, 1), (2, 7))
    assert graph.circuit((0, 3)).edges == ()
    assert [each.roots for each in graph.circuits()] == [((0, 1),), ((0, 2),)]
    (one,) = merge_alike(graph.circuits(), jaccard=0.5)
    assert one.roots == ((0, 1), (0, 2))
    assert len(one.edges) == 3
    assert len(merge_alike(graph.circuits(), jaccard=0.9)) == 2
    graph.save(tmp_path / "graph.json")
    assert json.loads((tmp_path / "graph.json").read_text())["edges"][0]["identity"]
    graph.save(tmp_path / "graph.graphml")
    import networkx

    read = networkx.read_graphml(tmp_path / "graph.graphml")
    assert set(read.nodes) == {"a:1", "a:2", "a:3", "b:1", "c:7"}
    assert read.edges["a:2", "b:1"]["effect"] == -0.5
    with pytest.raises(ValueError, match=r"\.graphml"):
        graph.save(tmp_path / "graph.csv")
    with pytest.raises(ValueError, match="no root"):
        graph.circuit((1, 1))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sample": IMAGES[:2]}, "circuits are of one sample"),
        ({"sample": IMAGES[:1] * float("nan")}, "NaN"),
        ({"patch": "double"}, "accepted are 'zero'"),
        ({"patch": "other"}, "needs other="),
    ],
)
def test_what_has_no_circuit_is_said(change, says):
    model = net()
    with pytest.raises(ValueError, match=says):
        find_circuits(**{"model": model, "index": index_of(model), "sample": IMAGES[:1], **change})
    with pytest.raises(ValueError, match="at least 20"):
        index_of(model, IMAGES[:10])
