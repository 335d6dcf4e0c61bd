"""MODEL of ``genmend amplify``: the reference pipeline, a diffusers folder, or a hub name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from genmend.diffusion.search.scorers import Scorer

__all__ = ["TextToImage", "load_text_to_image"]

DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class TextToImage:
    """A pipeline with what is known about it.

    Attributes
    ----------
    pipe
        On its device.
    settings : dict
        What to call it with where the user says nothing: steps, guidance.
    usability : callable or None
        Prompts -> scorers that need no download; only of the reference pipeline.
    extractor : callable or None
        Images in 0..1 -> features for novelty, likewise.
    """

    pipe: Any
    settings: Mapping[str, Any] = field(default_factory=dict)
    usability: Callable[[], Mapping[str, Scorer]] | None = None
    extractor: Callable[[Tensor], Tensor] | None = None


def load_text_to_image(model: str, *, device: str = "cpu", dtype: str = "float32") -> TextToImage:
    """Load the pipeline that MODEL names; only safetensors are read from a folder.

    Raises
    ------
    ValueError
        If the dtype is unknown, or the folder holds no text-to-image pipeline with a U-Net or transformer.
    OSError
        If there is no such folder, or the hub cannot be reached.
    """
    import torch

    if dtype not in DTYPES:
        raise ValueError(f"--dtype is {dtype!r}; accepted are {', '.join(DTYPES)}.")
    if model == "reference":
        from genmend.diffusion.reference import guide_usability, load_reference, novelty_extractor

        pipe: Any = load_reference(getattr(torch, dtype))
        pipe = pipe.to(device)
        settings = {"num_inference_steps": 20, "guidance_scale": 3.0}
        return TextToImage(pipe, settings, guide_usability, novelty_extractor())
    from diffusers import DiffusionPipeline

    from genmend.diffusion.pipeline_parts import denoiser_of

    folder = Path(model).expanduser()
    if folder.exists() and not (folder / "model_index.json").is_file():
        raise ValueError(f"{model} has no model_index.json; give a folder that save_pretrained of diffusers wrote.")
    looks_like_a_path = model.startswith((".", "/", "~")) or model.count("/") != 1
    if not folder.exists() and looks_like_a_path:
        raise ValueError(f"MODEL is {model!r}, but there is no such folder; give reference, a folder, or owner/name.")
    # Pickled weights could run code: they are never read.
    pipe = DiffusionPipeline.from_pretrained(
        str(folder) if folder.exists() else model, dtype=getattr(torch, dtype), use_safetensors=True
    )
    denoiser_of(pipe)
    return TextToImage(pipe.to(device))
