import builtins

import numpy as np
import pytest
import torch
from torch import nn

from genmend.concepts.loop.explain import explain
from genmend.concepts.loop.measure import Case
from genmend.concepts.loop.methods import METHODS
from genmend.concepts.loop.operations import trace_model
from genmend.concepts.loop.robustness import relabelled_copy
from genmend.concepts.loop.tuning import halves, tune
from genmend.storage.pieces import Work

IMAGES = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(1)) - 0.5
WEIGHTS = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Linear(nn.Module):
    def forward(self, images):
        score = (images * WEIGHTS).sum((1, 2, 3))
        return torch.stack([score, -score], 1)


def build(settings):
    """True parts where the sign is 'right', and with ever more noise."""
    sign = 1 if settings["sign"] == "right" else -1
    noise = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    return lambda images, targets: (
        sign * images * WEIGHTS * (1 - 2 * targets.reshape(-1, 1, 1, 1)) + (settings["noise"] * noise)
    )


seen = []


def case(numbers, attribute):
    seen.append(tuple(numbers))
    images, targets = IMAGES[torch.as_tensor(numbers)], torch.tensor([0, 1, 0, 1])
    return Case(Linear().eval(), images, targets, attribute(images, targets), attribute)


def test_settings_are_chosen_on_some_images_and_judged_on_the_others():
    pytest.importorskip("optuna")
    seen.clear()
    defaults = {"sign": "wrong", "noise": 3.0}
    space = {"sign": ("wrong", "right"), "noise": (0.0, 4.0)}
    found = tune(build, defaults, space, case, 8, n_trials=15, seed=2)
    assert found.settings["sign"] == "right"
    assert found.used
    assert found.gain - found.half_width > 0
    assert found.gain_on_tuned > 0
    chosen_on, held_out = halves(8, 2)
    assert seen[:15] == [tuple(chosen_on)] * 15, "no trial has seen a held-out image"
    assert seen[15:] == [tuple(held_out)] * 2
    assert not set(chosen_on) & set(held_out)
    assert found == tune(build, defaults, space, case, 8, n_trials=15, seed=2)


def test_the_defaults_are_the_first_trial():
    pytest.importorskip("optuna")
    defaults = {"sign": "right", "noise": 0.0}
    found = tune(build, defaults, {"noise": (0.0, 4.0)}, case, 8, n_trials=1)
    assert (found.settings, found.gain, found.gain_on_tuned, found.used) == ({"noise": 0.0}, 0, 0, False)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 64, 5)).eval()


def test_explain_says_what_tuning_gained_and_goes_on_from_it(tmp_path):
    pytest.importorskip("optuna")
    settings = {"distilled-gradient": {"n_steps": 3}}
    options = {"methods": ["distilled-gradient"], "settings": settings, "tune": 3, "key": "k"}
    found = explain(network(), IMAGES, work=Work(tmp_path), **options)
    own, tuned = found["distilled-gradient"].settings, found["distilled-gradient"].tuned
    assert (tuned.n_trials, tuned.n_tuned_on, tuned.n_held_out) == (3, 4, 4)
    defaults = {**METHODS["distilled-gradient"].settings, "n_steps": 3}
    assert own == ({**defaults, **tuned.settings} if tuned.used else defaults)
    assert found["random"].tuned is None
    assert found.to_dict()["methods"][0]["tuned"]["used"] == tuned.used
    again = explain(network(), IMAGES, work=Work(tmp_path), **options)
    assert again["distilled-gradient"].tuned == tuned
    np.testing.assert_array_equal(again["distilled-gradient"].attributions, found["distilled-gradient"].attributions)


def test_too_few_images_and_a_missing_package_are_said(monkeypatch):
    with pytest.raises(ValueError, match="at least 4"):
        explain(network(), IMAGES[:3], methods=["distilled-gradient"], tune=2)
    real = builtins.__import__

    def without(name, *rest):
        if name == "optuna":
            raise ImportError
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModuleNotFoundError, match=r"genmend\[explain\]"):
        tune(build, {"noise": 0.0}, {"noise": (0.0, 1.0)}, case, 8, n_trials=1)


def test_the_layer_that_gives_the_classes_is_fitted_to_wrong_ones():
    model = network()
    facts = trace_model(model, IMAGES)
    assert facts.last_linear == "3"
    targets = model(IMAGES).argmax(1)
    other, labels = relabelled_copy(model, facts.last_linear, IMAGES, targets, 0)
    assert (labels != targets).all()
    assert torch.equal(other(IMAGES).argmax(1), labels), "it has learnt them"
    assert torch.equal(other[0].weight, model[0].weight)
    assert torch.equal(model(IMAGES).argmax(1), targets)
    assert not model[3]._forward_pre_hooks


def test_a_model_whose_classes_come_from_elsewhere_has_no_such_check():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network()

        def forward(self, images):
            return self.inner(images) * 2

    facts = trace_model(Scaled().eval(), IMAGES)
    assert facts.last_linear is None
    found = explain(Scaled().eval(), IMAGES[:2], methods=["saliency"])
    assert "random labels" not in found["saliency"].scores
    assert "random labels" in explain(network(), IMAGES[:2], methods=["saliency"])["saliency"].scores
