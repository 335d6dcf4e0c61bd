"""Contrast, ours: which neurons fire more often in a generator's broken samples than in its normal ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genmend.activations import ActivationRate, MeanVariance
from genmend.gans.generator import Generator, recorded_batches

__all__ = ["Contrast"]


@dataclass(frozen=True)
class Contrast:
    """How neurons differ between broken and normal own samples, by layer; tensors (c, h, w).

    Attributes
    ----------
    log_ratio : dict
        ``log((rate in broken + 0.01) / (rate in normal + 0.01))``: higher = more the mark of broken samples.
    normal_mean : dict
        Mean activation over normal samples.
    n_broken, n_normal : int
    """

    log_ratio: dict[str, Tensor]
    normal_mean: dict[str, Tensor]
    n_broken: int
    n_normal: int

    @classmethod
    def measure(
        cls,
        generator: Generator,
        latents: Tensor,
        scores: NDArray[np.floating],
        layers: Sequence[str],
        *,
        broken_share: float = 0.07,
        normal_share: float = 0.6,
        progress: bool = False,
    ) -> Contrast:
        """Compare the samples of the highest `scores` (a share of `broken_share`) with those of the lowest."""
        broken = latents[torch.from_numpy(scores > np.quantile(scores, 1 - broken_share))]
        normal = latents[torch.from_numpy(scores <= np.quantile(scores, normal_share))]
        if not len(broken) or len(normal) < 2:
            raise ValueError(
                f"{len(latents)} samples give {len(broken)} broken ones; measure on at least a few hundred."
            )
        broken_rate = {layer: ActivationRate() for layer in layers}
        normal_rate = {layer: ActivationRate() for layer in layers}
        normal_mean = {layer: MeanVariance() for layer in layers}
        for outputs in recorded_batches(generator, broken, layers, "broken samples", progress):
            for layer in layers:
                broken_rate[layer].update(outputs[layer])
        for outputs in recorded_batches(generator, normal, layers, "normal samples", progress):
            for layer in layers:
                normal_rate[layer].update(outputs[layer])
                normal_mean[layer].update(outputs[layer])
        log_ratio = {
            layer: torch.log((broken_rate[layer].rate + 0.01) / (normal_rate[layer].rate + 0.01)).cpu()
            for layer in layers
        }
        means = {layer: normal_mean[layer].mean.float().cpu() for layer in layers}
        return cls(log_ratio, means, len(broken), len(normal))

    def mask(self, layer: str, share: float) -> Tensor:
        """The `share` of the layer's neurons with the highest log ratio, among those where it is positive."""
        ratio = self.log_ratio[layer]
        chosen = torch.zeros(ratio.numel(), dtype=torch.bool)
        chosen[ratio.flatten().topk(max(1, round(share * ratio.numel()))).indices] = True
        return chosen.view(ratio.shape) & (ratio > 0)
