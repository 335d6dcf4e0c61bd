"""Move far inside a region at once: along arcs that keep the prior, reflected by the walls.

Source: Pakman, Paninski, "Exact Hamiltonian Monte Carlo for truncated multivariate Gaussians", Journal of Computational
and Graphical Statistics 2014, arXiv 1208.4118, section 2. Its use here, and refusing what ends outside the shell, are
ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from genmend.gans.boundaries.affine_region import AffineRegion, as_affine
from genmend.gans.boundaries.bounds import Bounds, prior_shell
from genmend.gans.boundaries.convergence import KEPT_STATES, mixing
from genmend.gans.boundaries.exploration import Exploration, verify
from genmend.gans.boundaries.region import GenerativeRegion
from genmend.storage.progress import with_progress

__all__ = ["N_BOUNCING_MOVES", "bouncing", "bouncing_walks"]

N_BOUNCING_MOVES = 100
MOST_BOUNCES = 5000  # in one move; a walk that is not done by then stays where it was
DURATION = math.pi / 2  # a quarter turn: without walls, a fresh draw from the prior


def bouncing(
    region: GenerativeRegion,
    n: int = 64,
    *,
    bounds: Bounds | None = None,
    n_moves: int = N_BOUNCING_MOVES,
    seed: int = 0,
    progress: bool = False,
) -> Exploration:
    """Sample n latents from N(0, 1) inside a convex region by as many walks from the query; each gives its last latent.

    A move draws a velocity and follows ``z cos t + v sin t`` for a quarter turn; at a wall the velocity is reflected. A
    move that ends outside the bounds is refused, which leaves the prior inside region and bounds invariant. In 100
    dimensions 100 such moves forget the query where thousands of `hit_and_run` do not (`convergence`).

    Parameters
    ----------
    region : GenerativeRegion
        Of a layer that is affine in the latent.
    n : int
        Walks.
    bounds : Bounds, optional
        The shell that holds 99.9 % of the prior where None; extended to the query.
    n_moves : int
    seed : int
    progress : bool

    Raises
    ------
    ValueError
        If the layer is not affine in the latent, or a count is below 1.
    """
    query = latents = region.query.flatten(1)
    states, every = [], -(-n_moves // KEPT_STATES)
    n_inside = 0
    path = bouncing_walks(region, n, bounds=bounds, n_moves=n_moves, seed=seed, progress=progress)
    for move, (latents, moved) in enumerate(path):
        n_inside += moved
        if move % every == 0:
            states.append(latents)
    settings = {"density": "prior", "n_moves": n_moves, "seed": seed, **mixing(states, query)}
    return verify("bouncing", region, latents.float(), n * n_moves, n_inside, settings)


def bouncing_walks(
    region: GenerativeRegion,
    n: int,
    *,
    bounds: Bounds | None = None,
    n_moves: int = N_BOUNCING_MOVES,
    seed: int = 0,
    progress: bool = False,
) -> Iterator[tuple[Tensor, int]]:
    """Yield, after every move, where the walks of `bouncing` are, flat (n, d) float64, and how many moved."""
    if n < 1 or n_moves < 1:
        raise ValueError(f"n={n}, n_moves={n_moves}: both have to be at least 1.")
    found = as_affine(region)
    if not isinstance(found, AffineRegion):
        raise ValueError(
            f"Layer {region.layer!r} is not affine in the latent, so its walls are bent: explore it by hit-and-run."
        )
    query = found.query.flatten(1).double()
    bounds = (bounds or prior_shell(found.generator.latent_shape)).reaching(query)
    walls, offsets = _unit_walls(found)
    draw = torch.Generator().manual_seed(seed)
    latents = query.repeat(n, 1)
    for _ in with_progress(range(n_moves), "bouncing", n_moves, show=progress):
        velocities = torch.randn(latents.shape, generator=draw, dtype=torch.float64).to(latents)
        ends, done = _followed(latents, velocities, walls, offsets)
        ok = done & bounds.contains(ends) & (ends @ walls.T + offsets >= 0).all(1)
        latents = torch.where(ok[:, None], ends, latents)
        yield latents, int(ok.sum())


def _unit_walls(region: AffineRegion) -> tuple[Tensor, Tensor]:
    """Inside is where ``walls @ z + offsets >= 0``, (m, d) of norm 1 and (m,); the margins are taken off."""
    signs = region.signs.double()
    walls, offsets = region.weight * signs[:, None], region.bias * signs - region.margins.double()
    sizes = walls.norm(dim=1)
    real = sizes > 0  # a member that the latent does not move is no wall
    return walls[real] / sizes[real, None], offsets[real] / sizes[real]


def _followed(latents: Tensor, velocities: Tensor, walls: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Where the walks are after a quarter turn, (n, d), and which got there within the bounces allowed."""
    z, v = latents.clone(), velocities.clone()
    at, towards = z @ walls.T, v @ walls.T  # along every wall's normal
    left = torch.full((len(z),), DURATION, dtype=z.dtype, device=z.device)
    going = torch.arange(len(z), device=z.device)
    for _ in range(MOST_BOUNCES):
        times, hit = _first_hit(at[going], towards[going], offsets)
        bounces = times < left[going]
        times = torch.minimum(times, left[going])
        z[going], v[going] = _turned(z[going], v[going], times)
        at[going], towards[going] = _turned(at[going], towards[going], times)
        left[going] -= times
        going, hit = going[bounces], hit[bounces]
        if not len(going):
            break
        # Only ever away from the wall, should rounding find one again that was just left.
        speed = towards[going, hit].clamp(max=0)[:, None]
        v[going] -= 2 * speed * walls[hit]
        towards[going] -= 2 * speed * (walls[hit] @ walls.T)
    done = torch.ones(len(z), dtype=torch.bool, device=z.device)
    done[going] = False
    return z, done


def _first_hit(at: Tensor, towards: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """When each walk first meets a wall from inside, (n,) (infinity: never), and which.

    On the arc the distance to a wall is ``r cos(t + phase) + offset``, which falls through 0 once a turn.
    """
    ratio = -offsets / torch.hypot(at, towards)
    times = ratio.clamp(-1, 1).arccos() - torch.atan2(-towards, at)
    times = torch.where(times < 1e-9, times + 2 * math.pi, times)
    times = torch.where(ratio.abs() < 1, times, torch.inf)
    first = times.min(1)
    return first.values, first.indices


def _turned(z: Tensor, v: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
    cosine, sine = times.cos()[:, None], times.sin()[:, None]
    return z * cosine + v * sine, v * cosine - z * sine
