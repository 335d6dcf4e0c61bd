"""Full gradients: what the input gives to a score, and what the biases give.

Srinivas and Fleuret 2019, "Full-gradient representation for neural network visualization"; the form that spreads the
biases evenly is of the paper on distilled gradient aggregation (NeurIPS 2022).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from genmend.activations.outputs import first_tensor
from genmend.concepts.scalar_target import (
    Target,
    as_module,
    check_inputs,
    score_and_gradient,
    scores_of,
    warn_of_spread,
)

__all__ = ["FullGradient", "InputAndBiases", "implicit_bias", "input_and_biases"]

_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
_BATCH_NORMS = nn.modules.batchnorm._BatchNorm
_CHANNELS_SECOND = (nn.modules.conv._ConvNd, _BATCH_NORMS, *_NORMS[1:])


@dataclass(frozen=True)
class InputAndBiases:
    """One backward pass: what the input and the biases give to the score.

    Attributes
    ----------
    score : Tensor
        Shape ``(n,)``.
    gradient : Tensor
        Of the score by the input, shape of the input.
    biases : Tensor
        The sum of ``<b, d score / d b>`` over all biases, shape ``(n,)``. In a network of linear layers, batch norms
        in evaluation mode, ReLU and pooling, ``score == (input * gradient).sum() + biases``; ReLU6 adds constants
        where it is full, and smooth gates add a remainder.
    """

    score: Tensor
    gradient: Tensor
    biases: Tensor


def implicit_bias(module: nn.Module) -> Tensor | None:
    """What a layer adds to its output whatever its input is, one number a channel; None: nothing.

    A batch norm in evaluation mode adds ``beta - gamma * mean / sqrt(variance + eps)``.

    >>> implicit_bias(nn.Linear(2, 3, bias=False)) is None
    True
    """
    if isinstance(module, _BATCH_NORMS) and module.running_mean is not None and module.running_var is not None:
        scale = torch.rsqrt(module.running_var + module.eps)
        scale = scale if module.weight is None else scale * module.weight
        shift = -module.running_mean * scale
        return (shift if module.bias is None else shift + module.bias).detach()
    bias = getattr(module, "bias", None)
    known = isinstance(module, (nn.Linear, nn.modules.conv._ConvNd, *_NORMS))
    return bias.detach() if known and isinstance(bias, Tensor) else None


def input_and_biases(
    model: nn.Module,
    inputs: Tensor,
    target: Target = None,
    *,
    keep: Callable[[nn.Module, Tensor], None] | None = None,
) -> InputAndBiases:
    """One forward and one backward pass: the score, its gradient, and what the biases give.

    Parameters
    ----------
    model
        In evaluation mode. Biases of linear layers, convolutions and norms count; those that a module keeps elsewhere
        (``in_proj_bias`` of ``nn.MultiheadAttention``) do not.
    inputs
        Shape ``(n, ...)``.
    target
        See `genmend.concepts.scalar_target.Target`.
    keep
        Called with each layer that has a bias and with ``b * d score / d output``, shape of that layer's output.
    """
    n = len(inputs)
    biases = torch.zeros(n, dtype=inputs.dtype, device=inputs.device)

    def take(module: nn.Module, bias: Tensor, gradient: Tensor) -> None:
        if len(gradient) % n:
            raise ValueError(
                f"A layer {type(module).__name__} has {len(gradient)} rows for {n} samples, so that what its "
                "biases give can't be told apart by sample: explain one sample at a time."
            )
        part = gradient * _along_channels(module, bias, gradient)
        biases.add_(part.reshape(n, -1).sum(1).to(biases.dtype))
        if keep is not None:
            keep(module, part)

    with _gradients_of_biased_layers(model, take):
        score, gradient = score_and_gradient(model, inputs, target)
    return InputAndBiases(score, gradient, biases)


def _along_channels(module: nn.Module, bias: Tensor, output: Tensor) -> Tensor:
    if isinstance(module, _CHANNELS_SECOND):
        return bias.reshape(1, -1, *[1] * (output.ndim - 2))
    return bias


@contextmanager
def _gradients_of_biased_layers(model: nn.Module, take: Callable[[nn.Module, Tensor, Tensor], None]) -> Iterator[None]:
    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        bias = implicit_bias(module)
        tensor = first_tensor(output, type(module).__name__)
        if bias is not None and tensor.requires_grad:
            tensor.register_hook(lambda gradient: take(module, bias, gradient))

    handles = [module.register_forward_hook(hook) for module in model.modules() if implicit_bias(module) is not None]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class FullGradient:
    """FullGrad: input times gradient, and a map of each layer's biases, all brought to the size of the input.

    Srinivas and Fleuret 2019, equation 7, with the absolute value as the post-processing of each map. One backward
    pass.

    Parameters
    ----------
    model
        In evaluation mode; inputs are images.

    Examples
    --------
    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2)).eval()
    >>> FullGradient(net).attribute(torch.rand(2, 3, 6, 6), target=0).shape
    torch.Size([2, 1, 6, 6])
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = as_module(model)

    def attribute(self, inputs: Tensor, target: Target = None) -> Tensor:
        """Attributions of images ``(n, c, h, w)``, shape ``(n, 1, h, w)``; each map is scaled to 0..1 and added."""
        inputs = check_inputs(inputs)
        if inputs.ndim != 4:
            raise ValueError(
                f"inputs has shape {tuple(inputs.shape)}, but FullGradient maps are of images (n, c, h, w)."
            )
        warn_of_spread(lambda some: scores_of(self.model(some)), inputs)
        maps: list[Tensor] = []

        def keep(module: nn.Module, part: Tensor) -> None:
            if part.ndim == 4 and isinstance(module, _CHANNELS_SECOND):
                # The sum before the larger size: it is linear, and a layer has up to thousands of channels.
                maps.append(_resized(_scaled(part.abs()).sum(1, keepdim=True), inputs))

        parts = input_and_biases(self.model, inputs, target, keep=keep)
        own = _scaled((parts.gradient * inputs).abs()).sum(1, keepdim=True)
        return own + torch.stack(maps).sum(0) if maps else own


def _scaled(maps: Tensor) -> Tensor:
    flat = maps.flatten(1)
    low, high = flat.min(1).values, flat.max(1).values
    shape = (-1, *[1] * (maps.ndim - 1))
    return (maps - low.reshape(shape)) / (high - low).clamp_min(torch.finfo(maps.dtype).tiny).reshape(shape)


def _resized(maps: Tensor, inputs: Tensor) -> Tensor:
    return interpolate(maps, size=inputs.shape[-2:], mode="bilinear", align_corners=False)
