"""What agreement chance alone gives: each unit beside the masks of other samples, several times over.

A unit that is often on in the middle of the picture overlaps whatever lies in the middle of other pictures too. Which
sample's masks go with which sample's activations is therefore drawn anew, and the overlap counted again: the null.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

__all__ = ["Chance", "adjusted", "partners_of"]


@dataclass(frozen=True)
class Chance:
    """Overlap of units with the masks of other samples, counted beside `Counts`.

    Attributes
    ----------
    n_shuffles : int
        Masks of so many other samples for each sample.
    shuffled : Tensor (u, c), int64
        Pixels of both, over all samples and shuffles.
    spread : Tensor (u, c), float64
        Sum over the samples of the variance of these pixels between the shuffles.
    unit_images : Tensor (u, 1 or c), int64
        Samples in which the unit is on anywhere.
    concept_images : Tensor (c,), int64
        Samples that have the concept anywhere.
    """

    n_shuffles: int
    shuffled: Tensor
    spread: Tensor
    unit_images: Tensor
    concept_images: Tensor

    def __add__(self, other: Chance) -> Chance:
        return Chance(
            self.n_shuffles,
            self.shuffled + other.shuffled,
            self.spread + other.spread,
            self.unit_images + other.unit_images,
            self.concept_images + other.concept_images,
        )

    def null_iou(self, unit: Tensor, concept: Tensor) -> Tensor:
        """Intersection over union that chance gives, float64 (u, c), of units and concepts with these pixels."""
        mean = self.shuffled.double() / self.n_shuffles
        return mean / (unit + concept - mean).clamp(min=1)

    def p_values(self, both: Tensor, concept: Tensor) -> Tensor:
        """How likely chance gives at least so many pixels of both, float64 (u, c) in 0..1.

        The excess over the mean of the shuffles is set against its standard deviation, which the shuffles of each
        sample tell, in Student's distribution: its degrees of freedom are one less than the samples that have the
        concept, or in which the unit is on, whichever are fewer, so that a rare one has to agree in several samples.
        The variance counts that between the masks too, which a shuffle does not have: the level errs towards chance.
        """
        mean = self.shuffled.double() / self.n_shuffles
        area = concept.double() / self.concept_images.clamp(min=1)
        # Where no shuffle overlaps the variance is unknown: one image's area in all of them bounds it from below.
        variance = self.spread.clamp(min=0) * (1 + 1 / self.n_shuffles) + area.square() / self.n_shuffles
        freedom = torch.minimum(self.unit_images, self.concept_images) - 1
        excess = (both.double() - mean) / variance.sqrt().clamp(min=1e-12)
        found = stats.t.sf(excess.numpy(), freedom.clamp(min=1).expand(excess.shape).numpy())
        return torch.where(freedom.expand(excess.shape) >= 1, torch.from_numpy(np.asarray(found)), 1.0)


def partners_of(n: int, n_shuffles: int, seed: int, start: int = 0) -> Tensor:
    """Whose masks go with which sample's activations, (n_shuffles, n): permutations that leave no sample its own.

    Parameters
    ----------
    n : int
        Samples, at least 2.
    seed, start : int
        The draw depends on both: give the index of the first sample as `start`.
    """
    rng = np.random.default_rng([seed, start])
    rows = np.arange(n)
    found = []
    while len(found) < n_shuffles:
        order = rng.permutation(n)
        if n > 1 and (order == rows).any():  # one in e has none of its own
            continue
        found.append(order)
    return torch.from_numpy(np.stack(found))


def adjusted(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """P-values of many pairs, adjusted so that those up to a level hold at most that share of false ones.

    Source: Benjamini and Yekutieli, "The control of the false discovery rate in multiple testing under dependency",
    Annals of Statistics 29, 2001: units and concepts of the same images depend on each other.
    """
    return np.asarray(stats.false_discovery_control(p_values.ravel(), method="by")).reshape(p_values.shape)
