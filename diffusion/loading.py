"""MODEL of ``genmend amplify``: the reference pipeline, a diffusers folder, or a hub name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from genmend.diffusion.pipeline_folder import check_model, check_pipeline_folder
from genmend.diffusion.search.scorers import Scorer

__all__ = ["TextToImage", "load_text_to_image"]

DTYPES = ("float32", "bfloat16", "float16")
OFFLOADS = ("none", "model", "sequential")


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
    """

    pipe: Any
    settings: Mapping[str, Any] = field(default_factory=dict)
    usability: Callable[[], Mapping[str, Scorer]] | None = None
    extractor: Callable[[Tensor], Tensor] | None = None
    real: Callable[[str], NDArray[np.floating]] | None = None
    device: str = "cpu"

    @property
    def own_size(self) -> int | None:
        """Side of the images in pixels that the pipeline draws where nothing is said; None where it does not tell."""
        from genmend.diffusion.pipeline_parts import denoiser_of, plain_module

        latents = getattr(plain_module(denoiser_of(self.pipe)), "config", {}).get("sample_size")
        scale = getattr(self.pipe, "vae_scale_factor", None)
        return latents * scale if isinstance(latents, int) and isinstance(scale, int) else None


def load_text_to_image(
    model: str, *, device: str = "cpu", dtype: str = "float32", variant: str = "", offload: str = "none"
) -> TextToImage:
    """Load the pipeline that MODEL names; only safetensors are read from a folder.

    Parameters
    ----------
    model
        "reference", a folder, or a hub name.
    device, dtype
        Where it runs, and in which precision.
    variant
        Of the weights' files, such as "fp16".
    offload
        "model" keeps one of its parts on the device at a time, "sequential" one layer; "none" all of it.

    Raises
    ------
    ValueError
        If the dtype or the offloading is unknown, or the folder holds no text-to-image pipeline with a U-Net or
        transformer; of a folder that is checked before diffusers reads it.
    OSError
        If there is no such folder, or the hub cannot be reached.
    """
    import torch

    if dtype not in DTYPES:
        raise ValueError(f"--dtype is {dtype!r}; accepted are {', '.join(DTYPES)}.")
    if offload not in OFFLOADS:
        raise ValueError(f"--offload is {offload!r}; accepted are {', '.join(OFFLOADS)}.")
    if offload != "none" and device == "cpu":
        raise ValueError("--offload is for a device with little memory and --device is cpu; give --device cuda.")
    if model == "reference":
        from genmend.diffusion.reference import guide_usability, load_reference, novelty_extractor, real_garments

        pipe: Any = load_reference(getattr(torch, dtype))
        pipe = pipe.to(device)
        settings = {"num_inference_steps": 20, "guidance_scale": 3.0}
        return TextToImage(pipe, settings, guide_usability, novelty_extractor(), real_garments, device)
    check_model(model)
    folder = Path(model).expanduser()
    if folder.exists():
        check_pipeline_folder(folder)
    pipe = _from_diffusers(str(folder) if folder.exists() else model, getattr(torch, dtype), variant)
    if offload == "model":
        pipe.enable_model_cpu_offload(device=device)
    elif offload == "sequential":
        pipe.enable_sequential_cpu_offload(device=device)
    else:
        pipe = pipe.to(device)
    return TextToImage(pipe, device=device)


def _from_diffusers(model: str, dtype: Any, variant: str) -> Any:
    from diffusers import DiffusionPipeline

    from genmend.diffusion.pipeline_parts import denoiser_of

    named = {"variant": variant} if variant else {}
    try:
        # Pickled weights could run code: they are never read.
        pipe = DiffusionPipeline.from_pretrained(model, dtype=dtype, use_safetensors=True, **named)
        denoiser_of(pipe)
    except OSError:
        raise  # no such file, no network: its message says so
    except Exception as error:  # whatever diffusers stumbles over in files that are not its own
        told = str(error).strip().splitlines()
        raise ValueError(
            f"{model} cannot be loaded by diffusers ({type(error).__name__}: {told[0] if told else 'no reason'}); "
            "give a text-to-image pipeline as save_pretrained wrote it."
        ) from error
    return pipe
