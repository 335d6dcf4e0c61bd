"""Distilled gradient aggregation: attributions along a sequence of ever purer inputs (NeurIPS 2022)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from genmend.concepts.attributions.full_gradient import input_and_biases
from genmend.concepts.scalar_target import (
    Target,
    as_module,
    check_inputs,
    score_and_gradient,
    scores_of,
    warn_of_spread,
)

__all__ = ["DistilledGradient"]

Biases = Literal["uniform", "layers", "none"]
Ranks = Literal["channel", "pixel"]


class DistilledGradient:
    """Aggregate full gradients while the weakest contributors and the extreme ones are dimmed.

    At step ``n`` of ``N`` the input is ``x * ((n / N) * strong + (1 - n / N) * tame)``, where ``strong`` leaves out the
    weakest ``n / N`` of the attributions before it by size, and ``tame`` the largest ``1 - q`` by value. The result is
    the sum over the steps of the positive parts, and of the negative ones times ``beta`` (algorithm 1 of the paper's
    submission). It takes ``N + 1`` backward passes, one after the other; images of a batch run together.

    Parameters
    ----------
    model
        In evaluation mode.
    n_steps
        ``N``, published 30.
    quantile
        ``q`` in 0..1, published 0.9.
    negative
        ``beta``, the weight of negative parts, published 0.
    bias
        'uniform' spreads what the input does not give, ``score - (input * gradient).sum()``, evenly over the input. In
        networks of linear layers, ReLU and pooling that is what the biases give, as published; elsewhere it also
        holds what full ReLU6 and smooth gates add, so that the parts always add up to the score. 'layers' takes the
        biases of the layers alone, one by one (the published formula to the letter); 'none' leaves them out.
    ranks
        Our reading of an open point: 'channel' ranks every number of the input, 'pixel' the sums over channels, so
        that a pixel is dimmed as a whole.

    Notes
    -----
    Zero is the colour that dims: after the usual normalisation it is the mean colour.

    Examples
    --------
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    >>> DistilledGradient(net, n_steps=5).attribute(torch.rand(1, 3, 2, 2), target=1).shape
    torch.Size([1, 3, 2, 2])
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        n_steps: int = 30,
        quantile: float = 0.9,
        negative: float = 0.0,
        bias: Biases = "uniform",
        ranks: Ranks = "channel",
    ) -> None:
        if n_steps < 1:
            raise ValueError(f"n_steps is {n_steps}, but at least 1 step is needed.")
        if not 0 <= quantile <= 1:
            raise ValueError(f"quantile is {quantile}, but a share from 0 to 1 is needed.")
        if bias not in ("uniform", "layers", "none"):
            raise ValueError(f"bias is {bias!r}; accepted are 'uniform', 'layers' and 'none'.")
        if ranks not in ("channel", "pixel"):
            raise ValueError(f"ranks is {ranks!r}; accepted are 'channel' and 'pixel'.")
        self.model = as_module(model)
        self.n_steps = n_steps
        self.quantile = quantile
        self.negative = negative
        self.bias = bias
        self.ranks = ranks

    def attribute(self, inputs: Tensor, target: Target = None) -> Tensor:
        """Attributions, shape of the inputs ``(n, ...)``; higher is more for the target.

        Raises
        ------
        TypeError, ValueError
            If the inputs are no finite floating-point tensor, or the target is out of range.
        """
        original = check_inputs(inputs).detach()
        warn_of_spread(lambda some: scores_of(self.model(some)), original)
        purified, total = original, torch.zeros_like(original)
        for step in range(self.n_steps + 1):
            local = self._local(purified, target)
            total += local.clamp_min(0) + self.negative * local.clamp_max(0)
            if step < self.n_steps:
                purified = original * self._mask(local, step)
        return total / (self.n_steps + 1)

    def _local(self, inputs: Tensor, target: Target) -> Tensor:
        if self.bias == "layers":
            parts = input_and_biases(self.model, inputs, target)
            score, gradient, rest = parts.score, parts.gradient, parts.biases
        else:
            score, gradient = score_and_gradient(self.model, inputs, target)
            rest = score - (inputs * gradient).flatten(1).sum(1)
        local = inputs * gradient
        if self.bias == "none":
            return local
        return local + (rest / inputs[0].numel()).reshape(-1, *[1] * (inputs.ndim - 1))

    def _mask(self, local: Tensor, step: int) -> Tensor:
        ranked = local.sum(1, keepdim=True) if self.ranks == "pixel" and local.ndim > 2 else local
        n, progress = ranked[0].numel(), step / self.n_steps
        strong = ranked.abs() >= _at_rank(ranked.abs(), step * n // self.n_steps)
        tame = ranked < _at_rank(ranked, int(self.quantile * n))
        return progress * strong.to(local.dtype) + (1 - progress) * tame.to(local.dtype)


def _at_rank(values: Tensor, rank: int) -> Tensor:
    """The value of each sample that so many of its values stand before in ascending order; infinity after the last.

    More than `rank` values are at most as large as a value exactly if it is at least that large: so ties take the
    larger rank, as published.
    """
    flat = values.flatten(1)
    found = flat.kthvalue(rank + 1, dim=1).values if rank < flat.shape[1] else flat.new_full((len(flat),), torch.inf)
    return found.reshape(-1, *[1] * (values.ndim - 1))
