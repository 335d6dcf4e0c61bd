"""What a diffusers pipeline consists of: its denoiser, the blocks by slot, the arguments and noise of a call.

Slots are named down0, down1, ..., mid, up0, ... in the order the blocks run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from torch import nn

__all__ = [
    "SigmaWindow",
    "block_layers",
    "call_arguments",
    "denoiser_of",
    "denoisers_of",
    "is_transformer",
    "plain_module",
    "sigma_of",
    "timestep_of",
    "with_arguments",
]

# What diffusers' transformers call their lists of blocks.
_BLOCK_LISTS = (
    "transformer_blocks",
    "joint_transformer_blocks",
    "single_transformer_blocks",
    "visual_transformer_blocks",
    "double_stream_blocks",
    "double_blocks",
    "transformer_layers",
    "blocks",
    "layers",
)
Call = tuple[tuple[Any, ...], dict[str, Any]]  # arguments by place and by name


def denoiser_of(pipe: Any) -> nn.Module:
    """Return the U-Net or transformer of a diffusers pipeline; a module is its own.

    Raises
    ------
    TypeError
        If there is none.
    """
    for found in denoisers_of(pipe).values():
        return found
    raise TypeError(f"{type(pipe).__name__} has neither unet nor transformer; give a diffusers pipeline or a module.")


def denoisers_of(pipe: Any) -> dict[str, nn.Module]:
    """Return the U-Nets and transformers of a diffusers pipeline by name.

    Most have one; Wan 2.2 has one for low noise and one for high noise, Stable Cascade's whole pipeline two stages.
    """
    if isinstance(pipe, nn.Module):
        return {"": pipe}
    found = {name: getattr(pipe, name, None) for name in _DENOISERS}
    return {name: part for name, part in found.items() if isinstance(part, nn.Module)}


# The last three: Stable Cascade's, and of both its stages together.
_DENOISERS = ("unet", "transformer", "transformer_2", "decoder", "prior", "prior_prior")


def plain_module(module: nn.Module) -> nn.Module:
    """Return the module inside the wrappers of ``torch.compile``, of peft and for parallel work, or itself."""
    while True:
        if isinstance(getattr(module, "_orig_mod", None), nn.Module):
            module = module._orig_mod  # type: ignore[assignment]
        elif isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            module = module.module
        elif hasattr(type(module), "get_base_model"):
            module = module.get_base_model()  # type: ignore[operator]
        else:
            return module


def is_transformer(denoiser: nn.Module) -> bool:
    """Whether the denoiser is a diffusion transformer and no U-Net."""
    plain = plain_module(denoiser)
    return not hasattr(plain, "down_blocks") and any(
        isinstance(getattr(plain, name, None), nn.ModuleList) for name in _BLOCK_LISTS
    )


def block_layers(unet: nn.Module) -> dict[str, str]:
    """Slot -> layer name of a diffusers U-Net, in the order the blocks run.

    Raises
    ------
    TypeError
        If it has no ``down_blocks``: name its layers yourself, with `activations.edited`.
    """
    plain: Any = plain_module(unet)
    if not hasattr(plain, "down_blocks"):
        raise TypeError(
            f"{type(plain).__name__} has no down_blocks, so its blocks have no slots; attach AmplifyLowFrequencies to "
            "layers by name (activations.edited), or for a transformer give blocks=."
        )
    slots = {f"down{i}": f"down_blocks.{i}" for i in range(len(plain.down_blocks))}
    if getattr(plain, "mid_block", None) is not None:
        slots["mid"] = "mid_block"
    return slots | {f"up{i}": f"up_blocks.{i}" for i in range(len(plain.up_blocks))}


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


@dataclass(frozen=True)
class SigmaWindow:
    """How strong an edit is at a noise level: 1 for ``low <= sigma <= high``, else 0.

    Sigma is the standard deviation of the noise beside an image of unit scale (about 0.03 to 15 in Stable Diffusion);
    in flow-matching models (SD3, Flux) the share of noise, 0..1.
    """

    low: float = 0.0
    high: float = float("inf")

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high:
            raise ValueError(f"The window is {self.low}..{self.high}, but 0 <= low <= high is needed; swap them.")

    def __call__(self, sigma: float) -> float:
        """Strength at a noise level."""
        return float(self.low <= sigma <= self.high)


def sigma_of(scheduler: Any, timestep: Any) -> float:
    """Noise level of a timestep, as the scheduler defines it; infinite where nothing of the image is left.

    Raises
    ------
    ValueError
        If the scheduler has neither ``sigmas`` for its timesteps nor ``alphas_cumprod``, or no such timestep.
    """
    step = float(torch.as_tensor(timestep).flatten()[0])
    sigmas, timesteps = getattr(scheduler, "sigmas", None), getattr(scheduler, "timesteps", None)
    if sigmas is not None and timesteps is not None and len(sigmas) >= len(timesteps) > 0:
        distances = (torch.as_tensor(timesteps, dtype=torch.float64, device="cpu") - step).abs()
        nearest = int(distances.argmin())
        if not float(distances[nearest]) <= 1 + 0.01 * abs(step):  # half precision rounds timesteps
            raise ValueError(_no_such_step(scheduler, step))
        return float(sigmas[nearest])
    if hasattr(scheduler, "alphas_cumprod"):
        if not 0 <= step <= len(scheduler.alphas_cumprod) - 0.5:
            raise ValueError(_no_such_step(scheduler, step))
        kept = float(scheduler.alphas_cumprod[round(step)])
        if kept == 0:  # zero terminal SNR
            return float("inf")
        return float(((1 - kept) / kept) ** 0.5)
    raise ValueError(
        f"{type(scheduler).__name__} has neither sigmas nor alphas_cumprod, so a step's noise level is unknown; leave "
        "the sigma window out, or take another scheduler."
    )


def _no_such_step(scheduler: Any, step: float) -> str:
    return (
        f"The denoiser is at timestep {step:g}, which is none of {type(scheduler).__name__}'s, so its noise level is "
        "unknown; leave the sigma window out, or run the denoiser in its pipeline."
    )
