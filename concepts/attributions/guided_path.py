"""Guided integrated gradients: a path that moves first where the score hardly changes (Kapishnikov et al. 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genmend.concepts.scalar_target import (
    Target,
    as_module,
    check_inputs,
    score_and_gradient,
    scores_of,
    warn_of_spread,
)

__all__ = ["GuidedIntegratedGradients"]


class GuidedIntegratedGradients:
    """Integrate gradients along a path of small gradients, from a baseline to the input (algorithm 1).

    Parameters
    ----------
    model
        In evaluation mode.
    n_steps
        Backward passes, one after the other.
    fraction
        The share of the numbers, those of the smallest gradients, that moves at each turn.
    max_distance
        How far, as a share of the straight path, a number may run ahead or stay behind, 0..1; 0 is integrated
        gradients. Published 0.02 in the code.

    Examples
    --------
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    >>> GuidedIntegratedGradients(net, n_steps=5).attribute(torch.rand(1, 3, 2, 2), target=1).shape
    torch.Size([1, 3, 2, 2])
    """

    def __init__(
        self, model: nn.Module, *, n_steps: int = 31, fraction: float = 0.25, max_distance: float = 0.02
    ) -> None:
        if n_steps < 1:
            raise ValueError(f"n_steps is {n_steps}, but at least 1 step is needed.")
        if not 0 < fraction <= 1 or not 0 <= max_distance <= 1:
            raise ValueError(f"fraction {fraction} and max_distance {max_distance} must be shares from 0 to 1.")
        self.model = as_module(model)
        self.n_steps = n_steps
        self.fraction = fraction
        self.max_distance = max_distance

    def attribute(self, inputs: Tensor, target: Target = None, baseline: float | Tensor = 0.0) -> Tensor:
        """Attributions, shape of the inputs ``(n, ...)``; they add up to the score less that of the baseline, nearly.

        Raises
        ------
        TypeError, ValueError
            If the inputs are no finite floating-point tensor, or the target is out of range.
        """
        inputs = check_inputs(inputs).detach()
        warn_of_spread(lambda some: scores_of(self.model(some)), inputs)
        shape = inputs.shape
        end = inputs.flatten(1)
        start = torch.as_tensor(baseline, dtype=inputs.dtype, device=inputs.device).expand(shape).flatten(1)
        whole = (end - start).abs().sum(1)
        place, total = start.clone(), torch.zeros_like(end)
        for step in range(self.n_steps):
            gradient = score_and_gradient(self.model, place.reshape(shape), target)[1].flatten(1)
            moved = self._move(place, start, end, gradient, step, whole)
            total += (moved - place) * gradient
            place = moved
        return total.reshape(shape)

    def _move(self, place: Tensor, start: Tensor, end: Tensor, gradient: Tensor, step: int, whole: Tensor) -> Tensor:
        """The place of each sample after a step: so far from the end that the rest of the path is equally divided."""
        now = (step + 1) / self.n_steps
        least = start + max(now - self.max_distance, 0) * (end - start)
        most = start + min(now + self.max_distance, 1) * (end - start)
        # Whoever is behind what may be behind comes after at once.
        place = torch.where((place - start).abs() < (least - start).abs(), least, place)
        excess = (place - end).abs().sum(1) - whole * (1 - now)
        return self._spend(place, most, gradient.abs(), excess, 1e-6 * whole)

    def _spend(self, place: Tensor, most: Tensor, size: Tensor, excess: Tensor, least: Tensor) -> Tensor:
        """Move towards `most`, those of the smallest gradients first, until each sample has gone its excess.

        At each turn the `fraction` of the numbers that still may move goes; the last turn goes as far as it takes.
        """
        open_ = place != most
        order = size.masked_fill(~open_, torch.inf).argsort(dim=1)
        way = (most - place).abs().gather(1, order).double().cumsum(1)
        n_open = open_.sum(1)
        gone, share = torch.zeros_like(n_open), torch.zeros_like(excess)
        turn = torch.zeros_like(n_open)
        waiting = (excess > least) & (n_open > 0)
        left = excess.double()
        while bool(waiting.any()):
            turn = torch.where(waiting, ((n_open - gone) * self.fraction).long().clamp_min(1), turn)
            before = _at(way, gone - 1)
            reach = _at(way, gone + turn - 1) - before
            whole_turn = waiting & (reach <= left)
            last = waiting & ~whole_turn
            share = torch.where(last, (left / reach.clamp_min(torch.finfo(reach.dtype).tiny)).to(share.dtype), share)
            left = torch.where(whole_turn, left - reach, left)
            gone = torch.where(whole_turn, gone + turn, gone)
            waiting = whole_turn & (gone < n_open) & (left > least)
        rank = torch.empty_like(order).scatter_(
            1, order, torch.arange(order.shape[1], device=order.device).expand_as(order)
        )
        partly = place + share.unsqueeze(1) * (most - place)
        in_last = (rank >= gone.unsqueeze(1)) & (rank < (gone + turn).unsqueeze(1)) & (share > 0).unsqueeze(1)
        return torch.where(rank < gone.unsqueeze(1), most, torch.where(in_last, partly, place))


def _at(sums: Tensor, places: Tensor) -> Tensor:
    """Sums up to and with each sample's place; 0 before the first."""
    found = sums.gather(1, places.clamp(0, sums.shape[1] - 1).unsqueeze(1)).squeeze(1)
    return torch.where(places < 0, torch.zeros_like(found), found)
