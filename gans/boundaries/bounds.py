"""How far an exploration may go: where the prior has its mass, a box, and how far a region reaches along a line."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from scipy.stats import chi
from torch import Tensor

__all__ = ["Bounds", "Box", "NormShell", "chord", "prior_shell", "random_directions"]


class Bounds(Protocol):
    """A set of flat latents (n, d): `NormShell` or `Box`."""

    def contains(self, latents: Tensor) -> Tensor:
        """Whether each is inside: bool (n,)."""

    def bracket(self, latents: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Return ends ``low <= 0 <= high``, (n,), round the part of ``latent + t * direction`` that is inside."""

    def sample(self, n: int, n_dimensions: int, draw: torch.Generator) -> Tensor:
        """Targets to explore towards, (n, d) float32 on the CPU."""

    def reaching(self, latents: Tensor) -> Bounds:
        """Return these bounds, extended just far enough to hold these latents."""


@dataclass(frozen=True)
class NormShell:
    """Latents whose norm is in [inner, outer]: where N(0, 1) has its mass in many dimensions."""

    inner: float
    outer: float

    def __post_init__(self) -> None:
        if not 0 <= self.inner < self.outer < math.inf:
            raise ValueError(f"The shell is [{self.inner}, {self.outer}]; give norms with 0 <= inner < outer.")

    def contains(self, latents: Tensor) -> Tensor:
        """Whether each norm is in the shell."""
        norms = latents.norm(dim=1)
        return (norms >= self.inner) & (norms <= self.outer)

    def bracket(self, latents: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Where the line enters and leaves the outer ball; `directions` have norm 1."""
        middle = -(latents * directions).sum(1)
        half = (middle.square() + self.outer**2 - latents.square().sum(1)).clamp(min=0).sqrt()
        return (middle - half).clamp(max=0), (middle + half).clamp(min=0)

    def sample(self, n: int, n_dimensions: int, draw: torch.Generator) -> Tensor:
        """Draws from the prior N(0, 1)."""
        return torch.randn(n, n_dimensions, generator=draw)

    def reaching(self, latents: Tensor) -> NormShell:
        """Return a shell just large enough to hold these norms too."""
        norms = latents.flatten(1).norm(dim=1)
        slack = 1 + 1e-5  # a norm on the very edge shall not leave by rounding
        return replace(
            self, inner=min(self.inner, float(norms.min()) / slack), outer=max(self.outer, float(norms.max()) * slack)
        )


@dataclass(frozen=True)
class Box:
    """Latents with every coordinate in [low, high], numbers or tensors (d,): for latents without a normal prior."""

    low: float | Tensor
    high: float | Tensor

    def __post_init__(self) -> None:
        if not (torch.as_tensor(self.low) < torch.as_tensor(self.high)).all():
            raise ValueError("The box is empty: give low < high in every coordinate.")

    def contains(self, latents: Tensor) -> Tensor:
        """Whether each is in the box."""
        low, high = self._ends(latents)
        return ((latents >= low) & (latents <= high)).all(1)

    def bracket(self, latents: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Where the line enters and leaves the box."""
        low, high = self._ends(latents)
        moving = directions != 0
        safe = torch.where(moving, directions, torch.ones_like(directions))
        one, other = (low - latents) / safe, (high - latents) / safe
        infinite = torch.full_like(one, math.inf)
        entry = torch.where(moving, torch.minimum(one, other), -infinite).amax(1)
        leave = torch.where(moving, torch.maximum(one, other), infinite).amin(1)
        return entry.clamp(max=0), leave.clamp(min=0)

    def sample(self, n: int, n_dimensions: int, draw: torch.Generator) -> Tensor:
        """Uniform draws from the box."""
        uniform = torch.rand(n, n_dimensions, generator=draw)
        low, high = (end.cpu() for end in self._ends(uniform))
        return low + uniform * (high - low)

    def reaching(self, latents: Tensor) -> Box:
        """Return a box just large enough to hold these latents too."""
        flat = latents.flatten(1)
        low, high = self._ends(flat)
        return Box(torch.minimum(low, flat.amin(0)), torch.maximum(high, flat.amax(0)))

    def _ends(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        return torch.as_tensor(self.low).to(latents), torch.as_tensor(self.high).to(latents)


def prior_shell(latent_shape: tuple[int, ...], coverage: float = 0.999) -> NormShell:
    """Return the shell that holds this share of N(0, 1); half of the rest lies nearer to 0, half further away."""
    if not 0 < coverage < 1:
        raise ValueError(f"coverage is {coverage}; give a share in (0, 1), e.g. 0.999.")
    inner, outer = chi.ppf([(1 - coverage) / 2, (1 + coverage) / 2], df=int(np.prod(latent_shape)))
    return NormShell(float(inner), float(outer))


def chord(
    inside: Callable[[Tensor], Tensor], latents: Tensor, directions: Tensor, low: Tensor, high: Tensor, n_halvings: int
) -> tuple[Tensor, Tensor]:
    """Ends, (n,), of the part of each line that is inside round ``t = 0``, by bisection between `low` and `high`.

    Both ends returned are inside and at most ``(end of the bracket) / 2**n_halvings`` from a point that is not. In a
    region that is not convex an end may lie behind a gap.

    Parameters
    ----------
    inside : callable
        Flat latents (n, d) to bool (n,).
    latents, directions : Tensor
        (n, d); the latents are inside, the directions have norm 1.
    low, high : Tensor
        (n,), ``low <= 0 <= high``: where to search.
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
    """Uniform directions of norm 1, shaped as `like` (n, d) and on its device."""
    directions = torch.randn(like.shape, generator=draw).to(like)
    return directions / directions.norm(dim=1, keepdim=True)
