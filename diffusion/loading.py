"""MODEL of ``genmend amplify``: the reference pipeline, a diffusers folder, or a hub name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from genmend.diffusion.hub_pipeline import fetch_pipeline
from genmend.diffusion.lora import attach_lora
from genmend.diffusion.pipeline_folder import check_model, check_pipeline_folder
from genmend.diffusion.pipeline_weights import DTYPE_BYTES, bytes_in_memory, components_of, variant_of
from genmend.diffusion.placement import OFFLOADS, best_device, place, usual_dtype
from genmend.diffusion.search.scorers import Scorer

__all__ = ["TextToImage", "load_text_to_image"]


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
    real : callable or None
        Prompt -> that extractor's features ``(n, d)`` of real images of what it names, likewise.
    device : str
        Where it runs, and scorers with it.
    name : str
        MODEL, as it was given.
    gains : dict or None
        Slot -> gain, of what is amplified where the user says nothing; only of the reference pipeline.
    lora : str
        The LoRA that is attached, as it was given; "" for none.
    """

    pipe: Any
    settings: Mapping[str, Any] = field(default_factory=dict)
    usability: Callable[[], Mapping[str, Scorer]] | None = None
    extractor: Callable[[Tensor], Tensor] | None = None
    real: Callable[[str], NDArray[np.floating]] | None = None
    device: str = "cpu"
    name: str = ""
    gains: Mapping[str, float] | None = None
    lora: str = ""

    @property
    def own_size(self) -> int | None:
        """Side of the images in pixels that the pipeline draws where nothing is said; None where it does not tell."""
        from genmend.diffusion.pipeline_parts import denoiser_of, plain_module

        latents = getattr(plain_module(denoiser_of(self.pipe)), "config", {}).get("sample_size")
        scale = getattr(self.pipe, "vae_scale_factor", None)
        return latents * scale if isinstance(latents, int) and isinstance(scale, int) else None

    def batch_size(self, call: Mapping[str, Any]) -> int:
        """Images a call: one of large images on a CPU, where more at once are no faster; else 8."""
        side = max(call.get("height") or 0, call.get("width") or 0) or self.own_size or 512
        return 1 if self.device == "cpu" and side > 128 else 8


def load_text_to_image(
    model: str,
    *,
    device: str = "",
    dtype: str = "",
    variant: str = "",
    offload: str = "auto",
    lora: str = "",
    say: Callable[[str], None] | None = None,
) -> TextToImage:
    """Load the pipeline that MODEL names; only safetensors are read.

    Parameters
    ----------
    model
        "reference", a folder, or a hub name.
    device, dtype
        Where it runs, and in which precision; "" for the fastest device there is, and what is usual on it.
    variant
        Of the weights' files, such as "fp16"; "" for fp16 where there are such and the dtype has 16 bits.
    offload
        "model" keeps one of its parts on the device at a time, "sequential" one layer, "none" all of it; "auto" as
        much as its memory admits.
    lora
        A file or hub name of a LoRA, which is attached with all of its strength; "" for none.
    say
        Told how much is downloaded, before that begins, and what goes where.

    Raises
    ------
    ValueError
        If the dtype or the offloading is unknown, the memory or the disk too small, or there is no text-to-image
        pipeline with a U-Net or transformer; a folder is checked before diffusers reads it.
    HubError, OSError
        If there is no such model, or the hub is not reached and the cache does not have it.
    """
    import torch

    device = device or best_device()
    if dtype and dtype not in DTYPE_BYTES:
        raise ValueError(f"--dtype is {dtype!r}; accepted are {', '.join(DTYPE_BYTES)}.")
    if offload not in OFFLOADS:
        raise ValueError(f"--offload is {offload!r}; accepted are {', '.join(OFFLOADS)}.")
    if offload in ("model", "sequential") and device == "cpu":
        raise ValueError("--offload is for a device with little memory and the device is cpu; give --device cuda.")
    if model == "reference":
        from genmend.diffusion.reference import guide_usability, load_reference, novelty_extractor, real_garments

        pipe: Any = load_reference(getattr(torch, dtype or "float32"))
        pipe = pipe.to(device)
        settings = {"num_inference_steps": 20, "guidance_scale": 3.0}
        own = {"down0": 1.3, "down1": 1.2, "mid": 1.2}  # stronger ones break: experiments.garments.creativity
        return TextToImage(pipe, settings, guide_usability, novelty_extractor(), real_garments, device, model, own)
    check_model(model)
    dtype = dtype or usual_dtype(device)
    folder = Path(model).expanduser()
    if not folder.exists():
        folder = fetch_pipeline(model, dtype=dtype, variant=variant, say=say)
    check_pipeline_folder(folder)
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    files = [path.relative_to(folder).as_posix() for path in folder.glob("*/*")]
    variant = variant_of(files, components_of(index), dtype, variant)
    placed = place(bytes_in_memory(folder, variant, dtype), device, dtype, offload)
    if say is not None:
        say(f"{model} {placed.words}.")
    pipe = _from_diffusers(model, folder, getattr(torch, dtype), variant)
    if lora:
        attach_lora(pipe, lora)
    if placed.offload == "model":
        pipe.enable_model_cpu_offload(device=device)
    elif placed.offload == "sequential":
        pipe.enable_sequential_cpu_offload(device=device)
    else:
        pipe = pipe.to(device)
    return TextToImage(pipe, device=device, name=model, lora=lora)


def _from_diffusers(model: str, folder: Path, dtype: Any, variant: str) -> Any:
    from diffusers import DiffusionPipeline

    from genmend.diffusion.pipeline_parts import denoiser_of

    named = {"variant": variant} if variant else {}
    try:
        # Pickled weights could run code: they are never read. What is needed is in the folder: nothing is fetched.
        pipe = DiffusionPipeline.from_pretrained(
            str(folder), dtype=dtype, use_safetensors=True, local_files_only=True, **named
        )
        denoiser_of(pipe)
    except Exception as error:  # whatever diffusers stumbles over in files that are not its own
        told = str(error).strip().splitlines()
        raise ValueError(
            f"{model} cannot be loaded by diffusers ({type(error).__name__}: {told[0] if told else 'no reason'}); "
            "give a text-to-image pipeline as save_pretrained wrote it."
        ) from error
    return pipe
