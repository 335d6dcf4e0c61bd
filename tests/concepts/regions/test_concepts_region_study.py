from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from genmend.concepts.regions.configurations import Configurations, configurations
from genmend.concepts.regions.find import find_kinds
from genmend.concepts.regions.flagged import read_flagged
from genmend.concepts.regions.layer_states import LayerStates, last_gate, layer_states
from genmend.concepts.regions.study import study_kinds, study_query
from genmend.concepts.settings import RegionsSettings
from genmend.storage.pieces import Work

N = 40
IMAGES = torch.randn(N, 3, 8, 8, generator=torch.Generator().manual_seed(1))
SETTINGS = RegionsSettings(n_neurons=12, k=6)


def conv_net(gate=None):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 5, 3), gate or nn.ReLU6(), nn.Conv2d(5, 4, 3), nn.Flatten(), nn.Linear(64, 3)]
    return nn.Sequential(*layers).eval().requires_grad_(False)


def states_of(states, features=None):
    states = np.asarray(states, dtype=bool)
    n, d = states.shape
    seen = Configurations(np.packbits(states, axis=1), d, np.zeros(d, np.float32), "zero", "1", (d,), False)
    return LayerStates(seen, states.astype(np.float32) if features is None else features, np.full(n, -1))


def see(net, work=None, order=range(N), **options):
    images = IMAGES[list(order)]
    return layer_states(net, "1", lambda numbers: images[numbers], len(images), work=work, **options)


@pytest.mark.parametrize(("pooled", "gate"), [(False, nn.PReLU(5)), (True, nn.ReLU6(inplace=True))])
def test_states_are_those_of_one_pass(pooled, gate):
    net = conv_net(gate)
    found = see(net, pooled=pooled, batch_size=7)
    whole = configurations(net, "1", IMAGES, threshold="learned", pooled=pooled)
    np.testing.assert_array_equal(found.configurations.bits, whole.bits)
    np.testing.assert_allclose(found.configurations.thresholds, whole.thresholds, atol=1e-6)
    assert found.configurations.shape == whole.shape
    np.testing.assert_allclose(found.features, net[:2](IMAGES).mean((2, 3)), atol=1e-6)
    np.testing.assert_array_equal(found.classes, net(IMAGES).argmax(1))


def test_thresholds_do_not_come_from_the_first_of_a_sorted_folder(monkeypatch):
    monkeypatch.setattr("genmend.concepts.regions.layer_states.N_LEARNED_FROM", 16)
    net = conv_net()
    order = net[0](IMAGES).amax((2, 3))[:, 0].argsort()
    found = see(net, order=order, threshold="median", pooled=True, batch_size=5)
    first = configurations(net, "1", IMAGES[order][:16], threshold="median", pooled=True)
    assert len(found) == N
    assert found.configurations.states(np.arange(1)).mean() < 0.75
    assert (net[0](IMAGES).amax((2, 3))[:, 0].numpy() > first.thresholds[0]).mean() > 0.75
    np.testing.assert_allclose(found.features, net[:2](IMAGES[order]).mean((2, 3)), atol=1e-6)


