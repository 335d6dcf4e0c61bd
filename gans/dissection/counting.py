"""Count, over images, the pixels that units and concepts have alone and together.

Pooled intersection over union needs nothing else. Two ways, both of the same definition, that a unit has a pixel where
its map, upsampled bilinearly to the image, is above the unit's threshold:

- `count_at`: one threshold a unit. Upsampled values never exceed the map's largest, so a map below the threshold has an
  empty mask and is skipped: with a threshold at the top 0.5 % most are. The counts are those of upsampling everything.
- `count_at_levels`: many thresholds a unit at once, from which the best for each concept is chosen.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gans.dissection.upsampling import upsample

__all__ = ["Counts", "count_at", "count_at_levels"]


@dataclass(frozen=True)
class Counts:
    """Numbers of pixels, int64.

    Attributes
    ----------
    pixels : int
        All that were looked at.
    unit : Tensor ``[..., U, 1 or C]``
        Of each unit; ``C`` where its threshold differs between concepts.
    concept : Tensor ``[C]``
        Of each concept.
    both : Tensor ``[..., U, C]``
        Of unit and concept together.
    """

    pixels: int
    unit: Tensor
    concept: Tensor
    both: Tensor

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.pixels + other.pixels,
            self.unit + other.unit,
            self.concept + other.concept,
            self.both + other.both,
        )

    @property
    def iou(self) -> Tensor:
        """Intersection over union, pooled: pixels of both over pixels of either, float64; 0 where neither has any."""
        either = self.unit + self.concept - self.both
        return self.both.double() / either.clamp(min=1)

    @property
    def accuracy(self) -> Tensor:
        """Share of the pixels that unit and concept both have or both lack, float64."""
        only_one = self.unit + self.concept - 2 * self.both
        return 1 - only_one.double() / self.pixels

    def at_level(self, level: Tensor) -> Counts:
        """Of counts at levels, those at one level for each unit and concept, ``[U, C]``; any where it is -1."""
        chosen = level.clamp(min=0)
        unit = self.unit[..., 0].T.gather(1, chosen)
        return Counts(self.pixels, unit, self.concept, self.both.gather(0, chosen[None])[0])


def count_at(maps: Tensor, masks: Tensor, thresholds: Tensor) -> Counts:
    """Counts at one threshold a unit; the leading dimensions are absent.

    Parameters
    ----------
    maps : Tensor ``[n, U, h, w]``
    masks : Tensor ``[n, C, height, width]``, bool
    thresholds : Tensor ``[U]``
        A pixel is the unit's where it is above.
    """
    side, limits = _side(masks), floored(thresholds)
    reach = maps.flatten(2).amax(2) > limits
    flat = masks.flatten(2)
    unit = torch.zeros(maps.shape[1], dtype=torch.int64)
    both = torch.zeros(maps.shape[1], masks.shape[1], dtype=torch.int64)
    for image, reached in enumerate(reach):
        units = reached.nonzero()[:, 0]
        on = upsample(maps[image, units], side) > limits[units, None]
        unit[units] += on.sum(1)
        # Sums of ones up to 2^24 are exact in float32, whose product is the quickest.
        both[units] += (on.float() @ flat[image].float().T).long()
    return Counts(flat.shape[0] * flat.shape[2], unit[:, None], flat.sum((0, 2)), both)


def count_at_levels(maps: Tensor, masks: Tensor, levels: Tensor, places: Tensor | None = None) -> Counts:
    """Counts at every level of each unit; the leading dimension is the level.

    Parameters
    ----------
    maps : Tensor ``[n, U, h, w]``
    masks : Tensor ``[n, C, height, width]``, bool
    levels : Tensor ``[U, K]``
        Thresholds, rising.
    places : Tensor of int, optional
        Look at these pixels of each image alone (indices into the flattened image).
    """
    n, n_units = maps.shape[:2]
    limits = floored(levels)
    flat = masks.flatten(2) if places is None else masks.flatten(2)[:, :, places]
    n_bins = levels.shape[1] + 1
    values = upsample(maps.flatten(0, 1), _side(masks), places).unflatten(0, (n, n_units))
    values = values.transpose(0, 1).flatten(1).contiguous()  # [U, n * pixels]
    exceeded = torch.searchsorted(limits, values, out_int32=True)  # how many levels each value is above
    whole = torch.ones(1, values.shape[1], dtype=torch.bool)
    histograms = torch.zeros(n_units, masks.shape[1] + 1, n_bins, dtype=torch.int64)
    offsets = torch.arange(n_units, dtype=torch.int32)[:, None] * n_bins
    exceeded += offsets
    for column, mask in enumerate(torch.cat([whole, flat.transpose(0, 1).flatten(1)])):
        chosen = exceeded[:, mask.nonzero()[:, 0]] if column else exceeded
        histograms[:, column] = chosen.flatten().bincount(minlength=n_units * n_bins).view(n_units, n_bins)
    # Above level k are the values that exceed more than k levels.
    above = histograms.flip(2).cumsum(2).flip(2)[:, :, 1:].permute(2, 0, 1)
    return Counts(values.shape[1], above[..., :1], flat.sum((0, 2)), above[..., 1:])


def floored(thresholds: Tensor) -> Tensor:
    """The largest float32 not above each threshold: the same float32 values exceed it."""
    single = thresholds.float()
    lower = torch.nextafter(single, torch.full_like(single, -torch.inf))
    return torch.where(single.double() > thresholds.double(), lower, single)


def _side(masks: Tensor) -> tuple[int, int]:
    return int(masks.shape[2]), int(masks.shape[3])
