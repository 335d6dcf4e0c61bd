"""Concepts computed from the image alone, by fixed rules: colour, brightness, edges, texture, position. No weights.

Every concept is a list of conditions on a pixel, each with a margin: how far the pixel is on the right side of it. A
pixel has the concept where the smallest margin is above zero. The limits are round numbers, fitted to nothing.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["ClassicalConcepts"]

# Names with the hue at their middle and half their width, in degrees.
HUES = {
    "red": (0, 15), "orange": (30, 15), "yellow": (60, 15), "green": (120, 45),
    "cyan": (180, 15), "blue": (225, 30), "purple": (285, 30), "pink": (330, 15),
}  # fmt: skip
DARK, PALE, LIGHT = 0.2, 0.15, 0.8  # value below which all is black; saturation below which all is grey; white above
LEVELS = ("very dark", "dark", "medium bright", "bright", "very bright")
EDGE, STEEPER = 0.1, 2.0
WINDOW, SMOOTH, TEXTURED = 5, 0.02, 0.08
THIRDS = (("top third", "middle third", "bottom third"), ("left third", "centre third", "right third"))
SOFTNESS = 0.02


class ClassicalConcepts:
    """27 concepts of images (n, 3, h, w) in 0..1.

    - *Colours*: ``black`` has an HSV value below 0.2; of the rest, ``grey`` and ``white`` have a saturation below 0.15
      (white with a value above 0.8), and eight hues share what is left: red within 15 degrees of 0, orange of 30,
      yellow of 60, green within 45 of 120, cyan within 15 of 180, blue within 30 of 225, purple within 30 of 285, pink
      within 15 of 330. Hue is the angle in the plane across the grey axis.
    - *Brightness*: luma (Rec. 709 weights on the values as they are) in five steps of 0.2.
    - *Edges*: the length of luma's Sobel gradient, a step from black to white counting 1, is above 0.1; ``horizontal
      edge`` and ``vertical edge`` have one component more than twice the other.
    - *Texture*: the standard deviation of luma over 5 x 5 pixels is below 0.02 (``smooth``) or above 0.08
      (``textured``).
    - *Position*: thirds of height and of width. These say nothing of the content.

    A value exactly on a limit belongs to neither side. Images are continued by their border pixels.
    """

    names = ("black", "grey", "white", *HUES, *LEVELS, "edge", "horizontal edge", "vertical edge", "smooth", "textured",
             *THIRDS[0], *THIRDS[1])  # fmt: skip
    digest = "1"  # changes with the rules: masks are kept under it

    def __call__(self, images: Tensor) -> Tensor:
        """Masks (n, 27, h, w), bool."""
        return self.margins(images) > 0

    def soft(self, images: Tensor) -> Tensor:
        """Sigmoid of the margins / 0.02, (n, 27, h, w): 0.5 at the limits, with a gradient to the images."""
        return (self.margins(images) / SOFTNESS).sigmoid()

    def margins(self, images: Tensor) -> Tensor:
        """The smallest margin of each concept's conditions, (n, 27, h, w); above 0 inside.

        In units of the image's values; turns for hues, shares of the side for positions.
        """
        luma = (images * images.new_tensor([0.2126, 0.7152, 0.0722]).view(1, 3, 1, 1)).sum(1)
        return torch.stack(_colours(images) + _levels(luma) + _edges(luma) + _textures(luma) + _thirds(luma), 1)


def _all(*margins: Tensor) -> Tensor:
    return torch.stack(torch.broadcast_tensors(*margins)).amin(0)


def _colours(images: Tensor) -> list[Tensor]:
    red, green, blue = images.unbind(1)
    value, lowest = images.amax(1), images.amin(1)
    saturation = (value - lowest) / value.clamp(min=1e-6)
    across, along = math.sqrt(0.75) * (green - blue), red - (green + blue) / 2
    grey = value == lowest  # where an angle has no gradient
    turn = torch.atan2(torch.where(grey, 0, across), torch.where(grey, 1, along)) / (2 * math.pi)
    lit, pale = value - DARK, PALE - saturation
    hues = [
        _all(lit, -pale, width / 360 - ((turn - middle / 360 + 0.5) % 1 - 0.5).abs()) for middle, width in HUES.values()
    ]
    return [-lit, _all(lit, pale, LIGHT - value), _all(pale, value - LIGHT), *hues]


def _levels(luma: Tensor) -> list[Tensor]:
    steps = [step / len(LEVELS) for step in range(len(LEVELS) + 1)]
    # The outer two are open, or 0 and 1 themselves would belong to none.
    steps[0], steps[-1] = -1, 2
    return [_all(luma - low, high - luma) for low, high in pairwise(steps)]


def _edges(luma: Tensor) -> list[Tensor]:
    smooth, slope = luma.new_tensor([1, 2, 1]), luma.new_tensor([-1, 0, 1])
    kernels = torch.stack([torch.outer(smooth, slope), torch.outer(slope, smooth)])[:, None] / 4
    padded = functional.pad(luma[:, None], (1, 1, 1, 1), mode="replicate")
    across, down = functional.conv2d(padded, kernels).unbind(1)
    # The tiny number gives the root a gradient where there is no edge at all.
    strong = (across.square() + down.square() + 1e-12).sqrt() - EDGE
    across, down = across.abs(), down.abs()
    return [strong, _all(strong, down - STEEPER * across), _all(strong, across - STEEPER * down)]


def _textures(luma: Tensor) -> list[Tensor]:
    half = WINDOW // 2
    # Less the picture's mean, which leaves a variance as it is, so that little is lost in the difference below.
    centred = luma - luma.mean((1, 2), keepdim=True)
    padded = functional.pad(centred[:, None], (half, half, half, half), mode="replicate")
    mean, square = (functional.avg_pool2d(x, WINDOW, 1)[:, 0] for x in (padded, padded.square()))
    spread = ((square - mean.square()).clamp(min=0) + 1e-12).sqrt()
    return [SMOOTH - spread, spread - TEXTURED]


def _thirds(luma: Tensor) -> list[Tensor]:
    found = []
    for axis in (1, 2):
        side = luma.shape[axis]
        place = (torch.arange(side, device=luma.device, dtype=luma.dtype) + 0.5) / side
        place = place.view(-1, 1) if axis == 1 else place
        first, last = 1 / 3 - place, place - 2 / 3
        found += [margin.expand_as(luma) for margin in (first, _all(-first, -last), last)]
    return found
