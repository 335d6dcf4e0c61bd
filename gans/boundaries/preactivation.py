"""Read and cut an activation layer for one latent.

Its input, whose signs say on which side of the generative boundaries the latent lies; its output; and how far the image
moves when only some of its neurons are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from genmend.activations import edited, record
from genmend.activations.layers import find_layer
from genmend.activations.outputs import first_tensor
from genmend.activations.runs import hooked
from genmend.gans.correctors.sample_edits import ScaleEachSample
from genmend.gans.families.stylegan2 import ScaledLeakyReLU
from genmend.gans.generator import Generator

__all__ = ["activations_of", "decode", "masked_errors", "preactivations", "squared_errors", "unit_means"]

# Zero at zero and of their input's sign elsewhere, so that a neuron is on exactly where its input is positive.
_PIECEWISE_LINEAR = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, ScaledLeakyReLU)

_SMOOTH = (nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish)


class _EnoughError(Exception):
    """Ends a forward pass at the layer that was asked for; never leaves this module."""


@torch.no_grad()
def preactivations(generator: Generator, latents: Tensor, layer: str, *, allow_smooth: bool = False) -> Tensor:
    """Input of an activation layer for one batch of latents, (n, c, h, w); the pass ends there.

    A layer that runs several times in one pass is read at its first run, ``act#2`` at the second.

    Raises
    ------
    ValueError
        If the layer is no activation module of the ReLU family (with `allow_smooth` also ELU, CELU, SELU, GELU, SiLU,
        Mish), or never ran.
    """
    _check_activation(generator, layer, allow_smooth)
    found: list[Tensor] = []

    def keep(module: nn.Module, inputs: Sequence[Any]) -> None:
        # Nothing runs after this, so nothing, an in-place activation included, can overwrite it.
        found.append(first_tensor(inputs[0] if len(inputs) == 1 else inputs, layer).detach())
        raise _EnoughError

    try:
        with hooked(generator.module, layer, keep, before=True):
            generator.run(latents)
    except _EnoughError as error:
        error.__traceback__ = None  # it holds the frames of the pass, and through them its tensors
    if not found:
        raise ValueError(f"Layer {layer!r} did not run when {generator.name} did; choose one of {generator.layers}.")
    return found[0]


def unit_means(values: Tensor) -> Tensor:
    """Mean over all positions of each unit: (n, c, ...) to (n, c)."""
    return values.flatten(2).mean(2) if values.ndim > 2 else values


def _check_activation(generator: Generator, layer: str, allow_smooth: bool) -> None:
    module = find_layer(generator.module, layer)
    if isinstance(module, _PIECEWISE_LINEAR) or (allow_smooth and isinstance(module, _SMOOTH)):
        return
    if isinstance(module, _SMOOTH):
        raise ValueError(
            f"Layer {layer!r} is {type(module).__name__}, which is smooth: nothing changes abruptly at its boundaries. "
            "Pass allow_smooth=True to use the signs of its inputs nevertheless."
        )
    others = [name for name in generator.layers if isinstance(find_layer(generator.module, name), _PIECEWISE_LINEAR)]
    remedy = f"choose one of {', '.join(others)}" if others else "write its activation functions as modules, nn.ReLU()"
    raise ValueError(
        f"Layer {layer!r} is {type(module).__name__}, but boundaries are read at the input of an activation module "
        f"(ReLU, LeakyReLU, PReLU, ...); {remedy}."
    )


@torch.no_grad()
def activations_of(generator: Generator, latent: Tensor, layer: str) -> Tensor:
    """The layer's output for one latent (1, *latent_shape): (c, h, w)."""
    with record(generator.module, [layer], stop=True) as outputs:
        generator.run(latent)
    output: Tensor = outputs[layer][0]
    return output


def decode(generator: Generator, latent: Tensor, layer: str, gates: Tensor | None = None) -> Tensor:
    """Images of one latent (1, *latent_shape) with the layer's output multiplied by each row of gates.

    Black is 0 and white 1, not clamped; gradients flow to the gates (n, c, h, w) or (n, c).
    """
    low, high = generator.value_range
    if gates is None:
        raw = generator.run(latent)
    else:
        with edited(generator.module, ScaleEachSample(layer, gates)):
            raw = generator.run(latent.expand(len(gates), *latent.shape[1:]))
    return (raw.float() - low) / (high - low)


def squared_errors(images: Tensor, original: Tensor) -> Tensor:
    """Mean squared difference over pixels and channels: (n,), in squared units of the 0..1 range."""
    return (images - original).square().flatten(1).mean(1)


@torch.no_grad()
def masked_errors(generator: Generator, latent: Tensor, layer: str, masks: Tensor) -> Tensor:
    """RMSE, in the image's 0..1 range, of keeping only the neurons (or units) of each mask: (n,) on the CPU.

    `masks` is bool, (n, c, h, w) or (n, c); everything not kept is set to 0.
    """
    original = decode(generator, latent, layer)
    parts = [
        squared_errors(decode(generator, latent, layer, part.to(original)), original).sqrt().cpu()
        for part in masks.split(generator.batch_size)
    ]
    return torch.cat(parts)
