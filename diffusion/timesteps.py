"""The arguments of a denoiser's call by name, and its timestep, however the pipeline passes them."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any

import torch
from torch import nn

from diffusion.blocks import plain_module

__all__ = ["call_arguments", "timestep_of", "with_arguments"]

Call = tuple[tuple[Any, ...], dict[str, Any]]


def call_arguments(denoiser: nn.Module, inputs: tuple[Any, ...], named_inputs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call by name."""
    return dict(zip(_names(denoiser), inputs, strict=False)) | named_inputs


def with_arguments(
    denoiser: nn.Module, inputs: tuple[Any, ...], named_inputs: dict[str, Any], changes: Mapping[str, Any]
) -> Call:
    """Return the call with other values for some of its arguments, each given as it was, by place or by name."""
    names = _names(denoiser)
    by_place = tuple(changes.get(name, value) for name, value in zip(names, inputs, strict=False))
    return by_place, {name: changes.get(name, value) for name, value in named_inputs.items()}


def timestep_of(denoiser: nn.Module, inputs: tuple[Any, ...], named_inputs: dict[str, Any]) -> float:
    """Timestep of a call, as the denoiser gets it (of a batch the first); NaN where there is none."""
    step = call_arguments(denoiser, inputs, named_inputs).get("timestep")
    return float("nan") if step is None else float(torch.as_tensor(step).flatten()[0])


def _names(denoiser: nn.Module) -> list[str]:
    # The class's own: offloading replaces the method of the instance.
    return list(signature(type(plain_module(denoiser)).forward).parameters)[1:]
