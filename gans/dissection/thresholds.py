"""Where a unit counts as on: at its own top quantile, or where it tells most about a concept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from genmend.gans.dissection.counting import Counts

__all__ = ["TAIL_FRACTIONS", "BestLevels", "best_levels", "information_quality"]

#: Shares of a unit's values above the levels that are tried, falling, so that the levels rise: 100 from 1 to 1e-3.
TAIL_FRACTIONS = tuple(np.logspace(0, -3, 100).tolist())
AGREEMENT, COVERAGE = 0.8, 1e-3


@dataclass(frozen=True)
class BestLevels:
    """The level of each unit that says most of each concept, (u, c).

    Attributes
    ----------
    level : Tensor
        Index of the level; -1 where none is admitted.
    threshold : Tensor
        float64; NaN where none is admitted.
    quality : Tensor
        Information quality ratio there, float64 in 0..1; 0 where none is admitted.
    """

    level: Tensor
    threshold: Tensor
    quality: Tensor


def best_levels(counts: Counts, levels: Tensor) -> BestLevels:
    """Choose the level with the highest information quality ratio for each unit and concept.

    Source: Bau et al., arXiv 1811.10597, section 3.1; the exclusions are those of its code: levels at which unit and
    concept agree on no more than 0.8 of the pixels or that are not above 0, and concepts on less than 1e-3 of the
    pixels (whose information the code sets to nothing).

    Parameters
    ----------
    counts : Counts
        Of `count_at_levels`, on samples other than those that the thresholds are to be judged by.
    levels : Tensor (u, k)
        As they were given there.
    """
    quality = information_quality(counts)
    coverage = counts.concept.double() / counts.pixels
    admitted = (counts.accuracy > AGREEMENT) & (levels.T[..., None] > 0) & (coverage >= COVERAGE) & (quality > 0)
    quality, level = torch.where(admitted, quality, 0).max(0)
    found = admitted.any(0)
    threshold = levels.double().gather(1, level)
    return BestLevels(
        torch.where(found, level, -1), torch.where(found, threshold, torch.nan), torch.where(found, quality, 0)
    )


def information_quality(counts: Counts) -> Tensor:
    """Mutual information of the two masks over their joint entropy, float64 (..., u, c) in 0..1; 0 if that is 0."""
    both = counts.both.double() / counts.pixels
    unit = (counts.unit - counts.both).double() / counts.pixels
    concept = (counts.concept - counts.both).double() / counts.pixels
    neither = 1 - both - unit - concept
    joint = torch.stack([_entropy_term(share.clamp(min=0)) for share in (both, unit, concept, neither)]).sum(0)
    marginals = _binary_entropy(both + unit) + _binary_entropy(both + concept)
    return torch.where(joint > 0, ((marginals - joint) / joint).clamp(min=0), 0.0)


def _binary_entropy(share: Tensor) -> Tensor:
    return _entropy_term(share) + _entropy_term((1 - share).clamp(min=0))


def _entropy_term(share: Tensor) -> Tensor:
    return -torch.xlogy(share, share)
