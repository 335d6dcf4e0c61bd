"""Whether an explanation is stable under noise, compact, and dependent on what the model has learnt."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from genmend.activations.layers import find_layer
from genmend.concepts.loop.measure import Case, Measure, pooled
from genmend.concepts.loop.mu_fidelity import rank_correlation
from genmend.concepts.scalar_target import scores_of

__all__ = [
    "complexity",
    "label_sensitivity",
    "randomised_copy",
    "relabelled_copy",
    "sensitivity",
    "target_sensitivity",
    "weight_sensitivity",
]


def sensitivity(n_draws: int = 8, radius: float = 0.2) -> Measure:
    """Largest relative change of the attributions under uniform noise (Yeh et al. 2019).

    Both sides are the method's raw attributions, pooled alike.

    Parameters
    ----------
    n_draws
        Published 8.
    radius
        Of the noise, in the units of the inputs, published 0.2.
    """

    def evaluate(case: Case) -> Tensor:
        generator = torch.Generator().manual_seed(case.seed)
        own = pooled(case.attributions).flatten(1)
        size = own.norm(dim=1)
        worst = torch.zeros_like(size)
        for _ in range(n_draws):
            noise = (torch.rand(case.inputs.shape, generator=generator) * 2 - 1).to(case.inputs) * radius
            moved = pooled(case.attribute(case.inputs + noise, case.targets)).flatten(1)
            worst = torch.maximum(worst, (moved - own).norm(dim=1))
        # A map of zeros says nothing, stably: it counts as wholly changed.
        return torch.where(size > 0, worst / size.clamp_min(torch.finfo(size.dtype).tiny), torch.ones_like(size))

    return Measure(
        "sensitivity",
        "How far does the explanation move when the input hardly does?",
        False,
        0.0,
        math.inf,
        evaluate,
        0,
        n_draws,
        "stable",
    )


def complexity() -> Measure:
    """Entropy of the shares of the pixels in the whole, ``|a_i| / sum |a|`` (Bhatt et al. 2020), over its maximum."""

    def evaluate(case: Case) -> Tensor:
        values = pooled(case.attributions).flatten(1).abs().double()
        total = values.sum(1, keepdim=True)
        share = values / total.clamp_min(torch.finfo(values.dtype).tiny)
        entropy = -(share * share.clamp_min(1e-300).log()).sum(1) / math.log(values.shape[1])
        return torch.where(total[:, 0] > 0, entropy, torch.ones_like(entropy))

    return Measure(
        "complexity", "Over how many pixels is the explanation spread?", False, 0.0, 1.0, evaluate, 0, 0, "compact"
    )


def target_sensitivity() -> Measure:
    """Rank correlation of the attributions with those for another class, drawn at random for each sample."""

    def evaluate(case: Case) -> Tensor:
        with torch.no_grad():
            n_classes = scores_of(case.model(case.inputs[:1])).shape[1]
        generator = torch.Generator().manual_seed(case.seed)
        step = torch.randint(1, max(n_classes, 2), (len(case.inputs),), generator=generator).to(case.targets)
        others = (case.targets + step) % n_classes
        moved = pooled(case.attribute(case.inputs, others)).flatten(1)
        return rank_correlation(pooled(case.attributions).flatten(1), moved)

    return Measure(
        "other class",
        "Is it the same explanation for a class drawn at random? 1 would mean that the class does not matter.",
        False,
        -1.0,
        1.0,
        evaluate,
        1,
        1,
        "sane",
    )


def weight_sensitivity(attribute_by: object) -> Measure:
    """Rank correlation of the sizes of the attributions with those of a model of random weights (Adebayo et al. 2018).

    Parameters
    ----------
    attribute_by
        Builds the method for another model: ``attribute_by(model)(inputs, targets)``.
    """

    def evaluate(case: Case) -> Tensor:
        assert callable(attribute_by)
        if not isinstance(case.model, nn.Module):
            raise TypeError("The model is no torch.nn.Module, so its weights can't be drawn anew.")
        moved = attribute_by(randomised_copy(case.model, case.seed))(case.inputs, case.targets)
        return rank_correlation(
            pooled(case.attributions).abs().flatten(1), pooled(moved).abs().flatten(1).to(case.attributions)
        )

    return Measure(
        "random weights",
        "Is it the same explanation for a model that has learnt nothing? 1 would mean that the weights do not matter.",
        False,
        -1.0,
        1.0,
        evaluate,
        0,
        1,
        "sane",
    )


def label_sensitivity(attribute_by: object, last_linear: str | None) -> Measure:
    """Rank correlation of the sizes of the attributions with those of a model that has learnt random labels.

    The cheap form of the check of Adebayo et al. 2018: there the whole network is trained on shuffled labels; here its
    last linear layer alone is fitted anew, by least squares, to the features of the case's images and a wrong class
    drawn for each. What lies below it has still learnt the true classes, so an explanation may agree more than it would
    there.

    Parameters
    ----------
    attribute_by
        As in `weight_sensitivity`.
    last_linear
        The name of the layer, see `ModelFacts`.
    """

    def evaluate(case: Case) -> Tensor:
        assert callable(attribute_by)
        assert last_linear is not None
        if not isinstance(case.model, nn.Module):
            raise TypeError("The model is no torch.nn.Module, so its last layer can't be fitted anew.")
        other, labels = relabelled_copy(case.model, last_linear, case.inputs, case.targets, case.seed)
        moved = attribute_by(other)(case.inputs, labels)
        return rank_correlation(
            pooled(case.attributions).abs().flatten(1), pooled(moved).abs().flatten(1).to(case.attributions)
        )

    return Measure(
        "random labels",
        "Is it the same explanation for a last layer that was fitted to wrong classes? 1 would mean that what was "
        "learnt of the classes does not matter.",
        False,
        -1.0,
        1.0,
        evaluate,
        2,
        1,
        "sane",
    )


def relabelled_copy(
    model: nn.Module, last_linear: str, inputs: Tensor, targets: Tensor, seed: int
) -> tuple[nn.Module, Tensor]:
    """A copy whose last linear layer gives each input a class drawn at random, never its own; and these classes."""
    seen: list[Tensor] = []
    handle = find_layer(model, last_linear).register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    try:
        with torch.no_grad():
            model(inputs)
    finally:
        handle.remove()
    features = seen[0].double()
    other = copy.deepcopy(model)
    layer = find_layer(other, last_linear)
    assert isinstance(layer, nn.Linear)
    generator = torch.Generator().manual_seed(seed)
    step = torch.randint(1, max(layer.out_features, 2), (len(inputs),), generator=generator).to(targets)
    labels = (targets + step) % layer.out_features
    wanted = nn.functional.one_hot(labels, layer.out_features).double()
    products = features @ features.T
    # A little ridge, for images of equal features.
    ridge = 1e-3 * products.diagonal().mean() * torch.eye(len(features), dtype=products.dtype, device=products.device)
    weight = wanted.T @ torch.linalg.solve(products + ridge, features)
    with torch.no_grad():
        size = layer.weight.norm() / weight.norm().clamp_min(torch.finfo(weight.dtype).tiny)
        layer.weight.copy_(weight * size)
        if layer.bias is not None:
            layer.bias.zero_()
    return other, labels


def randomised_copy(model: nn.Module, seed: int) -> nn.Module:
    """A copy whose weights are shuffled within each tensor, so that their sizes stay as they were."""
    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in other.parameters():
            if parameter.ndim > 1:
                order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
                parameter.copy_(parameter.flatten()[order].reshape(parameter.shape))
    return other
