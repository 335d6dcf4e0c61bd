"""What a rare version of a reference minimises: density, distance beyond d*, sameness among versions; per dimension.

Every term is divided by its number of dimensions and measured in the own samples' spread, so that the weights mean the
same for any extractor and density; the paper's lambdas belong to 4096 unscaled features.

Source: Lee, Han, Kim, Choi, "Diverse Rare Sample Generation with Pretrained GANs", AAAI 2025, arXiv 2412.19543. The
penalties on latents and on artifacts are ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal

import torch
from torch import Tensor

__all__ = ["Anchor", "RareObjective", "pair_distances"]

Anchor = Literal["reference", "own_start"]


@dataclass(frozen=True)
class RareObjective:
    """Weights of the terms beside the log-density per dimension, whose own weight is 1.

    Attributes
    ----------
    similarity : float
        lambda_1, of the squared distance beyond d*.
    diversity : float
        lambda_2, of the summed squared distance to the other versions of the same reference, which is subtracted.
    prior : float
        Of the squared difference between the latent's norm and a standard normal latent's.
    artifact : float
        Of the squared artifact score beyond the limit, in standard deviations of the own samples' scores.
    manifold : float
        Of the squared distance beyond the nearest ball of the normal manifold, in that ball's radii. The paper selects
        only (0).
    anchor : "reference" or "own_start"
        What distance and d* refer to: the features of the reference (the paper), or those of each version's own noisy
        start (the paper's code).
    all_pairs : bool
        Charge every version with the distances of all pairs, as the paper's code does: n_versions / 2 times the
        paper's diversity.
    """

    similarity: float = 30.0
    diversity: float = 0.02
    prior: float = 20.0
    artifact: float = 1.0
    manifold: float = 1.0
    anchor: Anchor = "reference"
    all_pairs: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(field.default, float) and not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{field.name} is {value}; give a weight of at least 0.")
        if self.anchor not in ("reference", "own_start"):
            raise ValueError(f"anchor is {self.anchor!r}; give 'reference' or 'own_start'.")

    def loss(
        self,
        log_prob: Tensor,
        distance: Tensor,
        limit: Tensor,
        between: Tensor,
        latents: Tensor,
        artifact_excess: Tensor,
        manifold_excess: Tensor,
    ) -> Tensor:
        """One loss (r, n) for each of n versions of r references; lower is better.

        Parameters
        ----------
        log_prob : Tensor (r, n)
            Nats per dimension.
        distance, limit : Tensor (r, n), (r, n)
            To the anchor, and d*; per dimension (divided by sqrt(d)) in units of the own samples' spread.
        between : Tensor (r, n, n)
            Distances among the versions, in the same unit.
        latents : Tensor (r, n, m)
        artifact_excess, manifold_excess : Tensor (r, n)
            What lies above the limit, negative below.
        """
        apart = between.square().sum(2)
        if self.all_pairs:
            apart = (apart.sum(1, keepdim=True) / 2).expand_as(apart)
        norm = latents.norm(dim=2) / math.sqrt(latents.shape[2])
        loss: Tensor = (
            log_prob
            + self.similarity * (distance - limit).clamp(min=0).square()
            - self.diversity * apart
            + self.prior * (norm - 1).square()
            + self.artifact * artifact_excess.clamp(min=0).square()
            + self.manifold * manifold_excess.clamp(min=0).square()
        )
        return loss


def pair_distances(features: Tensor) -> Tensor:
    """Distances (r, n, n) among the n vectors of each reference, of (r, n, d); equal ones give no gradient."""
    squared = (features[:, :, None] - features[:, None]).square().sum(3)
    apart = squared > 0
    # The square root has no gradient at 0: those pairs are kept out of it.
    return torch.where(apart, squared.where(apart, torch.ones_like(squared)).sqrt(), squared)
