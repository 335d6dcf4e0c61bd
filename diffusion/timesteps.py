"""The arguments of a denoiser's call by name, and its timestep, however the pipeline passes them."""

from __future__ import annotations

from inspect import BoundArguments, signature
from typing import Any

import torch
from torch import nn

from diffusion.blocks import plain_module

__all__ = ["call_arguments", "timestep_of"]


def call_arguments(denoiser: nn.Module, inputs: tuple[Any, ...], named_inputs: dict[str, Any]) -> BoundArguments:
    """Bind a call's arguments to their names; ``args`` and ``kwargs`` of the result are the call again."""
    # The class's own: offloading replaces the method of the instance.
    whole = signature(type(plain_module(denoiser)).forward)
    return whole.replace(parameters=list(whole.parameters.values())[1:]).bind(*inputs, **named_inputs)


def timestep_of(denoiser: nn.Module, inputs: tuple[Any, ...], named_inputs: dict[str, Any]) -> float:
    """Timestep of a call, as the denoiser gets it; NaN where there is none.

    Of a batch of timesteps the first.
    """
    step = call_arguments(denoiser, inputs, named_inputs).arguments.get("timestep")
    return float("nan") if step is None else float(torch.as_tensor(step).flatten()[0])
