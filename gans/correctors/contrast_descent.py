"""Contrast descent, ours: the smallest move of a latent that silences the neurons which mark broken samples.

The neurons are the contrast's (`genmend.gans.correctors.contrast`): those that fire more often in broken own samples
than in normal ones. Instead of cutting them down in the network, which leaves maps that no latent makes, the latent
follows the gradient of their mean positive part, weighted by the log ratio of the rates, until every early layer's
level is that of a clean normal sample. What comes out is a sample of the unchanged generator, and a near one: on the
labelled faces some 15 degrees away, where two random latents are 90 apart (`experiments.faces.plausible`).

No extractor steers it: gate and stop rule, which look at the image, are judges that the gradient does not see.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genmend.activations import LatentDescent, record
from genmend.gans.correctors.contrast import Contrast
from genmend.gans.generator import Generator, recorded_batches
from genmend.storage.progress import with_progress

__all__ = ["DESCENTS", "contrast_levels", "descend", "fit_descent"]

# Shares of the normal samples whose level is lower than what a sample is moved down to. The first makes half of the
# broken faces plausible to a blind rater, at 0.9 of clean samples' diversity; the later ones are for those that the
# stop rule refuses.
DESCENTS = (0.2, 0.1, 0.05, 0.02)
_SHARE = 0.3  # of a layer's neurons, those of the highest contrast
_STEP, _N_STEPS = 0.04, 20  # radians; 20 of them are half a right angle
_MOST_NORMAL = 1_000  # own normal samples behind the levels


def contrast_levels(outputs: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Tensor:
    """Mean over each layer's weighted neurons of weight x positive part, (n, n_layers)."""
    levels = []
    for layer, weight in weights.items():
        held = weight.to(outputs[layer].device, outputs[layer].dtype)
        total = (outputs[layer].clamp(min=0) * held).flatten(1).sum(1)
        levels.append(total / (weight > 0).sum().clamp(min=1).to(total.device))
    return torch.stack(levels, dim=1)


def fit_descent(
    generator: Generator,
    contrast: Contrast,
    normal: Tensor,
    layers: Sequence[str],
    *,
    quantiles: Sequence[float] = DESCENTS,
    progress: bool = False,
) -> LatentDescent | None:
    """Find the levels of normal samples, and from them how far broken ones have to come down.

    Parameters
    ----------
    generator, contrast
        The contrast has to be measured in `layers`.
    normal : Tensor (n, *latent_shape)
        Latents of own normal samples; the first 1,000 are used.
    layers : sequence of str
    quantiles : sequence of float
        One target each, from weak to strong, so falling: the share of normal samples that is below it.
    progress : bool
        Show progress bars.

    Returns
    -------
    LatentDescent or None
        None where no gradient comes back to the latents, or no neuron of a layer marks broken samples.
    """
    normal = normal[:_MOST_NORMAL]
    weights = {
        layer: (contrast.log_ratio[layer] * contrast.mask(layer, _SHARE)).float().to(torch.float16) for layer in layers
    }
    weights = {layer: weight for layer, weight in weights.items() if weight.any()}
    if not weights:
        return None
    parts = [
        contrast_levels(outputs, weights).cpu()
        for outputs in recorded_batches(generator, normal, tuple(weights), "normal samples", progress)
    ]
    levels: NDArray[np.float64] = torch.cat(parts).double().numpy()
    if (levels.std(axis=0) == 0).any():
        return None
    radius = None if generator.draw is None else float((normal - normal.mean(0)).flatten(1).norm(dim=1).mean())
    descent = LatentDescent(
        tuple(weights),
        tuple(weights.values()),
        tuple(levels.std(axis=0)),
        tuple(tuple(np.quantile(levels, quantile, axis=0)) for quantile in quantiles),
        _STEP,
        _N_STEPS,
        radius,
    )
    return descent if _moves(generator, descent, normal[:8]) else None


def descend(
    generator: Generator, descent: LatentDescent, latents: Tensor, number: int, *, progress: bool = False
) -> Tensor:
    """Move latents (n, *latent_shape) down to target `number`; those that are there already keep every bit.

    Each step goes against the gradient of what is left of every layer's level above its target, in standard deviations
    of normal samples. A latent that has come down moves no further.
    """
    target = torch.tensor(descent.targets[number])
    scale = torch.tensor(descent.scales)
    parts = latents.split(generator.batch_size)
    batches = with_progress(parts, "latents", len(parts), show=progress)
    return torch.cat([_descended(generator, descent, batch, target, scale) for batch in batches])


def _descended(generator: Generator, descent: LatentDescent, latents: Tensor, target: Tensor, scale: Tensor) -> Tensor:
    moved = latents.clone()
    left = torch.arange(len(latents))
    for _ in range(descent.n_steps):
        gradient, excess = _gradient(generator, descent, moved[left], target, scale)
        going = (excess > 0) & (gradient.flatten(1).norm(dim=1) > 0) & gradient.flatten(1).isfinite().all(1)
        left = left[going]
        if not len(left):
            break
        moved[left] = _stepped(moved[left], gradient[going], descent)
    return moved


def _gradient(
    generator: Generator, descent: LatentDescent, latents: Tensor, target: Tensor, scale: Tensor
) -> tuple[Tensor, Tensor]:
    """Of the summed excess over the target, in the latents; and that excess (n,)."""
    weights = dict(zip(descent.layers, descent.weights, strict=True))
    moving = latents.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        with record(generator.module, descent.layers, stop=True, detach=False) as outputs:
            generator.run(moving)
        levels = contrast_levels({layer: outputs[layer].float() for layer in descent.layers}, weights).cpu()
        excess = ((levels - target) / scale).clamp(min=0).sum(1)
        if not excess.requires_grad:
            return torch.zeros_like(latents), excess
        (gradient,) = torch.autograd.grad(excess.sum(), [moving], allow_unused=True)
    return torch.zeros_like(latents) if gradient is None else gradient.detach(), excess.detach()


def _stepped(latents: Tensor, gradient: Tensor, descent: LatentDescent) -> Tensor:
    """One move against the gradient: a turn that keeps the norm, or where there is a radius a straight one."""
    flat, slope = latents.flatten(1).double(), gradient.flatten(1).double()
    if descent.radius is not None:
        return (flat - descent.step * descent.radius * _unit(slope)).view_as(latents).to(latents.dtype)
    norm = flat.norm(dim=1, keepdim=True)
    place = _unit(flat)
    across = _unit(slope - (slope * place).sum(1, keepdim=True) * place)
    turned = norm * (math.cos(descent.step) * place - math.sin(descent.step) * across)
    return turned.view_as(latents).to(latents.dtype)


def _unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.norm(dim=1, keepdim=True).clamp(min=torch.finfo(vectors.dtype).tiny)


def _moves(generator: Generator, descent: LatentDescent, latents: Tensor) -> bool:
    """Whether a gradient comes back to the latents: not through every generator, such as one under `no_grad`."""
    nothing = torch.zeros(len(descent.layers))
    gradient, _ = _gradient(generator, descent, latents, nothing, torch.tensor(descent.scales))
    return bool(gradient.any())
