"""Move each latent by gradient until its image's features come near to normal ones. A baseline that costs minutes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from genmend.gans.correctors.corrector import Corrector, FitSamples
from genmend.gans.generator import gradient_batch
from genmend.gans.image_features import image_features
from genmend.manifold.features import load_extractor
from genmend.manifold.features.extractor_device import at_extractor

__all__ = ["LatentOptimisation"]


class LatentOptimisation(Corrector):
    """Minimise ``mean |f(G(z)) - f_j|^2 / scale + prior_weight * mean(z^2)`` over z, from the sample's own latent.

    The f_j are the features of the k normal samples that were nearest at the start; scale is the mean squared distance
    between a normal sample and its k nearest others, so the first term is about 1 where samples are normal. The second
    is minus the log density of a normal prior, but for a constant and a factor. Ours, as a baseline.

    Parameters
    ----------
    extractor : str or callable
        As `genmend.manifold.features.load_extractor` takes it; it has to be differentiable.
    k : int
        Neighbours.
    n_steps : int
        Of Adam; 0 changes nothing.
    learning_rate : float
        In units of the latent.
    prior_weight : float >= 0

    Attributes
    ----------
    features_ : Tensor (n_normal, d)
    scale_ : float
    generator_ : Generator
    """

    def __init__(
        self,
        extractor: str | Callable[[Tensor], Tensor] = "efficientnet-lite0",
        *,
        k: int = 3,
        n_steps: int = 20,
        learning_rate: float = 0.05,
        prior_weight: float = 0.1,
    ) -> None:
        self.extractor = extractor
        self.k = k
        self.n_steps = n_steps
        self.learning_rate = learning_rate
        self.prior_weight = prior_weight

    def _fit(self, samples: FitSamples, progress: bool) -> None:
        """Extract the normal samples' features.

        Raises
        ------
        ValueError
            If a parameter is out of range, or there are no more than k normal samples.
        """
        if self.k < 1 or self.n_steps < 0 or self.learning_rate <= 0 or self.prior_weight < 0:
            raise ValueError(
                f"k={self.k}, n_steps={self.n_steps}, learning_rate={self.learning_rate}, prior_weight="
                f"{self.prior_weight}: give at least 1, at least 0, more than 0, and at least 0."
            )
        if len(samples.normal) <= self.k:
            raise ValueError(f"{len(samples.normal)} normal samples have no {self.k} neighbours; give more than k.")
        self.extractor_: Any = load_extractor(self.extractor)
        features = image_features(samples.generator, samples.normal, self.extractor_, progress=progress)
        self.features_ = torch.from_numpy(features)
        apart = torch.cdist(self.features_.double(), self.features_.double()).square()
        apart.fill_diagonal_(torch.inf)
        self.scale_ = float(apart.topk(self.k, largest=False).values.mean()) or 1.0
        self.generator_ = samples.generator

    def move(self, latents: Tensor) -> Tensor:
        """Optimised latents, each on its own: Adam's steps of one do not depend on the others."""
        check_is_fitted(self, "features_")
        latents = self.generator_.checked_latents(latents)
        if not self.n_steps:
            return latents
        return torch.cat([self._optimised(batch) for batch in latents.split(gradient_batch(self.generator_))])

    def _optimised(self, latents: Tensor) -> Tensor:
        with torch.no_grad():
            start = self._features(latents)
            nearest = torch.cdist(start, self.features_.to(start)).topk(self.k, largest=False).indices
        targets = self.features_.to(start)[nearest]  # (n, k, d)
        moving = latents.clone().requires_grad_(True)
        optimiser = torch.optim.Adam([moving], lr=self.learning_rate)
        with torch.enable_grad():
            for _ in range(self.n_steps):
                distance = (self._features(moving)[:, None] - targets).square().sum(2).mean(1) / self.scale_
                prior = moving.square().flatten(1).mean(1)
                (gradient,) = torch.autograd.grad((distance + self.prior_weight * prior).sum(), [moving])
                moving.grad = gradient
                optimiser.step()
        return moving.detach()

    def _features(self, latents: Tensor) -> Tensor:
        images = at_extractor(self.extractor_, self.generator_.images(latents))
        features: Tensor = self.extractor_(images).float()
        return features.to(latents.device)
