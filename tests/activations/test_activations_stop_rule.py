"""The facts of a correction that code reads: checked when given, and in files where older versions look for them."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from activation_toys import generator, scale_units
from safetensors import safe_open
from safetensors.torch import save_file

from genmend.activations import Correction, Gate, StopRule, load_correction, save_correction
from genmend.activations.correction_file import CorrectionFileError

KEY = "genmend.correction"


def stop_rule(**changes):
    values = {
        "enough_gate_score": -1.5,
        "normal_gate_score": 0.25,
        "normal_manifold_score": 1.125,
        "k": 2,
        "features": torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).half(),
        "radii": torch.linspace(0, 2, 5, dtype=torch.float64),
    }
    return StopRule(**values | changes)


def full(**changes):
    options = {
        "gate": Gate("e", torch.ones(3), 0.0, 0.0),
        "tensors": {"more": torch.ones(2)},
        "info": {"seed": 3},
        "stop_rule": stop_rule(),
        "generator_settings": {"psi": 0.5, "label": None},
        "sigma_window": (0.5, float("inf")),
    }
    return Correction.of(generator(), [[scale_units()], []], **options | changes)


@pytest.fixture
def saved(tmp_path):
    save_correction(tmp_path / "c.safetensors", full())
    return tmp_path / "c.safetensors"


def content_of(path):
    with safe_open(path, "pt") as opened:
        return json.loads(opened.metadata()[KEY]), {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118


def test_all_of_it_comes_back(saved):
    loaded = load_correction(saved)
    assert loaded == full()
    assert loaded.stop_rule == stop_rule()
    assert loaded.stop_rule.features.dtype == torch.float16
    assert loaded.sigma_window == (0.5, float("inf"))
    assert loaded.info == {"seed": 3}
    assert loaded.tensors.keys() == {"more"}
    for changes in (
        {"stop_rule": None},
        {"generator_settings": None},
        {"sigma_window": None},
        {"sigma_window": (1, 2)},
    ):
        save_correction(saved, full(**changes))
        assert load_correction(saved) == full(**changes) != full()


def test_in_the_file_they_stand_where_older_versions_look(saved):
    content, tensors = content_of(saved)
    assert content["info"] == full().facts
    assert content["info"] == {
        "seed": 3,
        "generator_settings": {"psi": 0.5, "label": None},
        "stop_rule": {
            "enough_gate_score": -1.5,
            "normal_gate_score": 0.25,
            "normal_manifold_score": 1.125,
            "k": 2,
        },
        "sigma_window": [0.5, None],
    }
    assert list(content["tensors"]) == ["normal_features", "normal_radii", "more"]
    assert torch.equal(tensors["tensors.normal_features"], stop_rule().features)


def test_normal_is_at_most_both_limits():
    gate, manifold = np.array([0.25, 0.25, 0.26, -9.0, np.nan]), np.array([1.125, 1.2, 1.0, 0.0, 0.0])
    assert stop_rule().is_normal(gate, manifold).tolist() == [True, False, False, True, False]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"enough_gate_score": float("nan")}, "enough_gate_score nan"),
        ({"normal_manifold_score": float("inf")}, "normal_manifold_score inf"),
        ({"k": 0}, "k 0"),
        ({"k": 2.0}, r"k 2\.0"),
        ({"k": True}, "k True"),
        ({"features": torch.ones(5, 3, dtype=torch.int64)}, "features that are not finite floating"),
        ({"features": torch.full((5, 3), torch.nan)}, "features that are not finite floating"),
        ({"features": torch.ones(5)}, r"features of shape \(5,\)"),
        ({"features": torch.ones(4, 3)}, r"features of shape \(4, 3\) and radii of shape \(5,\)"),
        ({"radii": torch.ones(5, 1)}, r"radii of shape \(5, 1\)"),
        ({"radii": -torch.ones(5)}, "at least 0"),
    ],
)
def test_stop_rules_that_cannot_be_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        stop_rule(**changes)


def test_rules_differ_by_every_value():
    for changes in ({"k": 3}, {"enough_gate_score": 0.0}, {"features": torch.zeros(5, 3)}, {"radii": torch.ones(5)}):
        assert replace(stop_rule(), **changes) != stop_rule()
    assert hash(stop_rule()) == hash(stop_rule())
    assert stop_rule() != 3


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"info": {"stop_rule": {}}}, ValueError, r"info holds \['stop_rule'\].*write stop_rule="),
        ({"info": {"sigma_window": [0, 1]}}, ValueError, "sigma_window"),
        ({"stop_rule": {"k": 3}}, TypeError, "stop_rule is a dict"),
        ({"generator_settings": {"a": float("nan")}}, ValueError, "JSON"),
        ({"sigma_window": (2.0, 1.0)}, ValueError, r"\(low, high\) with 0 <= low <= high"),
        ({"sigma_window": (-1.0, 1.0)}, ValueError, "sigma_window is"),
        ({"sigma_window": (float("nan"), 1.0)}, ValueError, "sigma_window is"),
    ],
)
def test_facts_that_cannot_be_are_refused(changes, error, words):
    with pytest.raises(error, match=words):
        full(**changes)


def test_arrays_named_like_those_of_the_stop_rule_are_not_mixed_up(saved):
    before = saved.read_bytes()
    with pytest.raises(ValueError, match=r"tensors holds \['normal_radii'\]"):
        save_correction(saved, full(tensors={"normal_radii": torch.ones(2)}))
    assert saved.read_bytes() == before
    lone = full(tensors={"normal_radii": torch.ones(2)}, stop_rule=None)
    save_correction(saved, lone)
    assert load_correction(saved) == lone


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda info, tensors: info["stop_rule"].pop("k"), r"the stop rule lacks \['k'\]"),
        (lambda info, tensors: info["stop_rule"].update(more=1), r"unknown \['more'\]"),
        (lambda info, tensors: info["stop_rule"].update(features=1), r"unknown \['features'\]"),
        (lambda info, tensors: info["stop_rule"].update(k="3"), "k '3'"),
        (lambda info, tensors: info["stop_rule"].update(normal_gate_score="high"), "could not convert"),
        (lambda info, tensors: info.update(stop_rule=[1]), "the stop rule is a list"),
        (lambda info, tensors: tensors.pop("normal_radii"), r"stop rule without the arrays \['normal_radii'\]"),
        (lambda info, tensors: info.update(sigma_window=3), "its sigma_window is 3"),
        (lambda info, tensors: info.update(sigma_window=["a", 2]), "could not convert"),
        (lambda info, tensors: info.update(sigma_window=[3, 2]), "sigma_window is"),
        (lambda info, tensors: info.update(generator_settings=[3]), "generator_settings is"),
    ],
)
def test_files_with_other_facts_are_refused(saved, change, words):
    content, tensors = content_of(saved)
    change(content["info"], content["tensors"])
    kept = {name: values for name, values in tensors.items() if name != "tensors.normal_radii"}
    save_file(tensors if "normal_radii" in content["tensors"] else kept, saved, {KEY: json.dumps(content)})
    with pytest.raises(CorrectionFileError, match=words):
        load_correction(saved)
