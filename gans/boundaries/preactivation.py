"""What an activation layer is about to decide on: its input, whose signs are the generative boundaries' sides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from activations import find_layer
from activations.outputs import first_tensor
from gans.generator import Generator

__all__ = ["preactivations", "unit_means"]

# Zero at zero and of their input's sign elsewhere, so that a neuron is on exactly where its input is positive.
_PIECEWISE_LINEAR = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU)
_SMOOTH = (nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish)


class _EnoughError(Exception):
    """Ends a forward pass at the layer that was asked for; never leaves this module."""


@torch.no_grad()
def preactivations(generator: Generator, latents: Tensor, layer: str, *, allow_smooth: bool = False) -> Tensor:
    """Input of an activation layer for one batch of latents, ``[n, C, H, W]``; the pass ends there.

    A layer that runs several times in one pass is read at its first run.

    Raises
    ------
    ValueError
        If the layer is no activation module of the ReLU family (with `allow_smooth` also ELU, CELU, SELU, GELU, SiLU,
        Mish), or never ran.
    """
    module = _activation(generator, layer, allow_smooth)
    found: list[Tensor] = []

    def keep(module: nn.Module, inputs: Sequence[Any]) -> None:
        # Nothing runs after this, so nothing, an in-place activation included, can overwrite it.
        found.append(first_tensor(inputs[0] if len(inputs) == 1 else inputs, layer).detach())
        raise _EnoughError

    handle = module.register_forward_pre_hook(keep)
    try:
        generator.run(latents)
    except _EnoughError as error:
        error.__traceback__ = None  # it holds the frames of the pass, and through them its tensors
    finally:
        handle.remove()
    if not found:
        raise ValueError(f"Layer {layer!r} did not run when {generator.name} did; choose one of {generator.layers}.")
    return found[0]


def unit_means(values: Tensor) -> Tensor:
    """Mean over all positions of each unit: ``[n, C, ...]`` to ``[n, C]``."""
    return values.flatten(2).mean(2) if values.ndim > 2 else values


def _activation(generator: Generator, layer: str, allow_smooth: bool) -> nn.Module:
    module = find_layer(generator.module, layer)
    if isinstance(module, _PIECEWISE_LINEAR) or (allow_smooth and isinstance(module, _SMOOTH)):
        return module
    if isinstance(module, _SMOOTH):
        raise ValueError(
            f"Layer {layer!r} is {type(module).__name__}, which is smooth: nothing changes abruptly at its boundaries. "
            "Pass allow_smooth=True to use the signs of its inputs nevertheless."
        )
    raise ValueError(
        f"Layer {layer!r} is {type(module).__name__}, but boundaries are read at the input of an activation module "
        f"(ReLU, LeakyReLU, PReLU, ...); choose one of {', '.join(generator.layers)}."
    )
