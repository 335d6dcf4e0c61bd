"""Walk at random inside a region: a random direction, a random point of the line inside, and again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from genmend.gans.boundaries.bounds import Bounds, prior_shell, random_directions
from genmend.gans.boundaries.convergence import KEPT_STATES, mixing
from genmend.gans.boundaries.exploration import Exploration, verify
from genmend.gans.boundaries.region import GenerativeRegion
from genmend.storage.progress import with_progress

__all__ = ["N_MOVES", "Density", "hit_and_run", "walks"]

Density = Literal["prior", "uniform"]
N_MOVES = 1000
N_SHRINKS = 64  # of the bracket: float32 cannot tell the ends of a shorter one apart


def hit_and_run(
    region: GenerativeRegion,
    n: int = 64,
    *,
    bounds: Bounds | None = None,
    density: Density = "prior",
    n_moves: int = N_MOVES,
    seed: int = 0,
    progress: bool = False,
) -> Exploration:
    """Sample n latents inside a region by as many independent walks from the query; each gives its last latent.

    Every move draws a direction, then points of that line between the ends of the bounds until one is inside; a point
    outside becomes the new end on its side. That leaves the density invariant in any region, convex or not, without
    knowing where the region ends. How long a walk has to be depends on the region: the ``r_hat`` among the
    settings of what it found tells (`convergence`). On the face generator's first layer 20,000 moves are too few; where
    the layer is affine, use `bouncing`.

    Source: Smith, "Efficient Monte Carlo procedures for generating points uniformly distributed over bounded regions",
    1984; shrinking of the bracket: Neal, "Slice sampling", 2003, figure 5. Its use here is ours.

    Parameters
    ----------
    region : GenerativeRegion
    n : int
        Walks.
    bounds : Bounds, optional
        The shell that holds 99.9 % of the prior where None; extended to the query.
    density : "prior" or "uniform"
        What the latents are drawn from, inside the region and the bounds: N(0, 1), or equal everywhere.
    n_moves : int
    seed : int
    progress : bool
    """
    query = latents = region.query.flatten(1)
    states, every = [], -(-n_moves // KEPT_STATES)
    n_tested = n_inside = 0
    path = walks(region, n, bounds=bounds, density=density, n_moves=n_moves, seed=seed, progress=progress)
    for move, (latents, tested, inside) in enumerate(path):
        n_tested, n_inside = n_tested + tested, n_inside + inside
        if move % every == 0:
            states.append(latents)
    settings = {"density": density, "n_moves": n_moves, "seed": seed, **mixing(states, query)}
    return verify("hit-and-run", region, latents, n_tested, n_inside, settings)


def walks(
    region: GenerativeRegion,
    n: int,
    *,
    bounds: Bounds | None = None,
    density: Density = "prior",
    n_moves: int = N_MOVES,
    seed: int = 0,
    progress: bool = False,
) -> Iterator[tuple[Tensor, int, int]]:
    """Yield, after every move, where the walks of `hit_and_run` are, flat (n, d); points tested; walks that moved.

    A longer walk begins with the shorter one of the same seed.
    """
    if n < 1 or n_moves < 1:
        raise ValueError(f"n={n}, n_moves={n_moves}: both have to be at least 1.")
    if density not in ("prior", "uniform"):
        raise ValueError(f"density is {density!r}; give 'prior' or 'uniform'.")
    query = region.query.flatten(1)
    bounds = (bounds or prior_shell(region.generator.latent_shape)).reaching(query)
    draw = torch.Generator().manual_seed(seed)
    latents = query.repeat(n, 1)
    for _ in with_progress(range(n_moves), "hit and run", n_moves, show=progress):
        latents, n_tested, n_inside = _move(region, bounds, latents, density, draw)
        yield latents, n_tested, n_inside


def _move(
    region: GenerativeRegion, bounds: Bounds, latents: Tensor, density: Density, draw: torch.Generator
) -> tuple[Tensor, int, int]:
    """One move of every walk: the new latents (n, d), how many points were tested, and how many were inside."""
    shape = region.query.shape[1:]
    directions = random_directions(latents, draw)
    low, high = bounds.bracket(latents, directions)
    moved = latents.clone()
    waiting = torch.arange(len(latents), device=latents.device)
    n_tested = 0
    for _ in range(N_SHRINKS):
        starts, ways = latents[waiting], directions[waiting]
        along = _between(low[waiting], high[waiting], -(starts * ways).sum(1) if density == "prior" else None, draw)
        points = starts + along[:, None] * ways
        ok = bounds.contains(points)
        n_tested += int(ok.sum())
        ok[ok.clone()] = region.contains(points[ok].reshape(-1, *shape)) if ok.any() else ok[ok.clone()]
        moved[waiting[ok]] = points[ok]
        outside, ends = waiting[~ok], along[~ok]
        low[outside] = torch.where(ends < 0, ends, low[outside])
        high[outside] = torch.where(ends < 0, high[outside], ends)
        waiting = outside
        if not len(waiting):
            break
    return moved, n_tested, len(latents) - len(waiting)


def _between(low: Tensor, high: Tensor, mean: Tensor | None, draw: torch.Generator) -> Tensor:
    """Draws (n,) between the ends: uniform, or from N(mean, 1) cut off at the ends."""
    uniform = torch.rand(len(low), generator=draw, dtype=torch.float64).to(low.device, torch.float64)
    low64, high64 = low.double(), high.double()
    even = low64 + uniform * (high64 - low64)
    if mean is None:
        return even.to(low)
    start, end = low64 - mean, high64 - mean
    # In the left tail probabilities keep their digits; what lies to the right is mirrored there.
    mirrored = start > 0
    left, right = torch.where(mirrored, -end, start), torch.where(mirrored, -start, end)
    below, above = torch.special.ndtr(left), torch.special.ndtr(right)
    point = torch.special.ndtri(below + uniform * (above - below))
    point = torch.where(mirrored, -point, point) + mean
    # So far out, or so short, that probabilities tell nothing: a short piece is as good as even.
    usable = point.isfinite() & (above - below > 1e-290) & ((high64 - low64) > 1e-6)
    point = torch.where(usable, point, even)
    return torch.minimum(torch.maximum(point, low64), high64).to(low)
