"""How far an image moves when only some of a layer's neurons are kept."""

from __future__ import annotations

import torch
from torch import Tensor

from activations import edited, record
from gans.generator import Generator
from gans.sample_edits import ScaleEachSample

__all__ = ["activations_of", "decoded", "kept_errors", "squared_errors"]


@torch.no_grad()
def activations_of(generator: Generator, latent: Tensor, layer: str) -> Tensor:
    """The layer's output for one latent ``[1, *latent_shape]``: ``[C, H, W]``."""
    with record(generator.module, [layer], stop=True) as outputs:
        generator.run(latent)
    output: Tensor = outputs[layer][0]
    return output


def decoded(generator: Generator, latent: Tensor, layer: str, gates: Tensor | None = None) -> Tensor:
    """Images of one latent ``[1, *latent_shape]`` with the layer's output multiplied by each row of gates.

    Black is 0 and white 1, not clamped; gradients flow to the gates ``[n, C, H, W]`` or ``[n, C]``.
    """
    low, high = generator.value_range
    if gates is None:
        raw = generator.run(latent)
    else:
        with edited(generator.module, ScaleEachSample(layer, gates)):
            raw = generator.run(latent.expand(len(gates), *latent.shape[1:]))
    return (raw.float() - low) / (high - low)


def squared_errors(images: Tensor, original: Tensor) -> Tensor:
    """Mean squared difference over pixels and channels: ``[n]``, in squared units of the 0..1 range."""
    return (images - original).square().flatten(1).mean(1)


@torch.no_grad()
def kept_errors(generator: Generator, latent: Tensor, layer: str, masks: Tensor) -> Tensor:
    """RMSE, in the image's 0..1 range, of keeping only the neurons (or units) of each mask: ``[n]`` on the CPU.

    `masks` is bool, ``[n, C, H, W]`` or ``[n, C]``; everything not kept is set to 0.
    """
    original = decoded(generator, latent, layer)
    parts = [
        squared_errors(decoded(generator, latent, layer, part.to(original)), original).sqrt().cpu()
        for part in masks.split(generator.batch_size)
    ]
    return torch.cat(parts)
