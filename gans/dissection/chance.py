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

__all__ = ["Chance", "Tally", "adjusted", "partners_of"]


@dataclass(frozen=True)
class Chance:
    """Overlap of units with the masks of other samples, counted beside `Counts`.

    Attributes
    ----------
    n_samples, n_shuffles : int
        Samples, and for each the masks of so many others.
    shuffled : Tensor (u, c), int64
        Pixels of both, over all samples and shuffles.
    squares : Tensor (u, c), float64
        Sum over the samples of the squared excess: pixels shared with the own mask, less the mean of the others.
    """

    n_samples: int
    n_shuffles: int
    shuffled: Tensor
    squares: Tensor

    def __add__(self, other: Chance) -> Chance:
        n_samples = self.n_samples + other.n_samples
        return Chance(n_samples, self.n_shuffles, self.shuffled + other.shuffled, self.squares + other.squares)

    def null_iou(self, unit: Tensor, concept: Tensor) -> Tensor:
        """Intersection over union that chance gives, float64 (u, c), of units and concepts with these pixels."""
        mean = self.shuffled.double() / self.n_shuffles
        return mean / (unit + concept - mean).clamp(min=1)

    def p_values(self, both: Tensor) -> Tensor:
        """How likely chance gives at least so many pixels of both, float64 (u, c) in 0..1; 1 where none are shared.

        Student's t of the samples' excesses, one-sided. It is at most about the root of the number of samples that
        share pixels with their own masks: what a single large one has in common proves nothing.
        """
        excess = both.double() - self.shuffled.double() / self.n_shuffles
        n = self.n_samples
        variance = (self.squares - excess.square() / n).clamp(min=0) / max(n - 1, 1)
        t = excess / (n * variance).sqrt().clamp(min=1e-12)
        found = torch.from_numpy(np.asarray(stats.t.sf(t.cpu().numpy(), max(n - 1, 1))))
        return torch.where(both > 0, found.to(both.device), 1.0)


class Tally:
    """Counts of units beside the masks of other samples, while they are made; nothing where there are none.

    Parameters
    ----------
    n_units, n_concepts : int
    others : Tensor (n_shuffles, n, c, p), bool, optional
    """

    def __init__(self, n_units: int, n_concepts: int, others: Tensor | None) -> None:
        self.others = others
        self.shuffled = torch.zeros(n_units, n_concepts, dtype=torch.int64)
        self.squares = torch.zeros(n_units, n_concepts, dtype=torch.float64)

    def add(self, units: Tensor, on: Tensor, own: Tensor, sample: int, concept: int | None = None) -> None:
        """Count the pixels that units (k,) of a sample, ones in `on` (k, p), share with the masks of others.

        `own` (k, c) are those that they share with its own masks; of one `concept` where a threshold is for that alone.
        """
        if self.others is None or not len(units):
            return
        which = slice(None) if concept is None else slice(concept, concept + 1)
        masks = self.others[:, sample, which].float()
        found = (on @ masks.flatten(0, 1).T).double().view(len(units), *masks.shape[:2])
        self.shuffled[units, which] += found.sum(1).long()
        self.squares[units, which] += (own - found.mean(1)).square()

    def chance(self) -> Chance | None:
        """All of it."""
        if self.others is None:
            return None
        n_shuffles, n_samples = self.others.shape[:2]
        return Chance(n_samples, n_shuffles, self.shuffled, self.squares)


def partners_of(n: int, n_shuffles: int, seed: int, start: int = 0) -> Tensor:
    """Whose masks go with which sample's activations, (n_shuffles, n): permutations that leave no sample its own.

    Parameters
    ----------
    n : int
        Samples, at least 2.
    n_shuffles : int
    seed, start : int
        The draw depends on both: give the index of the first sample as `start`.
    """
    if n < 2:
        raise ValueError(f"n is {n}; a sample needs another one whose masks it can be set beside.")
    rng = np.random.default_rng([seed, start])
    rows = np.arange(n)
    found: list[NDArray[np.int64]] = []
    while len(found) < n_shuffles:
        order = rng.permutation(n)
        if not (order == rows).any():  # so is one in e of them
            found.append(order)
    return torch.from_numpy(np.stack(found))


def adjusted(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """P-values of many pairs, adjusted: of all that are up to a level, at most that share is false on average.

    Source: Benjamini and Yekutieli, "The control of the false discovery rate in multiple testing under dependency",
    Annals of Statistics 29, 2001: units and concepts of the same images depend on each other.
    """
    return np.asarray(stats.false_discovery_control(p_values.ravel(), method="by")).reshape(p_values.shape)
