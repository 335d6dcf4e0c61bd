"""The methods that explain: ours and captum's, what each needs of a model, and why it would not serve another."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from genmend.activations.layers import find_layer
from genmend.concepts.attributions.distilled_gradient import DistilledGradient
from genmend.concepts.attributions.feature_groups import patches
from genmend.concepts.attributions.full_gradient import FullGradient
from genmend.concepts.attributions.guided_path import GuidedIntegratedGradients
from genmend.concepts.attributions.positive_interactions import PositiveInteractions
from genmend.concepts.loop.operations import ModelFacts
from genmend.concepts.scalar_target import NotDeterministicWarning, Target, scores_of

__all__ = ["ABBREVIATIONS", "METHODS", "Method", "method_name", "why_not"]

Attribute = Callable[[Tensor, Target], Tensor]


@dataclass(frozen=True)
class Method:
    """A way to explain a score.

    Attributes
    ----------
    source : str
    build : callable
        ``build(model, facts, **settings)`` gives ``attribute(inputs, targets)``, of images ``(n, c, h, w)`` to
        ``(n, c or 1, h, w)``.
    passes : callable
        Runs of the model a sample, forward and backward counted as one, from the settings.
    needs : frozenset of str
        Families of operations, see `ModelFacts`; one of them must have run.
    refuses : dict of str to str
        Family -> why the method is not right where it ran.
    gradient : bool
        Whether it needs one.
    settings : dict
        Defaults.
    space : dict of str to tuple
        What may be tuned, see `genmend.concepts.loop.tuning.Space`; the cost of the method stays about what it is.
    by_default : bool
        Whether it runs where no method is named; those that take long and say little that others do not are False.
    """

    source: str
    build: Callable[..., Attribute]
    passes: Callable[[Mapping[str, Any]], int]
    needs: frozenset[str] = frozenset()
    refuses: Mapping[str, str] = field(default_factory=dict)
    gradient: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict)
    space: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    by_default: bool = True


#: What papers call methods.
ABBREVIATIONS = {
    "dga": "distilled-gradient",
    "fullgrad": "full-gradient",
    "gig": "guided-integrated-gradients",
    "ig": "integrated-gradients",
    "smoothgrad": "smooth-gradient",
    "gradcam": "grad-cam",
    "api": "positive-interactions",
}


def method_name(name: str) -> str:
    """The name in `METHODS` of a method that is given by it or by its published abbreviation.

    Raises
    ------
    ValueError
        If there is no such method; the message lists all.
    """
    if name in METHODS:
        return name
    if name.lower() in ABBREVIATIONS:
        return ABBREVIATIONS[name.lower()]
    short = {full: abbreviation for abbreviation, full in ABBREVIATIONS.items()}
    known = ", ".join(f"{each} ({short[each]})" if each in short else each for each in METHODS)
    raise ValueError(f"{name!r} is no method; accepted are {known}.")


def why_not(method: Method, facts: ModelFacts) -> str | None:
    """Why a method does not serve the model, in one sentence; None where it does."""
    if method.gradient and not facts.differentiable:
        return "The score has no gradient by the input."
    if method.needs and not method.needs & facts.families:
        return f"It needs {' or '.join(sorted(method.needs))}, and the model has none."
    if "convolution" in method.needs and facts.last_maps is None:
        return "No layer of the model gives maps of more than one position."
    for family, reason in method.refuses.items():
        if family in facts.families:
            return reason
    if not method.gradient and facts.spread > 0:
        return f"Two runs of the model differ by {facts.spread:.2g}, and differences of scores would be noise."
    return None


def _ours(kind: Callable[..., Any], model: nn.Module, facts: ModelFacts, **settings: Any) -> Attribute:
    method = kind(model, **settings)

    def attribute(inputs: Tensor, targets: Target) -> Tensor:
        with warnings.catch_warnings():
            # Whoever knows the facts has said it once.
            warnings.simplefilter("ignore", NotDeterministicWarning)
            found: Tensor = method.attribute(inputs, targets)
        return found

    return attribute


def _captum(name: str, model: nn.Module, facts: ModelFacts, **settings: Any) -> Attribute:
    method = getattr(_captum_package(), name)(_logits(model))

    def attribute(inputs: Tensor, targets: Target) -> Tensor:
        with warnings.catch_warnings():
            # That guided backprop sets hooks for a moment.
            warnings.filterwarnings("ignore", message="Setting (forward|backward)")
            found: Tensor = method.attribute(inputs.clone().requires_grad_(), target=targets, **settings)
        return found.detach()

    return attribute


def _smooth(model: nn.Module, facts: ModelFacts, *, n_draws: int, deviation: float) -> Attribute:
    captum = _captum_package()
    method = captum.NoiseTunnel(captum.InputXGradient(_logits(model)))

    def attribute(inputs: Tensor, targets: Target) -> Tensor:
        with torch.random.fork_rng():
            torch.manual_seed(0)  # captum takes no generator; two explanations of one input are to be one
            found: Tensor = method.attribute(
                inputs,
                nt_type="smoothgrad",
                nt_samples=n_draws,
                nt_samples_batch_size=1,
                stdevs=deviation,
                target=targets,
            )
        return found.detach()

    return attribute


def _grad_cam(model: nn.Module, facts: ModelFacts) -> Attribute:
    assert facts.last_maps is not None
    method = _captum_package().LayerGradCam(_logits(model), find_layer(model, facts.last_maps))

    def attribute(inputs: Tensor, targets: Target) -> Tensor:
        maps = method.attribute(inputs, target=targets, relu_attributions=True)
        return interpolate(maps.detach(), size=inputs.shape[-2:], mode="bilinear", align_corners=False)

    return attribute


def _occlusion(model: nn.Module, facts: ModelFacts, *, cells: int) -> Attribute:
    method = _captum_package().FeatureAblation(_logits(model))

    def attribute(inputs: Tensor, targets: Target) -> Tensor:
        groups = torch.as_tensor(_cells(inputs, cells), device=inputs.device)
        with torch.no_grad():
            found: Tensor = method.attribute(inputs, target=targets, feature_mask=groups.expand_as(inputs))
        return found[:, :1]

    return attribute


def _positive(model: nn.Module, facts: ModelFacts, *, cells: int, n_orders: int) -> Attribute:
    def attribute(inputs: Tensor, targets: Target) -> Tensor:
        method = PositiveInteractions(model, _cells(inputs, cells), n_orders=n_orders)
        return method.attribute(inputs, targets)[:, :1]

    return attribute


def _random(model: nn.Module, facts: ModelFacts) -> Attribute:
    def attribute(inputs: Tensor, targets: Target) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        return torch.rand((len(inputs), 1, *inputs.shape[-2:]), generator=generator).to(inputs)

    return attribute


def _cells(inputs: Tensor, cells: int) -> Any:
    height, width = inputs.shape[-2:]
    return patches((height, width), max(1, -(-max(height, width) // cells)))


def _logits(model: nn.Module) -> nn.Module:
    """The model as captum wants it: models of transformers, which have a config, give more than their logits."""
    return _WithLogits(model) if hasattr(model, "config") else model


class _WithLogits(nn.Module):
    """A model's scores alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        return scores_of(self.model(inputs))


