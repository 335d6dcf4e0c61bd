"""Boosted initial noise: start with more of it, and a little later, to reach rarer images. A baseline.

Um, Kim, Ye, "Boost-and-Skip: a simple guidance-free diffusion for minority generation", ICML 2025, arXiv 2502.06516.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from genmend.diffusion.pipeline_parts import denoiser_of, plain_module

__all__ = ["boosted_latents", "later_timesteps"]


def boosted_latents(
    pipe: Any, gamma: float, *, seeds: Sequence[int], height: int | None = None, width: int | None = None
) -> Tensor:
    """Draw initial noise of standard deviation gamma, for ``pipe(..., latents=...)``.

    Parameters
    ----------
    pipe
        A diffusers pipeline that draws from noise of shape ``(n, channels, height, width)``.
    gamma
        1 is what the pipeline draws itself with a CPU generator of the same seed; published for pixel-space models are
        2.5 and 4. For latent models nothing is published: begin with 1.02 to 1.3, and watch the saturation.
    seeds
        One for each image; an image does not depend on the others.
    height, width
        Of the images, in pixels, as the pipeline takes them; None: its default.

    Returns
    -------
    Tensor
        ``[len(seeds), channels, height // f, width // f]`` on the CPU, f the factor of the autoencoder (1 without one),
        in the denoiser's dtype; before the scheduler's own scale, which the pipeline applies.

    Raises
    ------
    TypeError
        If the pipeline packs its latents (Flux), or does not tell its shapes.
    ValueError
        If gamma is out of range, there is no seed, or a size is no multiple of f.
    """
    if not (math.isfinite(gamma) and gamma > 0):
        raise ValueError(f"gamma is {gamma}, but a finite number above 0 is needed; 1 is ordinary noise.")
    if not seeds:
        raise ValueError("seeds is empty, but one for each image is needed; give range(n).")
    if hasattr(pipe, "_pack_latents"):
        raise TypeError(f"{type(pipe).__name__} packs its latents, which is not supported; take an unpacked pipeline.")
    config = getattr(plain_module(denoiser_of(pipe)), "config", {})
    factor = int(getattr(pipe, "vae_scale_factor", 1))
    vae = getattr(pipe, "vae", None)
    n_channels = config.get("out_channels") if vae is None else vae.config.latent_channels
    default = config.get("sample_size")
    if n_channels is None or (default is None and None in (height, width)):
        raise TypeError(f"{type(pipe).__name__} tells no channels or no size of its latents; give height and width.")
    rows, columns = default if isinstance(default, Sequence) else (default or 0,) * 2
    size = (rows * factor if height is None else height, columns * factor if width is None else width)
    if any(side <= 0 or side % factor for side in size):
        raise ValueError(f"The images are {size[0]} x {size[1]}, but multiples of {factor} are needed.")
    shape = (n_channels, size[0] // factor, size[1] // factor)
    dtype = next(denoiser_of(pipe).parameters()).dtype
    draws = (torch.randn((1, *shape), generator=torch.Generator().manual_seed(seed), dtype=dtype) for seed in seeds)
    return gamma * torch.cat(list(draws))


def later_timesteps(pipe: Any, n_steps: int, skip: int) -> list[float]:
    """Return the steps of a run without the first ones, for ``pipe(..., timesteps=...)``.

    Parameters
    ----------
    pipe
        A pipeline whose scheduler takes timesteps (DDPM, Euler, DPM-Solver, LCM, ...).
    n_steps
        Steps of the whole run.
    skip
        How many of them to leave out; published is 3 of 250.

    Raises
    ------
    TypeError
        If the scheduler does not take timesteps.
    ValueError
        Unless ``0 <= skip < n_steps``.
    """
    if not 0 <= skip < n_steps:
        raise ValueError(f"skip is {skip} of {n_steps} steps, but 0 to {n_steps - 1} is needed; skip few.")
    scheduler = copy.deepcopy(pipe.scheduler)  # the pipeline's own stays as it is
    if "timesteps" not in signature(scheduler.set_timesteps).parameters:
        raise TypeError(
            f"{type(scheduler).__name__} does not take timesteps, so its first steps cannot be skipped; take another, "
            "such as EulerDiscreteScheduler or DDPMScheduler."
        )
    scheduler.set_timesteps(n_steps)
    steps: list[float] = scheduler.timesteps.tolist()
    return steps[skip * len(steps) // n_steps :]
