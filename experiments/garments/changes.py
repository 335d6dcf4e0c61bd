"""Trivial changes of pictures, which make nothing new; and breakages, which make nothing that is a garment.

A change has one strength for each picture (n, 1, h, w) in 0..1. The network of the novelty space is trained to see no
difference between a picture and such a change of it; `TRIVIAL` are the fixed ones that stand beside every method.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

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


def _fixed(change: Callable[..., Tensor], *strengths: float) -> Callable[[Tensor], Tensor]:
    return lambda pictures: change(pictures, *(torch.full((len(pictures),), value) for value in strengths))


def _placed(
    zoom: float = 1, right: float = 0, down: float = 0, degrees: float = 0, mirrored: bool = False
) -> Callable[[Tensor], Tensor]:
    def change(pictures: Tensor) -> Tensor:
        n = len(pictures)
        flags = torch.full((n,), mirrored)
        return place(pictures, *(torch.full((n,), float(v)) for v in (zoom, right, down, degrees)), flags)

    return change


def _sharpen(pictures: Tensor) -> Tensor:
    return (2 * pictures - blur(pictures, torch.ones(len(pictures)))).clamp(0, 1)


def _posterise(pictures: Tensor) -> Tensor:
    return (pictures * 7).round() / 7


TRIVIAL: Mapping[str, Callable[[Tensor], Tensor]] = {
    "brightness + 0.1": _fixed(brighten, 0.1),
    "contrast x 0.7": _fixed(change_contrast, 0.7),
    "contrast x 0.5": _fixed(change_contrast, 0.5),
    "contrast x 1.3": _fixed(change_contrast, 1.3),
    "gamma 0.7": _fixed(bend_gamma, 0.7),
    "gamma 1.4": _fixed(bend_gamma, 1.4),
    "blur, sigma 0.7": _fixed(blur, 0.7),
    "noise, deviation 0.04": lambda pictures: add_noise(
        pictures, torch.full((len(pictures),), 0.04), np.random.default_rng(0)
    ),
    "zoom 0.85": _placed(zoom=0.85),
    "zoom 1.1": _placed(zoom=1.1),
    "shifted by two pixels": _placed(right=2, down=2),
    "mirrored": _placed(mirrored=True),
}
# Changes as trivial as those, of which the network saw none in its training.
UNSEEN: Mapping[str, Callable[[Tensor], Tensor]] = {"sharpened": _sharpen, "eight greys": _posterise}


def break_garments(pictures: Tensor, rng: Rng) -> Tensor:
    """One way in four for each picture: halves of two, a hole, melted, half of it gone."""
    n, _, h, w = pictures.shape
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
    melted = pictures.gather(3, ((columns + moved[..., None]) % w)[:, None])
    angle = torch.from_numpy(rng.uniform(0, 6.3, n).astype(np.float32))[:, None, None]
    slope = (rows / h - 0.5) * angle.sin() + (columns / w - 0.5) * angle.cos()
    faded = pictures * torch.sigmoid(20 * slope)[:, None]
    ways = torch.stack([halves, holed, melted, faded])
    return ways[torch.from_numpy(rng.integers(len(ways), size=n)), torch.arange(n)]


def _each(values: Tensor) -> Tensor:
    return values[:, None, None, None]
