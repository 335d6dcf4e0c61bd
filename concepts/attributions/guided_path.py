"""Guided integrated gradients: a path that moves first where the score hardly changes (Kapishnikov et al. 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genmend.concepts.scalar_target import Target, as_module, check_inputs, score_and_gradient

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
        rest = whole * (1 - now)
        size = gradient.abs()
        for _ in range(end.shape[1]):
            excess = (place - end).abs().sum(1) - rest
            open_ = place != most
            waiting = (excess > 1e-6 * whole) & open_.any(1)
            if not bool(waiting.any()):
                break
            candidates = torch.where(open_, size, torch.inf)
            threshold = self._lowest(candidates, open_)
            chosen = open_ & (candidates <= threshold) & waiting.unsqueeze(1)
            reach = ((place - most).abs() * chosen).sum(1)
            share = (excess / reach.clamp_min(torch.finfo(place.dtype).tiny)).clamp(0, 1).unsqueeze(1)
            # Exactly `most` where all of the way is gone, so that the loop sees it closed.
            gone = torch.where(share >= 1, most, place + share * (most - place))
            place = torch.where(chosen, gone, place)
        return place

    def _lowest(self, candidates: Tensor, open_: Tensor) -> Tensor:
        count = (open_.sum(1) * self.fraction).long().clamp_min(1)
        return candidates.sort(1).values.gather(1, (count - 1).unsqueeze(1))
