"""Which diffusion transformers can be amplified: the one table of which the command's help and the docs are made.

It imports no torch, so that the command line can tell it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["FAMILIES", "REFUSED", "Family", "Grid", "Place", "family_table", "stream_of", "supported"]

#: Where image tokens are in what a block returns: in one tensor of their own ("alone"; of several the first), the
#: second of two tensors, or in one tensor with the text: in front of it, behind it, or each row behind its own text.
Place = Literal["alone", "second", "first", "last", "behind its text"]
#: What of the denoiser's call tells their grid.
Grid = Literal["latents", "frames first", "channels first", "list of latents", "ids", "shapes", "shapes, drawn last"]

_TOLD_BY: Mapping[Grid, str] = {
    "latents": "latents and patch size",
    "frames first": "latents and patch size, frame by frame",
    "channels first": "latents and patch size, frame by frame",
    "list of latents": "each latent and the patch size",
    "ids": "position ids",
    "shapes": "image shapes",
    "shapes, drawn last": "image shapes",
}


@dataclass(frozen=True)
class Family:
    """Where a transformer's image tokens are.

    Attributes
    ----------
    names : str
        What people call the models of this class.
    blocks : dict
        List of blocks, in the order they run -> place of the image tokens in what each of them returns.
    grid : Grid
        What tells their grid.
    """

    names: str
    blocks: Mapping[str, Place]
    grid: Grid


#: By the class of diffusers 0.42.
FAMILIES: Mapping[str, Family] = {
    "FluxTransformer2DModel": Family(
        "FLUX.1, FLUX.1 Kontext", {"transformer_blocks": "second", "single_transformer_blocks": "second"}, "ids"
    ),
    "Flux2Transformer2DModel": Family(
        "FLUX.2", {"transformer_blocks": "second", "single_transformer_blocks": "last"}, "ids"
    ),
    "ChromaTransformer2DModel": Family(
        "Chroma", {"transformer_blocks": "second", "single_transformer_blocks": "last"}, "ids"
    ),
    "SD3Transformer2DModel": Family(
        "Stable Diffusion 3, Stable Diffusion 3.5", {"transformer_blocks": "second"}, "latents"
    ),
    "QwenImageTransformer2DModel": Family("Qwen-Image, Qwen-Image-Edit", {"transformer_blocks": "second"}, "shapes"),
    "QwenImage21Transformer2DModel": Family("Qwen-Image 2.1", {"transformer_blocks": "last"}, "shapes, drawn last"),
    "ZImageTransformer2DModel": Family("Z-Image", {"layers": "first"}, "list of latents"),
    "Lumina2Transformer2DModel": Family("Lumina 2", {"layers": "behind its text"}, "latents"),
    "AuraFlowTransformer2DModel": Family(
        "AuraFlow", {"joint_transformer_blocks": "second", "single_transformer_blocks": "last"}, "latents"
    ),
    "HunyuanDiT2DModel": Family("Hunyuan-DiT", {"blocks": "alone"}, "latents"),
    "SanaTransformer2DModel": Family("Sana", {"transformer_blocks": "alone"}, "latents"),
    "PixArtTransformer2DModel": Family("PixArt-alpha, PixArt-sigma", {"transformer_blocks": "alone"}, "latents"),
    "DiTTransformer2DModel": Family("DiT", {"transformer_blocks": "alone"}, "latents"),
    "CogVideoXTransformer3DModel": Family("CogVideoX", {"transformer_blocks": "alone"}, "frames first"),
    "WanTransformer3DModel": Family("Wan", {"blocks": "alone"}, "channels first"),
}

#: Classes that are refused for a reason of their own; any other, because nobody has said where its image tokens are.
REFUSED: Mapping[str, tuple[str, str]] = {
    "LatteTransformer3DModel": ("Latte", "its blocks turn between places and frames"),
    "OmniGenTransformer2DModel": ("OmniGen", "its images are tokens of its prompt"),
    "StableAudioDiTModel": ("Stable Audio", "it draws sound"),
    "StableAudio3DiTModel": ("Stable Audio 3", "it draws sound"),
    "AceStepTransformer1DModel": ("ACE-Step", "it draws sound"),
    "PriorTransformer": ("priors of Kandinsky and unCLIP", "it draws an embedding, no image"),
}


def stream_of(place: Place) -> int:
    """`AmplifyTokenUpdate.stream` of a place."""
    return {"alone": 0, "second": 1}.get(place, -1)


def supported() -> str:
    """Names of the families, for a sentence."""
    return ", ".join(family.names for family in FAMILIES.values())


def family_table() -> str:
    """What is supported and what is refused, as the Markdown table of docs/diffusion.md."""
    rows = ["| family | class | grid of its image tokens |", "|---|---|---|"]
    rows += [f"| {family.names} | `{name}` | {_TOLD_BY[family.grid]} |" for name, family in FAMILIES.items()]
    rows += [f"| {names} | `{name}` | refused: {why} |" for name, (names, why) in REFUSED.items()]
    return "\n".join([*rows, "| any other transformer | | refused: where its image tokens are is not known |"])
