"""Grow a tree inside a region, each new branch towards a random target.

Our reading of Jeon, Jeong, Choi, AAAI 2020, arXiv 1912.05827: exploration by a rapidly exploring random tree (LaValle,
1998). The constants, the batches, the step that adapts and the retiring of blocked nodes are ours.
"""

from __future__ import annotations

import torch
from torch import Tensor

from genmend.gans.boundaries.bounds import Bounds, prior_shell
from genmend.gans.boundaries.exploration import Exploration, farthest_points, verify
from genmend.gans.boundaries.region import GenerativeRegion
from genmend.storage.progress import counted

__all__ = ["grow_tree"]

FEWEST, MOST = 0.2, 0.6  # shares of a batch that are accepted: below and above, the step is halved and doubled
SHORTEST = 1 / 32  # of the first step: a tree of tiny branches in a corner explores nothing
TINIEST = 1 / 1024  # of the first step: tried only where every node is stuck
N_BLOCKED = 8  # branches that failed; a node with more sprouts no others, or nodes in corners would get all targets


def grow_tree(
    region: GenerativeRegion,
    n: int = 64,
    *,
    bounds: Bounds | None = None,
    n_nodes: int = 2000,
    n_tests: int = 20_000,
    step: float | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Exploration:
    """Grow a tree from the query inside the region and return its n nodes that are farthest from each other.

    A target is drawn, the nearest node found, and the point one step from that node to the target added where it is
    inside. Targets of one batch see the tree as it was before the batch. The tree stops at `n_nodes`, at `n_tests`, or
    when no node is left that may sprout, however short the step; fewer than n latents come back of a smaller tree.

    Parameters
    ----------
    region : GenerativeRegion
    n : int
    bounds : Bounds, optional
        Where targets are drawn and nodes may lie: the prior where None, within the shell that holds 99.9 % of it.
        Extended to the query.
    n_nodes : int
        At most, the query counted.
    n_tests : int
        Points looked at, at most.
    step : float, optional
        In latent units, fixed; where None it starts at half the query's norm and adapts to what is accepted.
    seed : int
    progress : bool
    """
    if n < 1 or n_nodes < 2 or n_tests < 1 or (step is not None and not step > 0):
        raise ValueError(f"n={n}, n_nodes={n_nodes}, n_tests={n_tests}, step={step}: give at least 1, 2, 1, above 0.")
    query = region.query.flatten(1)
    bounds = (bounds or prior_shell(region.generator.latent_shape)).reaching(query)
    draw = torch.Generator().manual_seed(seed)
    first_length = length = step or max(float(query.norm()) / 2, 1e-3)
    nodes, blocked = query, torch.zeros(1, device=query.device)
    n_tested = 0
    batch = region.generator.batch_size
    with counted("tree", n_nodes, show=progress) as advance:
        while len(nodes) < n_nodes and n_tested < n_tests:
            if not (blocked <= N_BLOCKED).any():
                if step is not None or length <= first_length * TINIEST:
                    break
                length /= 2
                blocked.zero_()
            targets = bounds.sample(min(batch, n_tests - n_tested), query.shape[1], draw).to(query)
            parents = _nearest(nodes, targets, blocked <= N_BLOCKED)
            points = _steps(nodes[parents], targets, length)
            ok = bounds.contains(points) & region.contains(points.reshape(-1, *region.query.shape[1:]))
            n_tested += len(points)
            blocked.index_add_(0, parents[~ok], blocked.new_ones(int((~ok).sum())))
            n_before = len(nodes)
            nodes = torch.cat([nodes, points[ok]])[:n_nodes]
            blocked = torch.cat([blocked, blocked.new_zeros(int(ok.sum()))])[:n_nodes]
            advance(len(nodes) - n_before)
            if step is None:
                share = float(ok.float().mean())
                factor = 0.5 if share < FEWEST else 2.0 if share > MOST else 1.0
                shorter = length > first_length * SHORTEST and factor < 1
                length = max(length * factor, min(length, first_length * SHORTEST))
                if shorter:  # what blocked a long branch need not block a short one
                    blocked.zero_()
    chosen = farthest_points(nodes, n + 1)[1:]  # the first is the query itself
    settings = {"n_nodes": len(nodes), "last_step": length, "seed": seed}
    return verify("tree", region, nodes[chosen.to(nodes.device)], n_tested, len(nodes) - 1, settings)


def _nearest(nodes: Tensor, targets: Tensor, sprouting: Tensor) -> Tensor:
    """Index of the nearest node to each target, among those that may sprout."""
    distances = torch.cdist(targets, nodes)
    return distances.masked_fill(~sprouting, torch.inf).argmin(1)


def _steps(starts: Tensor, targets: Tensor, length: float) -> Tensor:
    """The point one step from each start to its target, or the target where it is closer than that."""
    way = targets - starts
    distance = way.norm(dim=1, keepdim=True)
    return starts + way * (length / distance.clamp(min=1e-12)).clamp(max=1)
