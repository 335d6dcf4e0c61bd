"""Trivial changes of pictures, which make nothing new; and breakages, which make nothing that is a garment.

A change has one strength for each picture (n, c, h, w) in 0..1. The network of the novelty space is trained to see no
difference between a picture and such a change of it; those of `TRIVIAL` stand beside every method as controls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

Rng = np.random.Generator


def brighten(pictures: Tensor, by: Tensor) -> Tensor:
    return (pictures + _each(by)).clamp(0, 1)


def change_contrast(pictures: Tensor, factor: Tensor) -> Tensor:
    """About middle grey."""
    return (0.5 + (pictures - 0.5) * _each(factor)).clamp(0, 1)


def bend_gamma(pictures: Tensor, power: Tensor) -> Tensor:
    return pictures.clamp(min=1e-6) ** _each(power)


def blur(pictures: Tensor, sigma: Tensor) -> Tensor:
    """A Gaussian of 7 pixels, one for each picture."""
    n, c, h, w = pictures.shape
    places = torch.arange(-3, 4, dtype=pictures.dtype)
    weights = torch.exp(-0.5 * (places / sigma.clamp(min=1e-3)[:, None]) ** 2)
    weights = (weights / weights.sum(1, keepdim=True)).repeat_interleave(c, dim=0)[:, None]
    flat = nn.functional.pad(pictures.reshape(1, n * c, h, w), (3, 3, 3, 3), mode="replicate")
    across = nn.functional.conv2d(flat, weights[:, :, None], groups=n * c)
    return nn.functional.conv2d(across, weights[..., None], groups=n * c).reshape(n, c, h, w)


def add_noise(pictures: Tensor, deviation: Tensor, rng: Rng) -> Tensor:
    noise = torch.from_numpy(rng.standard_normal(pictures.shape, dtype=np.float32))
    return (pictures + noise * _each(deviation)).clamp(0, 1)


def place(pictures: Tensor, zoom: Tensor, right: Tensor, down: Tensor, degrees: Tensor, mirrored: Tensor) -> Tensor:
    """Enlarge about the middle, move by pixels, turn and mirror; what comes in from outside is the border's."""
    n, _, h, w = pictures.shape
    angle = degrees * (torch.pi / 180)
    turn_x, turn_y = angle.cos() / zoom, angle.sin() / zoom
    side = torch.where(mirrored, -1.0, 1.0)
    rows = [turn_x * side, turn_y, -2 * right / w, -turn_y * side, turn_x, -2 * down / h]
    grid = nn.functional.affine_grid(torch.stack(rows, dim=1).view(n, 2, 3), list(pictures.shape), align_corners=False)
    return nn.functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def change_at_random(pictures: Tensor, rng: Rng) -> Tensor:
    """Each picture with changes and strengths of its own, most of them on two in three pictures."""
    n = len(pictures)

    def some(low: float, high: float, still: float) -> Tensor:
        values = np.where(rng.random(n) < 2 / 3, rng.uniform(low, high, n), still)
        return torch.from_numpy(values.astype(np.float32))

    mirrored = torch.from_numpy(rng.random(n) < 0.5)
    x = place(pictures, some(0.8, 1.15, 1), some(-3, 3, 0), some(-3, 3, 0), some(-8, 8, 0), mirrored)
    x = blur(x, some(0.3, 1.2, 0))
    x = bend_gamma(x, some(0.6, 1.7, 1))
    x = change_contrast(x, some(0.5, 1.4, 1))
    x = brighten(x, some(-0.15, 0.2, 0))
    return add_noise(x, some(0.0, 0.06, 0), rng)


def _zoom(pictures: Tensor, zoom: Tensor) -> Tensor:
    zero = torch.zeros_like(zoom)
    return place(pictures, zoom, zero, zero, zero, zero.bool())


def _shift(pictures: Tensor, by: Tensor) -> Tensor:
    zero = torch.zeros_like(by)
    return place(pictures, 1 + zero, by, by, zero, zero.bool())


