"""Ways to break a garment, for training networks that see it: none of them is one of `changes.break_garments`.

Two groups, so that the network that a choice is made by and the one that judges it have learnt from different ones.
What both are tested on (halves of two, a hole, melted, half of it gone) neither has seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

Rng = np.random.Generator
Breakage = Callable[[Tensor, Rng], Tensor]


def break_by(kinds: Mapping[str, Breakage], pictures: Tensor, rng: Rng) -> Tensor:
    """Each picture (n, c, h, w) in 0..1 broken in one of the ways, at random."""
    ways = torch.stack([kind(pictures, rng) for kind in kinds.values()])
    n = len(pictures)
    return ways[torch.from_numpy(rng.integers(len(ways), size=n)), torch.arange(n)]


def swap_tiles(pictures: Tensor, rng: Rng) -> Tensor:
    """Sixteen tiles, each at most a few places from its own."""
    n, c, h, w = pictures.shape
    tiles = pictures.reshape(n, c, 4, h // 4, 4, w // 4).permute(0, 2, 4, 1, 3, 5).reshape(n, 16, -1)
    order = torch.from_numpy((np.arange(16) + rng.uniform(0, 1, (n, 16)) * rng.uniform(2, 7, (n, 1))).argsort(axis=1))
    mixed = tiles.gather(1, order[..., None].expand(-1, -1, tiles.shape[2]))
    return mixed.reshape(n, 4, 4, c, h // 4, w // 4).permute(0, 3, 1, 4, 2, 5).reshape(n, c, h, w)


def blend(pictures: Tensor, rng: Rng) -> Tensor:
    """Two garments seen through each other."""
    share = _uniform(rng, 0.35, 0.65, len(pictures))
    return pictures * share + _others(pictures, rng) * (1 - share)


def warp(pictures: Tensor, rng: Rng) -> Tensor:
    """Moved by smooth noise of 1 to 3 pixels."""
    n, _, h, w = pictures.shape
    noise = torch.cat([_smooth_noise(n, h, 6, rng) for _ in range(2)], dim=1)
    by = noise * _uniform(rng, 1, 3, n) * 2 / h
    grid = nn.functional.affine_grid(torch.eye(2, 3).expand(n, 2, 3), [n, 1, h, w], align_corners=False)
    return nn.functional.grid_sample(pictures, grid + by.permute(0, 2, 3, 1), align_corners=False)


def fade_in_patches(pictures: Tensor, rng: Rng) -> Tensor:
    """Parts of it dimmed, without an edge."""
    return pictures * torch.sigmoid(5 * _smooth_noise(len(pictures), pictures.shape[2], 4, rng))


def shift_bands(pictures: Tensor, rng: Rng) -> Tensor:
    """Bands of 3 to 8 rows, or columns, each moved by up to 7 pixels."""
    n, c, h, w = pictures.shape
    height = rng.integers(3, 9, (n, 1))
    band = (np.arange(h) + rng.integers(0, 8, (n, 1))) // height
    by = np.take_along_axis(rng.integers(-7, 8, (n, h)), band, axis=1)
    columns = torch.from_numpy((np.arange(w) + by[..., None]) % w)
    upright = torch.from_numpy(rng.random(n) < 0.5)[:, None, None, None]
    x = torch.where(upright, pictures.transpose(2, 3), pictures)
    x = x.gather(3, columns[:, None].expand(n, c, h, w))
    return torch.where(upright, x.transpose(2, 3), x)


def eat(pictures: Tensor, rng: Rng) -> Tensor:
    """Pieces of any outline gone."""
    noise = _smooth_noise(len(pictures), pictures.shape[2], 6, rng)
    return pictures * (noise > _uniform(rng, -1.5, -0.3, len(pictures)))


def mingle(pictures: Tensor, rng: Rng) -> Tensor:
    """Two garments, each in pieces of any outline."""
    return torch.where(_smooth_noise(len(pictures), pictures.shape[2], 4, rng) > 0, pictures, _others(pictures, rng))


def double(pictures: Tensor, rng: Rng) -> Tensor:
    """Itself once more, 4 to 8 pixels away."""
    n, c, h, w = pictures.shape
    by = rng.integers(4, 9, (n, 2)) * rng.choice([-1, 1], (n, 2)) * (rng.random((n, 2)) < 0.7)
    by[(by == 0).all(1)] = 6
    rows, columns = (torch.from_numpy((np.arange(side) + by[:, i, None]) % side) for i, side in enumerate((h, w)))
    moved = pictures.gather(2, rows[:, None, :, None].expand(n, c, h, w))
    return torch.maximum(pictures, moved.gather(3, columns[:, None, None].expand(n, c, h, w)))


FOR_THE_GUIDE: Mapping[str, Breakage] = {
    "tiles swapped": swap_tiles, "blended": blend, "warped": warp, "faded in patches": fade_in_patches
}  # fmt: skip
FOR_THE_JUDGE: Mapping[str, Breakage] = {
    "bands shifted": shift_bands, "eaten": eat, "mingled": mingle, "doubled": double
}  # fmt: skip


def _others(pictures: Tensor, rng: Rng) -> Tensor:
    """For each picture another: a near one, which is of its kind in a sorted batch, or any."""
    n = len(pictures)
    near = (np.arange(n) + rng.integers(1, 10, n)) % n
    return pictures[torch.from_numpy(np.where(rng.random(n) < 0.5, near, rng.permutation(n)))]


def _uniform(rng: Rng, low: float, high: float, n: int) -> Tensor:
    return torch.from_numpy(rng.uniform(low, high, (n, 1, 1, 1)).astype(np.float32))


def _smooth_noise(n: int, side: int, cells: int, rng: Rng) -> Tensor:
    """(n, 1, side, side), of deviation about 1."""
    coarse = torch.from_numpy(rng.standard_normal((n, 1, cells, cells), dtype=np.float32))
    return nn.functional.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=False) * 1.3
