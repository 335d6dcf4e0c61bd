"""How well each unit's mask agrees with each concept's, and which units detect something."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genmend.gans.dissection.counting import (
    Counts,
    exceeding,
    on_cpu,
    pixels_at,
    pixels_of_both,
    round_down,
    units_at_once,
    upsample,
)

__all__ = ["Agreement", "agreement_of", "bootstrap_interval", "detects", "pair_counts"]

IOU, ACCURACY, QUALITY = 0.05, 0.75, 0.01
_RESAMPLES_AT_ONCE, _UNITS_AT_ONCE = 100, 64
LEVEL = 0.05  # share of false ones among the pairs that are said to beat chance


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
        Information quality ratio: on the samples that chose the thresholds, where they were so chosen.
    null : Tensor or None
        IoU with the masks of other samples: what chance gives. None where it was not counted.
    p_value : Tensor or None
        How likely chance gives at least this agreement (`Chance.p_values`), of each pair by itself.
    """

    iou: Tensor
    accuracy: Tensor
    threshold: Tensor
    quality: Tensor | None = None
    null: Tensor | None = None
    p_value: Tensor | None = None

    @property
    def above_null(self) -> Tensor:
        """IoU less what chance gives; the IoU itself where that was not counted."""
        return self.iou if self.null is None else self.iou - self.null

    @property
    def best(self) -> Tensor:
        """The concept of highest IoU above chance of each unit, (u,)."""
        return self.above_null.argmax(1)


def detects(
    iou: NDArray[np.float64],
    accuracy: NDArray[np.float64],
    quality: NDArray[np.float64] | None = None,
    rule: Literal["paper", "code"] = "code",
    p_adjusted: NDArray[np.float64] | None = None,
) -> NDArray[np.bool_]:
    """Whether units detect their concepts, for arrays of any one shape.

    ``paper``: pixel accuracy above 0.75 and IoU above 0.05 (arXiv 1811.10597). ``code``: IoU above 0.05 and information
    quality above 0.01, as the authors' code has it. Both hold for many units by chance, the first above all: where
    the adjusted p-value against the masks of other samples is given, it has to be at most 0.05 too.

    Raises
    ------
    ValueError
        For another rule, or ``code`` without the quality.
    """
    if rule not in ("paper", "code"):
        raise ValueError(f"rule is {rule!r}; accepted are 'paper' and 'code'.")
    if rule == "code" and quality is None:
        raise ValueError("The rule 'code' needs the information quality of each pair.")
    surer = accuracy > ACCURACY if quality is None or rule == "paper" else quality > QUALITY
    beyond_chance = True if p_adjusted is None else p_adjusted <= LEVEL
    return (iou > IOU) & surer & beyond_chance


def agreement_of(counts: Counts, threshold: Tensor, quality: Tensor | None = None) -> Agreement:
    """Agreement from counts (u, c) at these thresholds (u, c)."""
    threshold, quality = on_cpu(threshold, quality)
    admitted = torch.isfinite(threshold)
    iou, accuracy = (torch.where(admitted, values, 0) for values in (counts.iou, counts.accuracy))
    if counts.chance is None:
        return Agreement(iou, accuracy, threshold, quality)
    null = torch.where(admitted, counts.chance.null_iou(counts.unit, counts.concept), 0)
    p_value = torch.where(admitted, counts.chance.p_values(counts.both), 1)
    return Agreement(iou, accuracy, threshold, quality, null, p_value)


def pair_counts(
    maps: Tensor, masks: Tensor, concept: Tensor, threshold: Tensor, places: Tensor | None = None
) -> NDArray[np.int64]:
    """For one concept a unit, each image on its own: pixels of both, and of either, (n, u, 2).

    Parameters
    ----------
    maps : Tensor (n, u, h, w)
    masks : Tensor (n, c, height, width), bool
    concept : Tensor (u,)
        Index of each unit's concept.
    threshold : Tensor (u,)
        A pixel is the unit's where it is above; nowhere for NaN.
    places : Tensor of int, optional
        Look at these pixels of each image alone; at all where None.
    """
    maps, masks, concept, threshold, places = on_cpu(maps, masks, concept, threshold, places)
    side = (int(masks.shape[2]), int(masks.shape[3]))
    limits = round_down(torch.nan_to_num(threshold.double(), nan=torch.inf))
    reach = maps.flatten(2).amax(2) > limits
    flat = pixels_at(masks, places)
    both = torch.zeros(maps.shape[:2], dtype=torch.int64)
    either = flat.sum(2)[:, concept]  # the concept's own pixels; what the unit adds follows
    for image, mask in enumerate(flat):
        for units in reach[image].nonzero()[:, 0].split(units_at_once(flat.shape[2])):
            on = exceeding(upsample(maps[image, units], side, places), limits[units, None])
            # With all concepts, of which one a unit is wanted: the product takes less than picking the masks apart.
            found = pixels_of_both(on, mask)
            both[image, units] = found.gather(1, concept[units, None])[:, 0]
            either[image, units] += found[:, -1] - both[image, units]
    return torch.stack([both, either], 2).numpy()


def bootstrap_interval(
    pairs: NDArray[np.integer], *, n_resamples: int = 1000, level: float = 0.95, seed: int = 0
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
    n, n_units = pairs.shape[:2]
    rng = np.random.default_rng(seed)
    both, either = sums = np.empty((2, n_resamples, n_units))
    # A few resamples and units at a time: with 10,000 images all of them take hundreds of megabytes.
    for first in range(0, n_resamples, _RESAMPLES_AT_ONCE):
        size = min(_RESAMPLES_AT_ONCE, n_resamples - first)
        weights = rng.multinomial(n, np.full(n, 1 / n), size=size).astype(np.float64)
        for unit in range(0, n_units, _UNITS_AT_ONCE):
            units = slice(unit, unit + _UNITS_AT_ONCE)
            for which in (0, 1):
                sums[which, first : first + size, units] = weights @ pairs[:, units, which].astype(np.float64)
    values = np.divide(both, either, out=np.zeros_like(both), where=either > 0)
    tails = [(1 - level) / 2, (1 + level) / 2]
    return np.asarray(np.quantile(values, tails, axis=0).T)