def _mirror(pictures: Tensor, _: Tensor) -> Tensor:
    return pictures.flip(3)


def _fixed_noise(pictures: Tensor, deviation: Tensor) -> Tensor:
    return add_noise(pictures, deviation, np.random.default_rng(0))


def _sharpen(pictures: Tensor, amount: Tensor) -> Tensor:
    smooth = blur(pictures, torch.ones(len(pictures)))
    return (pictures + _each(amount) * (pictures - smooth)).clamp(0, 1)


def _posterise(pictures: Tensor, greys: Tensor) -> Tensor:
    steps = _each(greys) - 1
    return (pictures * steps).round() / steps


@dataclass(frozen=True)
class Trivial:
    """A change and its strengths, weak to strong."""

    change: Callable[[Tensor, Tensor], Tensor]
    strengths: tuple[float, ...]

    def __call__(self, pictures: Tensor, strength: float) -> Tensor:
        """Pictures (n, c, h, w) in 0..1, changed."""
        return self.change(pictures, torch.full((len(pictures),), strength))


TRIVIAL: Mapping[str, Trivial] = {
    "brighter by": Trivial(brighten, (0.05, 0.1, 0.15)),
    "contrast less, x": Trivial(change_contrast, (0.85, 0.7, 0.5)),
    "contrast more, x": Trivial(change_contrast, (1.1, 1.2, 1.3)),
    "gamma below 1": Trivial(bend_gamma, (0.85, 0.7, 0.6)),
    "gamma above 1": Trivial(bend_gamma, (1.2, 1.4, 1.6)),
    "blurred, sigma": Trivial(blur, (0.5, 0.7, 1.0)),
    "noise, deviation": Trivial(_fixed_noise, (0.02, 0.04, 0.06)),
    "zoomed out, x": Trivial(_zoom, (0.95, 0.9, 0.85)),
    "zoomed in, x": Trivial(_zoom, (1.05, 1.1, 1.15)),
    "shifted by pixels": Trivial(_shift, (1, 2, 3)),
    "mirrored": Trivial(_mirror, (1,)),
}
# As trivial as those, but the network saw none of them in its training.
UNSEEN: Mapping[str, Trivial] = {
    "sharpened by": Trivial(_sharpen, (0.25, 0.5, 1.0)),
    "greys left": Trivial(_posterise, (32, 16, 8)),
}


def break_garments(pictures: Tensor, rng: Rng) -> Tensor:
    """One way in four for each picture: halves of two, a hole, melted, half of it gone."""
    n, c, h, w = pictures.shape
    rows, columns = torch.arange(h)[:, None], torch.arange(w)
    other = pictures[torch.from_numpy(rng.permutation(n))]
    across = torch.from_numpy(rng.random(n) < 0.5)[:, None, None, None]
    halves = torch.where(torch.where(across, rows < h // 2, columns < w // 2), pictures, other)
    top, left = (torch.from_numpy(rng.integers(h // 4, h // 2, n))[:, None, None] for _ in range(2))
    side = torch.from_numpy(rng.integers(5, 10, n))[:, None, None]
    hole = (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
    holed = pictures * ~hole[:, None]
    phase, height, length = (
        torch.from_numpy(rng.uniform(*limits, n).astype(np.float32))[:, None] for limits in ((0, 6.3), (2, 4), (1.5, 4))
    )
    moved = (height * (torch.arange(h) / length + phase).sin()).round().long()
    melted = pictures.gather(3, ((columns + moved[..., None]) % w)[:, None].expand(n, c, h, w))
    angle = torch.from_numpy(rng.uniform(0, 6.3, n).astype(np.float32))[:, None, None]
    slope = (rows / h - 0.5) * angle.sin() + (columns / w - 0.5) * angle.cos()
    faded = pictures * torch.sigmoid(20 * slope)[:, None]
    ways = torch.stack([halves, holed, melted, faded])
    return ways[torch.from_numpy(rng.integers(len(ways), size=n)), torch.arange(n)]


def _each(values: Tensor) -> Tensor:
    return values[:, None, None, None]
