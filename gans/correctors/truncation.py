"""Truncation: nearer to the middle of the latent space samples are cleaner, and more alike. The baseline to beat."""

from __future__ import annotations

import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from genmend.activations import Edit, MeanVariance, PullToMean
from genmend.activations.layers import find_layer
from genmend.gans.correctors.corrector import Corrector, FitSamples
from genmend.gans.generator import recorded_batches

__all__ = ["Truncation"]


class Truncation(Corrector):
    """Move latents towards their mean: ``mean + psi * (latent - mean)``.

    Source: the truncation trick of Karras et al., arXiv 1812.04948, appendix B. Of normal latents z the mean is 0; of
    latents that are not normal themselves (w) it is taken over own samples.

    Parameters
    ----------
    psi : float in [0, 1]
        1 changes nothing, 0 gives every sample the same latent.
    layer : str, optional
        Name of the mapping network, to truncate its output w there instead of z.
    n_samples : int
        Own samples behind the mean of w (w_avg).
    seed : int
        Of these samples.

    Attributes
    ----------
    mean_ : Tensor
        (*latent_shape,), zeros, or one sample of the mapping network's output.
    """

    def __init__(
        self, psi: float = 0.7, layer: str | None = None, *, n_samples: int = 10_000, seed: int = 1_000_003
    ) -> None:
        self.psi = psi
        self.layer = layer
        self.n_samples = n_samples
        self.seed = seed

    @property
    def is_static(self) -> bool:
        """Where a layer's output is pulled to its mean in place of the latents."""
        return self.layer is not None

    def _fit(self, samples: FitSamples, progress: bool) -> None:
        """Find the mean; only truncation in w needs samples, and it draws its own."""
        if not 0 <= self.psi <= 1:
            raise ValueError(f"psi is {self.psi}; give a share in [0, 1]: 1 leaves latents alone.")
        generator = samples.generator
        if self.layer is None and generator.draw is None:
            self.mean_ = torch.zeros(generator.latent_shape)
            return
        own = generator.latents(self.n_samples, self.seed)
        if self.layer is None:
            self.mean_ = own.double().mean(0).float()
            return
        find_layer(generator.module, self.layer)
        statistic = MeanVariance()
        for outputs in recorded_batches(generator, own, [self.layer], "mean of w", progress):
            statistic.update(outputs[self.layer])
        self.mean_ = statistic.mean.float().cpu()

    def move(self, latents: Tensor) -> Tensor:
        """Truncated latents; the same ones where w is truncated, or psi is 1."""
        check_is_fitted(self, "mean_")
        if self.layer is not None or self.psi == 1:
            return latents
        mean = self.mean_.to(latents)
        return mean + self.psi * (latents - mean)

    def edits(self, latents: Tensor) -> tuple[Edit, ...]:
        """The pull of the mapping network's output, where w is truncated."""
        check_is_fitted(self, "mean_")
        return () if self.layer is None else (PullToMean(self.layer, self.mean_, strength=1 - self.psi),)
