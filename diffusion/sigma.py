"""The noise level of a step, and edits that act at some noise levels only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

__all__ = ["SigmaWindow", "sigma_of"]


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
    """Noise level of a timestep, as the scheduler defines it.

    Raises
    ------
    ValueError
        If the scheduler has neither ``sigmas`` for its timesteps nor ``alphas_cumprod``.
    """
    step = float(torch.as_tensor(timestep).flatten()[0])
    sigmas, timesteps = getattr(scheduler, "sigmas", None), getattr(scheduler, "timesteps", None)
    if sigmas is not None and timesteps is not None and len(sigmas) >= len(timesteps) > 0:
        return float(sigmas[int((torch.as_tensor(timesteps, dtype=torch.float64) - step).abs().argmin())])
    if hasattr(scheduler, "alphas_cumprod"):
        kept = float(scheduler.alphas_cumprod[round(step)])
        return float(((1 - kept) / kept) ** 0.5)
    raise ValueError(
        f"{type(scheduler).__name__} has neither sigmas nor alphas_cumprod, so a step's noise level is unknown; leave "
        "the sigma window out, or take another scheduler."
    )
