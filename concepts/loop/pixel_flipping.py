"""Remove pixels in the order of their attribution, and watch the target's probability (Samek et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from genmend.concepts.loop.measure import Case, Measure, pooled

__all__ = ["flipping_curves", "measures"]


def flipping_curves(
    case: Case, *, most_first: bool, n_points: int = 10, shares: Sequence[float] | None = None
) -> Tensor:
    """The target's probability with a growing share of the pixels removed.

    Parameters
    ----------
    case
        See `Case`.
    most_first
        From the largest attribution down (MoRF), or from the smallest up (LeRF).
    n_points
        The first is the input as it is, the last has no pixel left.
    shares
        Of the pixels that are removed at each point, in place of equal steps. Those of pnpxai 0.1.3 are
        ``[0, 0.1, ..., 0.8, 1]``.

    Returns
    -------
    Tensor
        Shape ``(n, n_points)``. Pixels of equal attribution go in random order, by the case's seed.
    """
    if shares is None:
        if n_points < 2:
            raise ValueError(f"n_points is {n_points}, but the first and the last are needed.")
        shares = [point / (n_points - 1) for point in range(n_points)]
    elif not all(0 <= share <= 1 for share in shares):
        raise ValueError(f"shares are {list(shares)}, but each must lie from 0 to 1.")
    inputs, filled = case.inputs, case.filled()
    n, _, height, width = inputs.shape
    generator = torch.Generator().manual_seed(case.seed)
    values = pooled(case.attributions).flatten(1)
    shuffled = torch.stack([torch.randperm(height * width, generator=generator) for _ in range(n)]).to(inputs.device)
    order = values.gather(1, shuffled).argsort(dim=1, descending=most_first, stable=True)
    # The place of each pixel in the order.
    place = torch.empty_like(order).scatter_(
        1, shuffled.gather(1, order), torch.arange(height * width, device=inputs.device).expand(n, -1)
    )
    curve = []
    for share in shares:
        removed = (place < round(share * height * width)).reshape(n, 1, height, width)
        curve.append(case.probabilities(torch.where(removed, filled, inputs)))
    return torch.stack(curve, 1)


def measures(n_points: int = 10) -> list[Measure]:
    """MoRF, LeRF, and the area between the two, which share their curves."""

    @lru_cache(maxsize=2)
    def curve(case: Case, most_first: bool) -> Tensor:
        return flipping_curves(case, most_first=most_first, n_points=n_points)

    def between(case: Case) -> Tensor:
        curves = [curve(case, first) for first in (False, True)]
        # At both ends the curves meet: only the points between them say anything.
        return (curves[0] - curves[1])[:, 1:-1].mean(1) if n_points > 2 else curves[0].new_zeros(len(curves[0]))

    return [
        Measure(
            "MoRF",
            "How fast does the probability fall when the pixels of the largest attribution go first?",
            False,
            0.0,
            1.0,
            lambda case: curve(case, True).mean(1),
            n_points,
            0,
            "faithful",
        ),
        Measure(
            "LeRF",
            "How long does the probability last when the pixels of the smallest attribution go first?",
            True,
            0.0,
            1.0,
            lambda case: curve(case, False).mean(1),
            n_points,
            0,
            "faithful",
        ),
        Measure(
            "AbPC",
            "How far apart are the two orders of removal?",
            True,
            -1.0,
            1.0,
            between,
            0,
            0,
            "faithful",
        ),
    ]