def _captum_package() -> Any:
    try:
        import captum.attr
    except ImportError:
        raise ModuleNotFoundError(
            "This method needs the package captum, which is not installed: pip install 'genmend[explain]'.",
            name="captum",
        ) from None
    return captum.attr


_MAPS = frozenset({"convolution"})
_NO_PIECES = "Its terms add up to the score only in networks of ReLU, and this one has smooth gates."

METHODS: dict[str, Method] = {
    "distilled-gradient": Method(
        "NeurIPS 2022",
        partial(_ours, DistilledGradient),
        lambda settings: settings["n_steps"] + 1,
        settings={"n_steps": 30, "quantile": 0.9, "negative": 0.0, "bias": "uniform", "ranks": "channel"},
        space={
            "quantile": (0.5, 1.0),
            "negative": (0.0, 1.0),
            "bias": ("uniform", "none"),
            "ranks": ("channel", "pixel"),
        },
    ),
    "full-gradient": Method("Srinivas and Fleuret 2019", partial(_ours, FullGradient), lambda settings: 1, needs=_MAPS),
    "guided-integrated-gradients": Method(
        "Kapishnikov et al. 2021",
        partial(_ours, GuidedIntegratedGradients),
        lambda settings: settings["n_steps"],
        settings={"n_steps": 31, "fraction": 0.25, "max_distance": 0.02},
        space={"fraction": (0.05, 0.5), "max_distance": (0.0, 0.2)},
        by_default=False,
    ),
    "integrated-gradients": Method(
        "Sundararajan et al. 2017, captum",
        partial(_captum, "IntegratedGradients"),
        lambda settings: settings["n_steps"],
        settings={"n_steps": 31, "internal_batch_size": 8},
    ),
    "input-x-gradient": Method("captum", partial(_captum, "InputXGradient"), lambda settings: 1),
    "saliency": Method("Simonyan et al. 2013, captum", partial(_captum, "Saliency"), lambda settings: 1),
    "smooth-gradient": Method(
        "Smilkov et al. 2017, captum, on input times gradient",
        _smooth,
        lambda settings: settings["n_draws"],
        settings={"n_draws": 31, "deviation": 0.2},
        space={"deviation": (0.05, 0.95)},
        by_default=False,
    ),
    "guided-backprop": Method(
        "Springenberg et al. 2014, captum",
        partial(_captum, "GuidedBackprop"),
        lambda settings: 1,
        needs=frozenset({"relu"}),
        refuses={
            "smooth gate": "It changes the gradient of ReLU alone, and this model has smooth gates.",
            "clamped relu": "It changes the gradient of ReLU alone, and this model has ReLU6.",
        },
    ),
    "grad-cam": Method("Selvaraju et al. 2017, captum", _grad_cam, lambda settings: 1, needs=_MAPS),
    "occlusion": Method(
        "Zeiler and Fergus 2014, captum's feature ablation by square cells",
        _occlusion,
        lambda settings: settings["cells"] ** 2 + 1,
        gradient=False,
        settings={"cells": 7},
        space={"cells": (4, 10)},
        by_default=False,
    ),
    "positive-interactions": Method(
        "ICLR 2025 (API), by square cells",
        _positive,
        lambda settings: settings["n_orders"] * settings["cells"] ** 2 * (settings["cells"] ** 2 + 1) // 2,
        gradient=False,
        settings={"cells": 5, "n_orders": 2},
        space={"cells": (3, 6)},
        by_default=False,
    ),
    "random": Method("the control: uniform noise", _random, lambda settings: 0, gradient=False),
}
