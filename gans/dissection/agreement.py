"""How well each unit's mask agrees with each concept's, and which units detect something."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genmend.gans.dissection.counting import Counts, exceeding, pixels_of_both, round_down, upsample

__all__ = ["Agreement", "agreement_of", "bootstrap_interval", "detects", "pair_counts"]

IOU, ACCURACY, QUALITY = 0.05, 0.75, 0.01


@dataclass(frozen=True)
class Agreement:
    """Units of one layer against concepts, (u, c) each.

    Attributes
    ----------
    iou : Tensor
        Pixels of both over pixels of either, pooled over all images (not a mean of images' values); 0 where neither has
        any, or no threshold was admitted. Higher is better.
    accuracy : Tensor
        Share of pixels that both have or both lack.
    threshold : Tensor
        Activation above which the unit has a pixel; NaN where none was admitted.
    quality : Tensor or None
        Information quality ratio on the samples that chose the thresholds, where they were so chosen.
    """

    iou: Tensor
    accuracy: Tensor
    threshold: Tensor
    quality: Tensor | None = None

    @property
    def best(self) -> Tensor:
        """The concept of highest IoU of each unit, (u,)."""
        return self.iou.argmax(1)


def detects(
    iou: NDArray[np.float64],
    accuracy: NDArray[np.float64],
    quality: NDArray[np.float64] | None = None,
    rule: Literal["paper", "code"] = "paper",
) -> NDArray[np.bool_]:
    """Whether units detect their concepts, for arrays of any one shape.

    ``paper``: pixel accuracy above 0.75 and IoU above 0.05 (arXiv 1811.10597). ``code``: IoU above 0.05 and information
    quality above 0.01, as the authors' code has it.

    Raises
    ------
    ValueError
        For another rule, or ``code`` without the quality, which only thresholds that were chosen by it have.
    """
    if rule == "paper":
        return (iou > IOU) & (accuracy > ACCURACY)
    if rule != "code":
        raise ValueError(f"rule is {rule!r}; accepted are 'paper' and 'code'.")
    if quality is None:
        raise ValueError("The rule 'code' needs thresholds chosen by information quality: dissect with iqr.")
    return (iou > IOU) & (quality > QUALITY)


def agreement_of(counts: Counts, threshold: Tensor, quality: Tensor | None = None) -> Agreement:
    """Agreement from counts (u, c) at these thresholds (u, c)."""
    admitted = torch.isfinite(threshold)
    iou, accuracy = (torch.where(admitted, values, 0) for values in (counts.iou, counts.accuracy))
    return Agreement(iou, accuracy, threshold, quality)


def pair_counts(maps: Tensor, masks: Tensor, concept: Tensor, threshold: Tensor) -> NDArray[np.int64]:
    """For one concept a unit, each image on its own: pixels of both, and of either, (n, u, 2), over all pixels.

    Parameters
    ----------
    maps : Tensor (n, u, h, w)
    masks : Tensor (n, c, height, width), bool
    concept : Tensor (u,)
        Index of each unit's concept.
    threshold : Tensor (u,)
        A pixel is the unit's where it is above; nowhere for NaN.
    """
    side = (int(masks.shape[2]), int(masks.shape[3]))
    limits = round_down(torch.nan_to_num(threshold.double(), nan=torch.inf))
    reach = maps.flatten(2).amax(2) > limits
    both = torch.zeros(maps.shape[:2], dtype=torch.int64)
    either = masks.sum((2, 3))[:, concept]  # the concept's own pixels; what the unit adds follows
    for image, mask in enumerate(masks.flatten(2)):
        units = reach[image].nonzero()[:, 0]
        on = exceeding(upsample(maps[image, units], side), limits[units, None])
        # With all concepts, of which one a unit is wanted: the product takes less than picking the masks apart.
        found = pixels_of_both(on, mask)
        both[image, units] = found.gather(1, concept[units, None])[:, 0]
        either[image, units] += found[:, -1] - both[image, units]
    return torch.stack([both, either], 2).numpy()


def bootstrap_interval(
    pairs: NDArray[np.int64], *, n_resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> NDArray[np.float64]:
    """Percentile interval of the pooled IoU over resamples of the images, (u, 2).

    The concept was chosen as the best on the same images: the interval does not cover that choice.

    Parameters
    ----------
    pairs : ndarray (n, u, 2)
        As `pair_counts` returns it.
    n_resamples, level, seed
        Resamples, the interval's probability, and what draws them.
    """
    n = len(pairs)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(n, np.full(n, 1 / n), size=n_resamples).astype(np.float64)
    both, either = (weights @ pairs[..., which].astype(np.float64) for which in (0, 1))
    values = np.divide(both, either, out=np.zeros_like(both), where=either > 0)
    tails = [(1 - level) / 2, (1 + level) / 2]
    return np.asarray(np.quantile(values, tails, axis=0).T)
