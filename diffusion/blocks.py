"""Where a pipeline's denoiser is, and the layer names of its blocks by slot: down0, down1, ..., mid, up0, ..."""

from __future__ import annotations

from typing import Any

from torch import nn

__all__ = ["block_layers", "denoiser_of", "is_transformer", "plain_module", "transformer_layers"]


def denoiser_of(pipe: Any) -> nn.Module:
    """Return the U-Net or transformer of a diffusers pipeline; a module is its own.

    Raises
    ------
    TypeError
        If there is none.
    """
    if isinstance(pipe, nn.Module):
        return pipe
    for name in ("unet", "transformer"):
        found = getattr(pipe, name, None)
        if isinstance(found, nn.Module):
            return found
    raise TypeError(f"{type(pipe).__name__} has neither unet nor transformer; give a diffusers pipeline or a module.")


def plain_module(module: nn.Module) -> nn.Module:
    """Return the module inside the wrapper of ``torch.compile``, or itself."""
    return getattr(module, "_orig_mod", module)


def is_transformer(denoiser: nn.Module) -> bool:
    """Whether the denoiser is a diffusion transformer and no U-Net."""
    return not hasattr(plain_module(denoiser), "down_blocks") and hasattr(plain_module(denoiser), "transformer_blocks")


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


def transformer_layers(transformer: nn.Module) -> dict[str, int]:
    """Layer name of each block of a diffusion transformer, in order -> which output its image tokens are."""
    transformer = plain_module(transformer)
    pairs = type(transformer).__name__.startswith(("SD3", "Flux"))  # their blocks return (text, image)
    names = ("transformer_blocks", "single_transformer_blocks")
    return {f"{name}.{i}": int(pairs) for name in names for i in range(len(getattr(transformer, name, ())))}
