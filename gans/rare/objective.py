"""What a rare version of a reference minimises: density, distance beyond d*, sameness among versions; per dimension.

Every term is divided by its number of dimensions and measured in the own samples' spread, so that the weights mean the
same for any extractor and density; the paper's lambdas belong to 4096 unscaled features.

Source: Lee, Han, Kim, Choi, "Diverse Rare Sample Generation with Pretrained GANs", AAAI 2025, arXiv 2412.19543. The
penalties on latents and on artifacts are ours.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genmend.gans.settings import RareObjective

__all__ = ["pair_distances", "rare_loss"]


def rare_loss(
    objective: RareObjective,
    log_prob: Tensor,
    distance: Tensor,
    limit: Tensor,
    between: Tensor,
    latents: Tensor,
    artifact_excess: Tensor,
    manifold_excess: Tensor,
) -> Tensor:
    """Return one loss (r, n) for each of n versions of r references; lower is better.

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
    if objective.all_pairs:
        apart = (apart.sum(1, keepdim=True) / 2).expand_as(apart)
    norm = latents.norm(dim=2) / math.sqrt(latents.shape[2])
    loss: Tensor = (
        log_prob
        + objective.similarity * (distance - limit).clamp(min=0).square()
        - objective.diversity * apart
        + objective.prior * (norm - 1).square()
        + objective.artifact * artifact_excess.clamp(min=0).square()
        + objective.manifold * manifold_excess.clamp(min=0).square()
    )
    return loss


def pair_distances(features: Tensor) -> Tensor:
    """Distances (r, n, n) among the n vectors of each reference, of (r, n, d); equal ones give no gradient."""
    squared = (features[:, :, None] - features[:, None]).square().sum(3)
    apart = squared > 0
    # The square root has no gradient at 0: those pairs are kept out of it.
    return torch.where(apart, squared.where(apart, torch.ones_like(squared)).sqrt(), squared)
