"""Whether the score falls by as much as the attributions of what is removed say (Bhatt et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from genmend.concepts.loop.measure import Case, Measure, pooled

__all__ = ["measure", "rank_correlation"]


def measure(n_draws: int = 150, cells: int = 9, share: float = 0.2) -> Measure:
    """Rank correlation, over random sets of cells, of the fall of the score and the attribution in the set.

    Parameters
    ----------
    n_draws
        Sets, published 150.
    cells
        On a side of the grid, published 9.
    share
        Of the cells that are removed, published 0.2; they are replaced by the case's fill, without noise.
    """

    def evaluate(case: Case) -> Tensor:
        n, _, height, width = case.inputs.shape
        generator = torch.Generator().manual_seed(case.seed)
        rows, columns = min(cells, height), min(cells, width)
        count = max(1, round(share * rows * columns))
        values, filled = pooled(case.attributions), case.filled()
        intact = case.logits(case.inputs)
        falls, masses = [], []
        for _ in range(n_draws):
            chosen = torch.rand(n, rows * columns, generator=generator).argsort(1) < count
            mask = interpolate(chosen.reshape(n, 1, rows, columns).float(), size=(height, width)).bool()
            mask = mask.to(case.inputs.device)
            falls.append(intact - case.logits(torch.where(mask, filled, case.inputs)))
            masses.append((values * mask[:, 0]).flatten(1).sum(1))
        return rank_correlation(torch.stack(falls, 1), torch.stack(masses, 1))

    return Measure(
        "muFidelity",
        "Does the score fall most where most attribution is removed?",
        True,
        -1.0,
        1.0,
        evaluate,
        n_draws + 1,
        0,
        "faithful",
    )


def rank_correlation(one: Tensor, other: Tensor) -> Tensor:
    """Spearman's, row by row, shape ``(n,)``; 0 where a row is constant."""
    first, second = (_ranks(values) for values in (one, other))
    first, second = (ranks - ranks.mean(1, keepdim=True) for ranks in (first, second))
    norm = first.norm(dim=1) * second.norm(dim=1)
    return torch.where(norm > 0, (first * second).sum(1) / norm.clamp_min(1e-12), torch.zeros_like(norm))


def _ranks(values: Tensor) -> Tensor:
    """Ranks from 0, of equal values the mean."""
    ordered = values.sort(1).values
    below = torch.searchsorted(ordered, values.contiguous())
    at_most = torch.searchsorted(ordered, values.contiguous(), right=True)
    return (below + at_most - 1).double() / 2
