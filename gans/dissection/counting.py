"""Count, over images, the pixels that units and concepts have alone and together.

Pooled intersection over union needs nothing else. Three ways, all of the same definition, that a unit has a pixel where
its map, upsampled bilinearly to the image, is above the unit's threshold:

- `count_at`: one threshold a unit. Upsampled values never exceed the map's largest, so a map below the threshold has an
  empty mask and is skipped: with a threshold at the top 0.5 % most are. The counts are those of upsampling everything.
- `count_at_levels`: many thresholds a unit at once, from which the best for each concept is chosen.
- `count_at_pairs`: one threshold for each unit and concept, such as those that were chosen.

The first and the last count beside the masks of other samples too, where they are given: `Chance`. All of them count
on the CPU, wherever their tensors lie: which units are looked at depends on the values, image by image.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from genmend.gans.dissection.chance import Chance, Tally

__all__ = [
    "Counts",
    "count_at",
    "count_at_levels",
    "count_at_pairs",
    "exceeding",
    "on_cpu",
    "pixels_at",
    "pixels_of_both",
    "round_down",
    "units_at_once",
    "upsample",
]

MOST_UPSAMPLED = 1 << 24  # values of enlarged maps held at once
# Up to this many cells one product with the whole matrix is the quickest; larger maps go by rows, then by columns.
FEW_CELLS = 64
FEW_PLACES = 4  # fewer places than one in so many pixels are computed one by one


@dataclass(frozen=True)
class Counts:
    """Numbers of pixels, int64.

    Attributes
    ----------
    pixels : int
        All that were looked at.
    unit : Tensor (..., n_units, 1 or n_concepts)
        Of each unit; `n_concepts` columns where its threshold differs between concepts.
    concept : Tensor (n_concepts,)
        Of each concept.
    both : Tensor (..., n_units, n_concepts)
        Of unit and concept together.
    chance : Chance or None
        The same beside the masks of other samples, where these were given.
    """

    pixels: int
    unit: Tensor
    concept: Tensor
    both: Tensor
    chance: Chance | None = None

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.pixels + other.pixels,
            self.unit + other.unit,
            self.concept + other.concept,
            self.both + other.both,
            self.chance + other.chance if self.chance and other.chance else None,
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


def count_at(
    maps: Tensor, masks: Tensor, thresholds: Tensor, places: Tensor | None = None, others: Tensor | None = None
) -> Counts:
    """Counts at one threshold a unit; the leading dimensions are absent.

    Parameters
    ----------
    maps : Tensor (n, u, h, w)
    masks : Tensor (n, c, height, width), bool
    thresholds : Tensor (u,)
        A pixel is the unit's where it is above.
    places : Tensor of int, optional
        Look at these pixels of each image alone (indices into the flattened image).
    others : Tensor (n_shuffles, n, c, p), bool, optional
        Masks of other samples at these places, for `Chance`.
    """
    maps, masks, thresholds, places, others = on_cpu(maps, masks, thresholds, places, others)
    side, limits = _side(masks), round_down(thresholds)
    flat = pixels_at(masks, places)
    reach = maps.flatten(2).amax(2) > limits
    n_concepts = masks.shape[1]
    found = torch.zeros(maps.shape[1], n_concepts + 1, dtype=torch.int64)
    tally = Tally(maps.shape[1], n_concepts, others)
    for image, reached in enumerate(reach):
        for units in reached.nonzero()[:, 0].split(units_at_once(flat.shape[2])):
            on = exceeding(upsample(maps[image, units], side, places), limits[units, None])
            shared = pixels_of_both(on, flat[image])
            found[units] += shared
            tally.add(units, on, shared[:, :-1], image)
    return Counts(flat.shape[0] * flat.shape[2], found[:, -1:], flat.sum((0, 2)), found[:, :-1], tally.chance())


def count_at_pairs(
    maps: Tensor, masks: Tensor, thresholds: Tensor, places: Tensor | None = None, others: Tensor | None = None
) -> Counts:
    """Counts at one threshold for each unit and concept; the leading dimensions are absent.

    Parameters
    ----------
    maps : Tensor (n, u, h, w)
    masks : Tensor (n, c, height, width), bool
    thresholds : Tensor (u, c)
        A pixel is the unit's, beside this concept, where it is above; nowhere for NaN.
    places, others : Tensor, optional
        As in `count_at`.
    """
    maps, masks, thresholds, places, others = on_cpu(maps, masks, thresholds, places, others)
    side, limits = _side(masks), round_down(torch.nan_to_num(thresholds.double(), nan=torch.inf))
    flat = pixels_at(masks, places)
    unit, both = torch.zeros(2, *thresholds.shape, dtype=torch.int64)
    concepts = limits.isfinite().any(0).nonzero()[:, 0].tolist()
    tally = Tally(len(thresholds), thresholds.shape[1], others)
    for number, image in enumerate(maps):  # one at a time: they stay in the processor's cache
        mask = flat[number].float()
        for units in torch.arange(len(image)).split(units_at_once(flat.shape[2])):
            values = upsample(image[units], side, places)
            for concept in concepts:
                on = exceeding(values, limits[units, concept, None])
                unit[units, concept] += on.sum(1).long()
                shared = (on @ mask[concept]).long()
                both[units, concept] += shared
                tally.add(units, on, shared[:, None], number, concept)
    return Counts(flat.shape[0] * flat.shape[2], unit, flat.sum((0, 2)), both, tally.chance())


def count_at_levels(maps: Tensor, masks: Tensor, levels: Tensor, places: Tensor | None = None) -> Counts:
    """Counts at every level of each unit; the leading dimension is the level.

    Parameters
    ----------
    maps : Tensor (n, u, h, w)
    masks : Tensor (n, c, height, width), bool
    levels : Tensor (u, k)
        Thresholds, rising.
    places : Tensor of int, optional
        As in `count_at`.
    """
    maps, masks, levels, places = on_cpu(maps, masks, levels, places)
    n, n_units = maps.shape[:2]
    limits = round_down(levels)
    flat = pixels_at(masks, places)
    n_bins = levels.shape[1] + 1
    values = upsample(maps.flatten(0, 1), _side(masks), places).unflatten(0, (n, n_units))
    values = values.transpose(0, 1).flatten(1).contiguous()  # (n_units, n * n_pixels)
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


def on_cpu(*tensors: Any) -> Any:
    """These tensors on the CPU; None stays."""
    return tuple(tensor if tensor is None else tensor.cpu() for tensor in tensors)


def exceeding(values: Tensor, limits: Tensor) -> Tensor:
    """1 where a value is above its limit, else 0, as float32: torch compares into floats six times as fast."""
    return torch.gt(values, limits, out=torch.empty_like(values))


def pixels_of_both(on: Tensor, masks: Tensor) -> Tensor:
    """Numbers of pixels, int64 (k, c + 1), that maps (k, p) of ones share with masks (c, p); last, all.

    Sums of ones up to 2^24 are exact in float32, whose product is the quickest.
    """
    columns = torch.cat([masks, masks.new_ones(1, masks.shape[1])]).float()
    return (on @ columns.T).long()


def round_down(thresholds: Tensor) -> Tensor:
    """The largest float32 not above each threshold: the same float32 values exceed it."""
    single = thresholds.float()
    lower = torch.nextafter(single, torch.full_like(single, -torch.inf))
    return torch.where(single.double() > thresholds.double(), lower, single)


def pixels_at(masks: Tensor, places: Tensor | None) -> Tensor:
    """Masks (n, c, p) at these pixels, or at all."""
    flat = masks.flatten(2)
    return flat if places is None else flat[:, :, places]


def units_at_once(n_pixels: int) -> int:
    """How many units of an image are enlarged at a time."""
    return max(1, MOST_UPSAMPLED // n_pixels)


def _side(masks: Tensor) -> tuple[int, int]:
    return int(masks.shape[2]), int(masks.shape[3])


def upsample(maps: Tensor, side: tuple[int, int], places: Tensor | None = None) -> Tensor:
    """Maps (k, h, w) at `side` (height, width), flattened: (k, height * width), or only the `places` of it.

    Bilinear, ``align_corners=False``: pixel centres correspond. The official code's grid was made for aligned corners
    and used without, which shifts every mask.
    """
    _, height, width = maps.shape
    if height * width <= FEW_CELLS:
        weights = _whole(height, width, *side)
        return maps.flatten(1) @ (weights if places is None else weights[:, places])
    down, across = (_weights(before, after) for before, after in zip((height, width), side, strict=True))
    if places is not None and FEW_PLACES * len(places) < side[0] * side[1]:
        return _at_places(maps, side, places)
    enlarged = (down.T @ (maps @ across)).flatten(1)
    return enlarged if places is None else enlarged[:, places]


def _at_places(maps: Tensor, side: tuple[int, int], places: Tensor) -> Tensor:
    """The same at few places (k, p), from the four cells round each, without the rest of a large picture."""
    nearest, share = [], []
    for places_along, before, after in zip((places // side[1], places % side[1]), maps.shape[1:], side, strict=True):
        centre = ((places_along.double() + 0.5) * before / after - 0.5).clamp(0, before - 1)
        lower = centre.floor().long()
        nearest.append((lower, (lower + 1).clamp(max=before - 1)))
        share.append(((1 - (centre - lower)).float(), (centre - lower).float()))
    flat = maps.flatten(1)
    values = torch.zeros(len(maps), len(places))
    for row, height in zip(nearest[0], share[0], strict=True):
        for column, width in zip(nearest[1], share[1], strict=True):
            values += flat[:, row * maps.shape[2] + column] * (height * width)
    return values


@cache
def _weights(before: int, after: int) -> Tensor:
    """(before, after): how much each cell counts at each place; columns add up to 1."""
    cells = torch.eye(before, dtype=torch.float64)[:, None]
    found = functional.interpolate(cells, size=after, mode="linear", align_corners=False)
    return found[:, 0].float()


@cache
def _whole(height: int, width: int, tall: int, wide: int) -> Tensor:
    """(height * width, tall * wide): the same for both directions at once."""
    return torch.kron(_weights(height, tall), _weights(width, wide))
