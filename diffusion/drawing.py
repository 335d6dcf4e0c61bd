"""Images of a pipeline from prompts and seeds: one seed, one image, whatever the batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from inspect import Parameter, signature
from typing import Any

import torch
from torch import Tensor

from genmend.storage.progress import tell, with_progress

__all__ = ["check_settings", "draw"]


@torch.no_grad()
def draw(
    pipe: Any,
    prompts: str | Sequence[str],
    seeds: Sequence[int],
    *,
    batch_size: int = 16,
    progress: bool = False,
    **settings: Any,
) -> Tensor:
    """Draw every prompt with every seed: ``(n_prompts * n_seeds, 3, height, width)`` float32 in 0..1, on the CPU.

    Parameters
    ----------
    pipe
        A text-to-image pipeline of diffusers.
    prompts
        One or more; the images of the first come first, in the order of the seeds.
    seeds
        The noise of image i comes from a CPU generator with this seed, so it is the same for every prompt, batch size
        and amplification.
    batch_size
        Images a call.
    **settings
        Arguments of the pipeline's call: ``num_inference_steps``, ``guidance_scale``, ``height``, ...

    Raises
    ------
    TypeError
        If the pipeline's call has no such argument.
    ValueError
        If there is no prompt, no seed, or the pipeline returns values that are not finite.
    """
    check_settings(pipe, settings)
    if "callback_on_step_end" in signature(type(pipe).__call__).parameters:
        settings = {"callback_on_step_end": _tell_step} | settings
    prompts = [prompts] if isinstance(prompts, str) else list(prompts)
    if not prompts or not len(seeds):
        raise ValueError(f"There are {len(prompts)} prompts and {len(seeds)} seeds; give at least one of each.")
    pairs = [(prompt, int(seed)) for prompt in prompts for seed in seeds]
    was_quiet = dict(getattr(pipe, "_progress_bar_config", {}))
    pipe.set_progress_bar_config(disable=True)
    try:
        parts = []
        batches = [pairs[start : start + batch_size] for start in range(0, len(pairs), batch_size)]
        for batch in with_progress(batches, "images", len(batches), show=progress):
            generators = [torch.Generator().manual_seed(seed) for _, seed in batch]
            words = [prompt for prompt, _ in batch]
            made = pipe(prompt=words, generator=generators, output_type="pt", **settings).images
            parts.append(made.float().cpu())
    finally:
        pipe.set_progress_bar_config(**was_quiet)
    images = torch.cat(parts)
    if not torch.isfinite(images).all():
        raise ValueError("The pipeline drew values that are not finite; use bfloat16 or float32, or smaller gains.")
    return images


def _tell_step(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
    """Tell whoever listens how far a batch is; what the listener raises stops the drawing there."""
    tell("denoising", step + 1, max(step + 1, getattr(pipe, "num_timesteps", None) or 0))
    return {}


def check_settings(pipe: Any, settings: Iterable[str]) -> None:
    """Raise TypeError unless the pipeline's call has arguments of these names."""
    # Some pipelines take **kwargs too, only for arguments of older versions, and ignore the others.
    parameters = signature(type(pipe).__call__).parameters.values()
    named = {parameter.name for parameter in parameters if parameter.kind is not Parameter.VAR_KEYWORD}
    ours = {"self", "prompt", "generator", "output_type"}
    unknown, accepted = sorted(set(settings) - named), sorted(named - ours)
    if unknown:
        raise TypeError(
            f"{', '.join(unknown)} is no argument of {type(pipe).__name__}; accepted are {', '.join(accepted)}; "
            "check the spelling."
        )
