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
    show_steps: bool = False,
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
        Images a call; fewer where the memory is too small for them.
    progress, show_steps
        Whether there is a bar of the images, and one of the steps of each call.
    **settings
        Arguments of the pipeline's call: ``num_inference_steps``, ``guidance_scale``, ``height``, ...

    Raises
    ------
    TypeError
        If the pipeline's call has no such argument.
    ValueError
        If there is no prompt, no seed, the memory is too small for a single image, or the pipeline returns values that
        are not finite.
    """
    check_settings(pipe, settings)
    if "callback_on_step_end" in signature(type(pipe).__call__).parameters:
        settings = {"callback_on_step_end": _tell_step} | settings
    prompts = [prompts] if isinstance(prompts, str) else list(prompts)
    if not prompts or not len(seeds):
        raise ValueError(f"There are {len(prompts)} prompts and {len(seeds)} seeds; give at least one of each.")
    pairs = [(prompt, int(seed)) for prompt in prompts for seed in seeds]
    was_quiet = dict(getattr(pipe, "_progress_bar_config", {}))
    pipe.set_progress_bar_config(disable=not show_steps, **({"leave": False, "desc": "steps"} if show_steps else {}))
    try:
        parts = []
        batches = [pairs[start : start + batch_size] for start in range(0, len(pairs), batch_size)]
        for batch in with_progress(batches, "images", len(batches), show=progress):
            parts.append(_drawn(pipe, batch, settings))
    finally:
        pipe.set_progress_bar_config(**was_quiet)
    images = torch.cat(parts)
    if not torch.isfinite(images).all():
        raise ValueError("The pipeline drew values that are not finite; use bfloat16 or float32, or smaller gains.")
    return images


def _drawn(pipe: Any, batch: Sequence[tuple[str, int]], settings: dict[str, Any]) -> Tensor:
    """One batch; where the memory is too small for it, half of it and then the other half."""
    generators = [torch.Generator().manual_seed(seed) for _, seed in batch]
    words = [prompt for prompt, _ in batch]
    try:
        return pipe(prompt=words, generator=generators, output_type="pt", **settings).images.float().cpu()
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        if len(batch) == 1:
            raise ValueError(
                "The memory is too small for one image; give a smaller height and width, a 16-bit dtype, or offloading "
                "(--offload sequential keeps least on the device)."
            ) from error
    if torch.cuda.is_available():
        torch.cuda.empty_cache()  # out of the handler: the error held the tensors of the failed call
    half = len(batch) // 2
    return torch.cat([_drawn(pipe, batch[:half], settings), _drawn(pipe, batch[half:], settings)])


def _is_out_of_memory(error: BaseException) -> bool:
    """Of CUDA it is an error of its own; of the CPU and of Apple's devices a RuntimeError that says so."""
    told = str(error)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        sign in told for sign in ("out of memory", "can't allocate memory", "not enough memory")
    )


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
