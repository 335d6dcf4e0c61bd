import numpy as np
import pytest
import torch
from torch import nn

from genmend.concepts.regions.configurations import Configurations, configurations, preactivations
from genmend.concepts.regions.find import find_kinds, find_region
from genmend.concepts.regions.held_out import held_out_purity
from genmend.concepts.regions.neighbours import nearest_configurations
from genmend.concepts.regions.principal_neurons import region_of
from genmend.concepts.regions.region import Region


def of_states(states, layer="1"):
    states = np.asarray(states, dtype=bool)
    n_neurons = states.shape[1]
    zeros = np.zeros(n_neurons, dtype=np.float32)
    return Configurations(np.packbits(states, axis=1), n_neurons, zeros, "zero", layer, (n_neurons,), False)


def random_states(n=60, d=37, seed=0):
    return np.random.default_rng(seed).random((n, d)) < 0.5


def conv_net(gate):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 5, 3), gate, nn.Conv2d(5, 4, 3), nn.Flatten(), nn.LazyLinear(2)).eval()


IMAGES = torch.randn(30, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def test_bits_are_the_signs_before_the_nonlinearity():
    net = conv_net(nn.ReLU(inplace=True))
    found = configurations(net, "1", IMAGES, batch_size=7)
    before = net[0](IMAGES).flatten(1) > 0
    assert found.threshold == "zero"
    assert found.shape == (5, 6, 6)
    assert found.n_neurons == 180
    neurons = np.array([179, 0, 8, 77])
    np.testing.assert_array_equal(found.states(neurons), before[:, neurons].numpy())
    np.testing.assert_array_equal(found[3:5].states(neurons), before[3:5][:, neurons].numpy())
    assert not any(module._forward_pre_hooks for module in net.modules())


@pytest.mark.parametrize("gate", [nn.SiLU(), nn.GELU(), nn.ReLU6()])
def test_other_nonlinearities_get_measured_thresholds_and_say_so(gate):
    net = conv_net(gate)
    assert configurations(net, "1", IMAGES, batch_size=7).threshold == "learned"
    found = configurations(net, "1", IMAGES, batch_size=7, threshold="median")
    assert found.threshold == "median"
    np.testing.assert_allclose(found.thresholds, np.median(net[0](IMAGES).detach().flatten(1).numpy(), 0), atol=1e-6)
    np.testing.assert_allclose(found.states(np.arange(180)).mean(0), 0.5, atol=0.04)
    again = configurations(net, "1", IMAGES[:4], thresholds=found.thresholds)
    assert again.threshold == "given"
    np.testing.assert_array_equal(again.bits, found.bits[:4])


def test_a_pooled_neuron_does_not_mind_where():
    net = conv_net(nn.ReLU())
    shifted = IMAGES.roll(1, -1)
    image = torch.zeros(1, 3, 8, 8)
    image[..., 3:5, 3:5] = IMAGES[:1, :, :2, :2]
    shifted = image.roll((1, -1), (-2, -1))
    pooled = [configurations(net, "1", each, pooled=True, threshold="zero") for each in (image, shifted)]
    placed = [configurations(net, "1", each) for each in (image, shifted)]
    assert pooled[0].n_neurons == 5
    np.testing.assert_array_equal(pooled[0].bits, pooled[1].bits)
    assert (placed[0].bits != placed[1].bits).any()
    values = preactivations(net, "1", image, pooled=True)
    np.testing.assert_allclose(values, net[0](image).detach().amax((2, 3)), atol=1e-6)


def test_the_largest_value_is_nearly_always_above_0_so_pooled_neurons_get_learned_ones():
    net = conv_net(nn.ReLU())
    zero, auto = (configurations(net, "1", IMAGES, pooled=True, threshold=kind) for kind in ("zero", "auto"))
    assert zero.states(np.arange(5)).mean() > 0.95
    assert auto.threshold == "learned"
    assert 0.2 < auto.states(np.arange(5)).mean() < 0.8


def test_learned_thresholds_lie_between_two_groups():
    """A fifth of the samples excite a neuron: the median lies among the others."""
    net = nn.Sequential(nn.Linear(2, 2), nn.SiLU()).eval()
    nn.init.eye_(net[0].weight)
    nn.init.zeros_(net[0].bias)
    given = 0.1 * torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    given[:12, 0] += 3
    given[12:, 1] -= 3
    found = configurations(net, "1", given, threshold="learned")
    assert found.threshold == "learned"
    np.testing.assert_array_equal(found.states(np.arange(2)), np.arange(60)[:, None] < [12, 12])
    median = configurations(net, "1", given, threshold="median")
    assert (median.states(np.arange(2)).sum(0) == 30).all()
    one = configurations(net, "1", given[:1], threshold="learned")
    assert not one.states(np.arange(2)).any()


def test_neighbours_by_hamming_distance():
    states = random_states()
    found = of_states(states)
    distances, numbers = nearest_configurations(found, found[5:8], 60)
    brute = (states[5:8, None] != states[None]).sum(2)
    np.testing.assert_array_equal(np.take_along_axis(brute, numbers, 1), distances)
    np.testing.assert_array_equal(distances, np.sort(brute, 1))


def test_sorted_choice_is_the_published_one():
    states = random_states(200, 64)
    states[:6, 10:20] = True
    states[:6, 30:33] = False
    group = np.arange(6)
    path = region_of(of_states(states), group, n_neurons=5, choice="sorted")
    mean = states[:6].mean(0)
    unanimous = np.flatnonzero((mean == 0) | (mean == 1))
    score = np.abs(mean - states.mean(0))[unanimous]
    assert path.n_candidates == len(unanimous)
    chosen = np.array(path.region.neurons)
    np.testing.assert_allclose(np.abs(mean - states.mean(0))[chosen], np.sort(score)[::-1][:5])
    assert path.region.states == tuple(mean[chosen] == 1)
    rule = (states[:, chosen] == mean[chosen]).all(1)
    np.testing.assert_array_equal(path.members, np.flatnonzero(rule))
    for t in range(1, 6):
        inside = (states[:, chosen[:t]] == mean[chosen[:t]]).all(1)
        assert path.n_inside[t - 1] == inside.sum()
        assert path.n_positive_inside[t - 1] == 6


def test_covering_choice_takes_no_near_copies():
    """Ten copies of one neuron and one other: sorted takes copies alone, covering needs two neurons."""
    rng = np.random.default_rng(1)
    states = np.zeros((400, 12), dtype=bool)
    states[:, :10] = (rng.random(400) < 0.3)[:, None]
    states[:, 10] = rng.random(400) < 0.4
    states[:5] = True
    states[:, 11] = True
    group = np.arange(5)
    by_sort = region_of(of_states(states), group, n_neurons=2, choice="sorted")
    covering = region_of(of_states(states), group, n_neurons=2)
    assert set(by_sort.region.neurons) <= set(range(10))
    assert 10 in covering.region.neurons
    assert covering.purity[-1] > 2 * by_sort.purity[-1]
    by_mrmr = region_of(of_states(states), group, n_neurons=2, choice="mrmr")
    assert 10 in by_mrmr.region.neurons
    assert len(set(by_mrmr.region.neurons)) == 2
    all_of_them = region_of(of_states(states), group, n_neurons=99, choice="mrmr")
    assert sorted(all_of_them.region.neurons) == list(range(11)), "each once, but not the constant one"
    many = region_of(of_states(states), group, n_neurons=10)
    assert len(many.region.neurons) == 2, "no neuron is taken that shuts nobody out"


def test_neurons_that_tell_little_do_not_make_a_soft_rule_void():
    """Eight neurons of its own, and a hundred that are off in nearly every sample."""
    rng = np.random.default_rng(0)
    states = rng.random((300, 108)) < 0.04
    states[:20, :8] = True
    path = region_of(of_states(states), np.arange(8), n_neurons=60, at_least=0.8, choice="mrmr")
    assert set(path.region.neurons) == set(range(8))
    np.testing.assert_array_equal(path.members, np.arange(20))


def test_ties_go_to_the_larger_margin():
    states = np.zeros((50, 4), dtype=bool)
    states[:5] = True
    values = np.ones((5, 4)) + np.random.default_rng(0).standard_normal((5, 4)) * [[0.5, 0.01, 0.3, 0.4]]
    assert region_of(of_states(states), np.arange(5), n_neurons=1, values=values).region.neurons == (1,)
    assert region_of(of_states(states), np.arange(5), n_neurons=1).region.neurons == (0,)
    sort = region_of(of_states(states), np.arange(5), n_neurons=1, choice="sorted", values=values)
    assert sort.region.neurons == (1,)


def test_margins_choose_the_rule_of_a_region():
    states = random_states(50, 24)
    states[:8] = states[0]
    states[:, :4] = (np.arange(50) < 8)[:, None]
    found = of_states(states)
    asked = []

    def values(numbers):
        asked.extend(numbers)
        margins = np.ones((len(numbers), 24)) + 0.3 * np.random.default_rng(0).standard_normal((len(numbers), 24))
        margins[:, 2] = 1
        return margins

    for choice in ("mrmr", "covering", "sorted"):
        assert find_region(found, 3, n_neurons=1, choice=choice, values=values).region.neurons == (2,)
        assert find_region(found, 3, n_neurons=1, choice=choice).region.neurons == (0,)
    assert set(asked) == set(range(8))


def test_the_empty_rule_is_an_error():
    states = random_states(40, 16)
    states[0] = ~states[1]
    with pytest.raises(ValueError, match="no rule holds for them"):
        region_of(of_states(states), np.array([0, 1]))
    with pytest.raises(ValueError, match="empty rule"):
        Region("1", (), (), 1, ())


def test_the_path_of_a_soft_rule_is_that_of_soft_rules():
    states = random_states(200, 64)
    states[:6, 10:20] = True
    path = region_of(of_states(states), np.arange(6), n_neurons=10, at_least=0.75, choice="sorted")
    assert path.region.at_least == 8
    chosen = np.array(path.region.neurons)
    agreeing = states[:, chosen] == path.region.states
    for t in range(1, 11):
        assert path.n_inside[t - 1] == (agreeing[:, :t].sum(1) >= np.ceil(0.75 * t)).sum()
    assert path.n_inside[-1] == len(path.members)
    assert region_of(of_states(states), np.arange(6), n_neurons=3, at_least=5).region.at_least == 3
    for wrong in (0.0, 1.5, 0, -2):
        with pytest.raises(ValueError, match="at_least is"):
            region_of(of_states(states), np.arange(6), at_least=wrong)


def test_soft_regions_and_their_algebra():
    states = random_states(80, 20)
    samples = of_states(states)
    one = Region("1", (0, 3, 5), (True, False, True), 2, (0.0,) * 3)
    other = Region("1", (7,), (True,), 1, (0.0,))
    held = (states[:, [0, 3, 5]] == [True, False, True]).sum(1) >= 2
    np.testing.assert_array_equal(one.contains(samples), held)
    np.testing.assert_array_equal((one & other).contains(samples), held & states[:, 7])
    np.testing.assert_array_equal((one | ~other).contains(samples), held | ~states[:, 7])
    assert (one | ~other).to_dict()["or"][1]["not"][0]["neurons"] == [7]
    with pytest.raises(ValueError, match="take configurations of that layer"):
        one.contains(of_states(states, layer="2"))


def test_a_sample_is_in_its_own_region_though_others_are_alike():
    states = random_states(50, 24)
    states[10:25] = states[10]
    path = find_region(of_states(states), 24, k=8)
    assert 24 in path.positive
    assert 24 in path.members
    with pytest.raises(ValueError, match="more than k = 50"):
        find_region(of_states(states), 0, k=50)


def test_kinds_of_flagged_samples_are_told_apart():
    rng = np.random.default_rng(2)
    states = rng.random((600, 80)) < 0.5
    states[:40, :8] = True
    states[40:70, 20:28] = False
    flagged = np.zeros(600, dtype=bool)
    flagged[:70] = True
    kinds = find_kinds(of_states(states), flagged)
    assert len(kinds) >= 2
    held = [set(kind.flagged) for kind in kinds[:2]]
    assert len(held[0] & set(range(40))) > 30
    assert len(held[1] & set(range(40, 70))) > 20
    assert all(kind.lift > 4 for kind in kinds[:2])
    with pytest.raises(ValueError, match="at least k = 8"):
        find_kinds(of_states(states), np.arange(600) < 3)


def test_flags_without_a_pattern_have_no_kind():
    flagged = np.random.default_rng(6).random(600) < 0.1
    assert find_kinds(of_states(random_states(600, 40, seed=5)), flagged) == []


def test_purity_on_samples_held_out():
    rng = np.random.default_rng(3)
    states = rng.random((400, 60)) < 0.5
    carries = np.arange(400) % 4 == 0
    states[np.ix_(carries, np.arange(10))] = True
    features = rng.standard_normal((400, 6))
    path = find_region(of_states(states[:200]), 0)
    found = held_out_purity(
        path.region, of_states(states[200:]), of_states(states[:1]), features[200:], features[0], carries[200:]
    )
    inside = path.region.contains(of_states(states[200:]))
    assert found.n == inside.sum() > 0
    assert found.region == carries[200:][inside].mean() > 0.8
    assert found.lift == found.region / 0.25
    nearest = np.argsort(np.linalg.norm(features[200:] - features[0], axis=1))[: found.n]
    assert found.euclidean == carries[200:][nearest].mean() < 0.6


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"layer": "9"}, "9"),
        ({"batches": IMAGES * float("nan")}, "NaN"),
        ({"batches": []}, "No sample"),
        ({"threshold": "mean"}, "'auto', 'zero', 'median' and 'learned'"),
        ({"thresholds": np.zeros(3, np.float32)}, "180 neurons here, but 3 thresholds"),
    ],
)
def test_what_gives_no_configuration_is_said(change, says):
    with pytest.raises((LookupError, ValueError), match=says):
        configurations(**{"model": conv_net(nn.ReLU()), "layer": "1", "batches": IMAGES, **change})


def test_a_layer_that_never_runs_is_named():
    net = conv_net(nn.ReLU())
    net.add_module("spare", nn.ReLU())
    net.forward = lambda images: net[0](images)
    with pytest.raises(ValueError, match="never ran"):
        configurations(net, "spare", IMAGES)
    with pytest.raises(ValueError, match="training mode"):
        configurations(conv_net(nn.ReLU()).train(), "1", IMAGES)
