"""How real a checkpoint's own discriminator finds its samples: a detector for checkpoints that have kept one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from tqdm import tqdm

from genmend.gans.generator import Generator

__all__ = ["DiscriminatorScore"]


class DiscriminatorScore(BaseEstimator):
    """Minus the discriminator's logit, in standard deviations of own samples; higher = more broken.

    Parameters
    ----------
    discriminator : callable
        Takes what the generator's module returns (its own value range, on its device), and gives one logit for each
        image, (n,) or (n, 1) or (n, 1, 1, 1); higher = more real. A module has to be in eval mode.

    Attributes
    ----------
    mean_, std_ : float
        Of the logits of the samples fitted on.
    """

    def __init__(self, discriminator: Callable[[Tensor], Tensor]) -> None:
        self.discriminator = discriminator

    def fit(self, generator: Generator, latents: Tensor, *, progress: bool = False) -> Self:
        """Measure which logits are usual.

        Raises
        ------
        ValueError
            If there are fewer than 2 latents, the discriminator is in training mode, or it returns something else than
            one finite logit for each image.
        """
        if getattr(self.discriminator, "training", False):
            raise ValueError("The discriminator is in training mode, where it would change itself: call .eval() on it.")
        if len(latents) < 2:
            raise ValueError(f"DiscriminatorScore needs at least 2 latents to learn from, got {len(latents)}.")
        logits = self._logits(generator, latents, progress)
        self.mean_, self.std_ = float(logits.mean()), float(logits.std()) or 1.0
        return self

    def score(
        self, generator: Generator, latents: Tensor | NDArray[Any], *, progress: bool = False
    ) -> NDArray[np.float64]:
        """Scores (n,): mean 0 over those fitted on."""
        check_is_fitted(self, "mean_")
        return (self.mean_ - self._logits(generator, latents, progress)) / self.std_

    @torch.no_grad()
    def _logits(self, generator: Generator, latents: Tensor | NDArray[Any], progress: bool) -> NDArray[np.float64]:
        batches = generator.checked_latents(latents).split(generator.batch_size)
        parts = []
        for batch in tqdm(batches, desc="discriminator", disable=not progress, leave=False):
            logits = self.discriminator(generator.run(batch))
            if logits.numel() != len(batch) or not torch.isfinite(logits).all():
                raise ValueError(
                    f"The discriminator returned shape {tuple(logits.shape)} for {len(batch)} images, or values that "
                    "are not finite; it has to give one logit for each."
                )
            parts.append(logits.reshape(-1).double().cpu().numpy())
        return np.concatenate(parts)
