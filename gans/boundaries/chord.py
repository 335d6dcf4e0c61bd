"""How far a region reaches from a point along a line."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["chord", "random_directions"]


def chord(
    inside: Callable[[Tensor], Tensor], latents: Tensor, directions: Tensor, low: Tensor, high: Tensor, n_halvings: int
) -> tuple[Tensor, Tensor]:
    """Ends, ``[n]``, of the part of each line that is inside round ``t = 0``, by bisection between `low` and `high`.

    Both ends returned are inside and at most ``(end of the bracket) / 2**n_halvings`` from a point that is not. In a
    region that is not convex an end may lie behind a gap.

    Parameters
    ----------
    inside : callable
        Flat latents ``[n, d]`` to bool ``[n]``.
    latents, directions : Tensor
        ``[n, d]``; the latents are inside, the directions have norm 1.
    low, high : Tensor
        ``[n]``, ``low <= 0 <= high``: where to search.
    n_halvings : int
    """
    outer = torch.cat([low, high])
    points, ways = latents.repeat(2, 1), directions.repeat(2, 1)
    reached = torch.where(inside(points + outer[:, None] * ways), outer, torch.zeros_like(outer))
    for _ in range(n_halvings):
        middle = (reached + outer) / 2
        ok = inside(points + middle[:, None] * ways)
        reached, outer = torch.where(ok, middle, reached), torch.where(ok, outer, middle)
    backward, forward = reached.split(len(latents))
    return backward, forward


def random_directions(like: Tensor, draw: torch.Generator) -> Tensor:
    """Uniform directions of norm 1, shaped as `like` ``[n, d]`` and on its device."""
    directions = torch.randn(like.shape, generator=draw).to(like)
    return directions / directions.norm(dim=1, keepdim=True)