def test_an_interrupted_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("genmend.concepts.regions.layer_states.N_LEARNED_FROM", 16)
    monkeypatch.setattr("genmend.concepts.regions.layer_states.PIECE", 8)
    net, runs = conv_net(), []

    def load(numbers, most=99):
        runs.append(len(numbers))
        if sum(runs) > most:
            raise KeyboardInterrupt
        return IMAGES[numbers]

    work = Work(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        layer_states(net, "1", lambda numbers: load(numbers, 26), N, work=work)
    runs.clear()
    found = layer_states(net, "1", load, N, work=work)
    assert sum(runs) <= 17, "16 and 8 samples are kept"
    np.testing.assert_array_equal(found.configurations.bits, see_sixteen(net).configurations.bits)
    runs.clear()
    layer_states(net, "1", load, N, work=work, pooled=True)
    assert sum(runs) > N, "other settings, other pieces"


def see_sixteen(net):
    return layer_states(net, "1", lambda numbers: IMAGES[numbers], N)


def test_the_last_gate_is_the_one_that_runs_last():
    net = nn.Sequential(conv_net(), nn.GELU(), nn.Linear(3, 2)).eval()
    net.add_module("spare", nn.ReLU())
    net.forward = lambda images: net[2](net[1](net[0](images)))
    assert last_gate(net, IMAGES[:1]) == "1"
    library = pytest.importorskip("transformers.activations").QuickGELUActivation()
    assert last_gate(nn.Sequential(nn.Linear(2, 2), library).eval(), torch.randn(1, 2)) == "1"
    with pytest.raises(ValueError, match="name a layer"):
        last_gate(nn.Sequential(nn.Linear(2, 2)).eval(), torch.randn(1, 2))


def test_a_query_is_judged_on_samples_that_its_rule_was_not_made_of():
    rng = np.random.default_rng(0)
    states = rng.random((200, 60)) < 0.5
    states[:50, :30] = rng.random((50, 30)) < 0.95
    labels = ["cat" if number < 50 else "dog" for number in range(200)]
    features = rng.standard_normal((200, 4)).astype(np.float32)
    asked = []

    def values(numbers):
        asked.append(numbers)
        return states[numbers].astype(np.float32) - 0.5

    found = study_query(states_of(states, features), 7, SETTINGS, labels, values)
    assert 7 in found.path.positive
    assert set(asked[0]) == set(found.path.positive), "numbers of all samples"
    assert not set(found.held_out) & set(found.path.members)
    assert found.n_held_out == 100
    assert found.purity.region == np.mean([number < 50 for number in found.held_out]) > 0.9
    assert found.purity.cosine < 0.6
    assert {len(numbers) for numbers in found.neighbours.values()} == {len(found.held_out)}
    marks = found.marks(200)
    assert marks.sum() == len(found.held_out) + len(found.path.members)
    said = found.to_dict()
    assert said["label"] == "cat"
    assert said["purity"]["lift"] == pytest.approx(found.purity.lift)
    assert study_query(states_of(states, features), 7, SETTINGS).purity is None


def test_kinds_are_judged_on_samples_that_they_were_not_found_in():
    rng = np.random.default_rng(2)
    states = rng.random((800, 80)) < 0.5
    states[:60, :8] = True
    states[60:120, 20:28] = False
    flagged = np.arange(800) < 120
    found = study_kinds(states_of(states), flagged, SETTINGS)
    assert (found.n_flagged, found.n_flagged_held_out, found.n_held_out) == (60, 60, 400)
    assert len(found.beyond_chance) == 2
    assert found.random_kinds < 0.5
    first = found.kinds[0]
    assert first.lift == pytest.approx(first.share / 0.15)
    assert first.lift > 4
    assert first.chance < 0.001
    assert not set(first.flagged) & set(first.kind.flagged)
    assert flagged[first.all_flagged].all()
    assert first.kind.path.n_inside[-1] == len(first.kind.flagged) + len(first.kind.others)
    none = study_kinds(states_of(states), rng.permutation(flagged), SETTINGS)
    assert not none.beyond_chance
    assert none.to_dict()["n_beyond_chance"] == 0


def test_the_path_of_a_kind_is_that_of_its_own_soft_rule():
    rng = np.random.default_rng(3)
    states = rng.random((400, 60)) < 0.5
    states[:40, :10] = rng.random((40, 10)) < 0.85
    kinds = find_kinds(states_of(states).configurations, np.arange(400) < 40)
    assert any(kind.path.region.at_least < len(kind.path.region.neurons) for kind in kinds)
    for kind in kinds:
        assert kind.path.n_inside[-1] == len(kind.path.members) == len(kind.flagged) + len(kind.others)


@pytest.mark.parametrize(
    ("flagged", "settings", "says"),
    [
        (np.zeros(30, bool), SETTINGS, "0 of 30 samples are flagged, but some and not all"),
        (np.ones(30, bool), SETTINGS, "30 of 30 samples are flagged, but some and not all"),
        (np.arange(30) < 9, SETTINGS, "flag at least 12"),
    ],
)
def test_flags_that_show_no_kinds_are_said(flagged, settings, says):
    with pytest.raises(ValueError, match=says):
        study_kinds(states_of(np.random.default_rng(0).random((30, 9)) < 0.5), flagged, settings)


def test_a_query_that_cannot_be_judged_is_said():
    states = states_of(np.random.default_rng(0).random((13, 9)) < 0.5)
    with pytest.raises(ValueError, match="need 14"):
        study_query(states, 0, SETTINGS)
    with pytest.raises(ValueError, match="from 0 to 12"):
        study_query(states, 13, replace(SETTINGS, k=2))


def test_flags_are_read_from_what_people_have(tmp_path):
    wanted = np.array([False, True, True, False])
    (tmp_path / "found").mkdir()
    (tmp_path / "found" / "scores.csv").write_text("index,combined,flagged\n0,.1,0\n1,.8,1\n2,.9,1\n3,.2,0\n")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "labels.csv").write_text("rater_a,rater_b\n0,0\n2,2\n2,1\n1,1\n")
    np.save(tmp_path / "flags.npy", wanted)
    for name in ("found", "found/scores.csv", "labels", "flags.npy"):
        np.testing.assert_array_equal(read_flagged(tmp_path / name, 4), wanted)
    (tmp_path / "bad.csv").write_text("flagged\n0\nmaybe\n")
    (tmp_path / "other.csv").write_text("score\n0\n1\n")
    (tmp_path / "picture.csv").write_bytes(b"\x89PNG\xff")
    np.save(tmp_path / "scores.npy", np.array([0.5, 0.1]))
    (tmp_path / "empty").mkdir()
    for name, says in (
        ("bad.csv", "other values than 0 to 1 in flagged"),
        ("other.csv", "no column flagged or rater_a"),
        ("picture.csv", "is no table"),
        ("scores.npy", "a .npy array of truth values"),
        ("empty", "neither scores.csv nor labels.csv"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=says):
            read_flagged(tmp_path / name, 2)
    with pytest.raises(ValueError, match="flags 4 samples, but there are 5"):
        read_flagged(tmp_path / "flags.npy", 5)
