import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from genmend.concepts.loop.explain import _chosen, explain
from genmend.concepts.loop.methods import METHODS
from genmend.concepts.loop.operations import trace_model
from genmend.concepts.loop.ranking import DEFAULT_WEIGHTS, ranked

IMAGES = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(1)) - 0.5


def classifier(gate=nn.ReLU):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        gate(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1),
        gate(),
        nn.Flatten(),
        nn.Linear(8 * 16, 5),
    ).eval()


class Attends(nn.Module):
    """A transformer that calls attention as a function, in no class that anybody lists."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 4, stride=4)
        self.norm = nn.LayerNorm(8)
        self.parts = nn.Linear(8, 24)
        self.head = nn.Linear(8, 5)

    def forward(self, images):
        tokens = self.embed(images).flatten(2).transpose(1, 2)
        q, k, v = self.parts(self.norm(tokens)).chunk(3, 2)
        tokens = tokens + nn.functional.scaled_dot_product_attention(q, k, v)
        return self.head(nn.functional.gelu(tokens).mean(1))


class WrittenOut(Attends):
    def forward(self, images):
        tokens = self.embed(images).flatten(2).transpose(1, 2)
        q, k, v = self.parts(tokens).chunk(3, 2)
        return self.head(((q @ k.transpose(1, 2)).softmax(-1) @ v).mean(1))


def test_what_ran_is_seen_whatever_the_classes_are_called():
    facts = trace_model(classifier(), IMAGES)
    assert {"convolution", "relu", "max pooling", "batch norm", "linear"} <= facts.families
    assert not {"attention", "smooth gate", "clamped relu"} & facts.families
    assert (facts.last_maps, facts.n_classes, facts.spread, facts.differentiable) == ("5", 5, 0, True)
    assert "smooth gate" in trace_model(classifier(nn.SiLU), IMAGES).families
    assert "clamped relu" in trace_model(classifier(nn.ReLU6), IMAGES).families
    for model in (Attends(), WrittenOut()):
        assert "attention" in trace_model(model.eval(), IMAGES).families
    assert {"layer norm", "smooth gate"} <= trace_model(Attends().eval(), IMAGES).families


def test_a_model_that_is_not_deterministic_is_seen():
    class Noisy(nn.Module):
        def forward(self, images):
            return torch.rand(len(images), 2) + images.mean((1, 2, 3)).unsqueeze(1)

    facts = trace_model(Noisy().eval(), IMAGES)
    assert facts.spread > 0
    found = explain(Noisy().eval(), IMAGES, methods=["saliency"])
    assert found.explained[0].method == "saliency"
    with pytest.raises(ValueError, match="Two runs of the model differ"):
        explain(Noisy().eval(), IMAGES, methods=["positive-interactions"])


def test_a_model_that_runs_otherwise_while_it_is_watched_is_deterministic_all_the_same():
    """As an extractor does that runs by onnxruntime, and by torch where somebody looks inside."""

    class Engines(nn.Module):
        def __init__(self):
            super().__init__()
            self.flat = nn.Flatten()

        def forward(self, images):
            watched = bool(self.flat._forward_hooks)
            return self.flat(images)[:, :2] + (1e-7 if watched else 0)

    model = Engines().eval()
    assert trace_model(model, IMAGES).spread == 0
    explain(model, IMAGES, methods=["occlusion"], settings={"occlusion": {"cells": 2}})


FEW = {
    "positive-interactions": {"cells": 2},
    "guided-integrated-gradients": {"n_steps": 5},
    "distilled-gradient": {"n_steps": 4},
    "smooth-gradient": {"n_draws": 4},
    "occlusion": {"cells": 3},
}


@pytest.fixture(scope="module")
def found():
    return explain(classifier(), IMAGES, settings=FEW, methods="all")


def test_every_method_runs_or_says_why_not(found):
    assert {each.method for each in found.explained} == set(METHODS)
    assert not found.refused
    assert found.explained[-1].method == "random"
    for each in found.explained:
        assert each.attributions.shape == (3, 8, 8)
        assert all(values.shape == (3,) for values in each.scores.values())
        assert np.isfinite(each.attributions).all()
    assert set(found.pareto) < set(METHODS) - {"random"}
    json.dumps(found.to_dict(), allow_nan=False)


def test_settings_are_used_and_kept(found):
    assert found["distilled-gradient"].passes == 5
    assert found["distilled-gradient"].settings["quantile"] == 0.9


def test_the_same_seed_gives_the_same(found):
    again = explain(classifier(), IMAGES, settings=FEW, methods=["smooth-gradient", "positive-interactions"])
    for each in again.explained:
        np.testing.assert_array_equal(each.attributions, found[each.method].attributions)
        np.testing.assert_array_equal(each.scores["muFidelity"], found[each.method].scores["muFidelity"])


def test_what_takes_long_has_to_be_asked_for():
    facts = trace_model(classifier(), IMAGES)
    names, refused = _chosen(None, facts)
    assert "ask for all" in refused["positive-interactions"]
    assert set(names) == {name for name, method in METHODS.items() if method.by_default}
    assert set(_chosen("all", facts)[0]) == set(METHODS)


def test_methods_that_do_not_fit_are_named_with_the_reason():
    found = explain(Attends().eval(), IMAGES, 2, settings=FEW)
    assert "smooth gates" in found.refused["guided-backprop"] or "needs relu" in found.refused["guided-backprop"]
    assert (found.targets == 2).all()
    with pytest.raises(ValueError, match="guided-backprop does not serve this model"):
        explain(Attends().eval(), IMAGES, methods=["guided-backprop"])
    with pytest.raises(KeyError, match=r"needs relu|smooth gates"):
        found["guided-backprop"]


def test_the_order_follows_the_weights(found):
    def ordered(**weights):
        return ranked(found.explained, {**dict.fromkeys(DEFAULT_WEIGHTS, 0.0), **weights})[:-1]

    passes = [each.passes for each in ordered(cheap=1.0)]
    assert passes == sorted(passes)
    means = [each.mean("AbPC")[0] for each in ordered(faithful=1.0)]
    assert means == sorted(means, reverse=True)
    assert ordered(faithful=1.0)[0].method in found.pareto
    assert list(found.explained[:-1]) == ordered(**DEFAULT_WEIGHTS)


def test_a_picture_shows_the_best(found):
    figure = found.plot(np.full((3, 8, 8, 3), 0.5))
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[0] == "image"
    assert "\n".join(found.explained[0].method.split("-")) in titles[1]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"targets": [0, 1]}, r"target has shape \(2,\) for 3 samples"),
        ({"targets": 9}, "target 9 is no class"),
        ({"methods": ["lime"]}, "'lime' is no method"),
        ({"weights": {"pretty": 1}}, "accepted are faithful"),
        ({"weights": {"cheap": 0}}, "All weights are 0"),
        ({"inputs": IMAGES * float("inf")}, "NaN or infinity"),
        ({"inputs": IMAGES[0]}, "images"),
        ({"model": classifier().train()}, "training mode"),
    ],
)
def test_bad_input_is_said(options, says):
    with pytest.raises(ValueError, match=says):
        explain(**{"model": classifier(), "inputs": IMAGES, **options})


def test_what_does_not_depend_on_the_class_stands_behind(found):
    best = found.explained[0]
    alike = replace(best, method="saliency", scores={**best.scores, "other class": np.ones(3)})
    apart = [
        replace(each, scores={**each.scores, "other class": np.zeros(3), "random weights": np.zeros(3)})
        for each in found.explained[1:]
    ]
    ordered = ranked([alike, *apart], dict(DEFAULT_WEIGHTS))
    assert ordered[-2] is alike
    assert ordered[-1].method == "random"
