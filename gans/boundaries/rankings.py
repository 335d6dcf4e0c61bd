"""Orders of a layer's neurons, most important first, and how many of an order's first ones support the image."""

from __future__ import annotations

import torch
from torch import Tensor

from genmend.gans.boundaries.preactivation import decode, masked_errors
from genmend.gans.generator import Generator, gradient_batch

__all__ = ["first_of", "first_order_effects", "smallest_prefix"]


def first_order_effects(
    generator: Generator, latent: Tensor, layer: str, like: Tensor, n_draws: int, seed: int
) -> Tensor:
    """How far, to first order, the image moves when each neuron (or unit) alone is switched off; shaped as `like`.

    The norm of a Jacobian column times the activation, estimated from `n_draws` random projections of the image.
    """
    total = torch.zeros_like(like, dtype=torch.float64)
    draw = torch.Generator().manual_seed(seed)
    at_once = gradient_batch(generator)
    for start in range(0, n_draws, at_once):
        n = min(at_once, n_draws - start)
        gates = torch.ones((n, *like.shape), device=like.device, requires_grad=True)
        images = decode(generator, latent, layer, gates)
        projections = torch.randn(images.shape, generator=draw).to(images.device)
        (slopes,) = torch.autograd.grad((images * projections).sum(), gates)
        total += slopes.double().square().sum(0)
    return (total / n_draws).sqrt()


def first_of(order: Tensor, n: int, shape: torch.Size) -> Tensor:
    """Boolean mask of this shape, True at the first n flat indices of an order."""
    mask = torch.zeros(shape, dtype=torch.bool).flatten()
    mask[order[:n].cpu()] = True
    return mask.reshape(shape)


def smallest_prefix(
    generator: Generator, latent: Tensor, layer: str, order: Tensor, shape: torch.Size, tolerance: float, most: int
) -> int:
    """Number of an order's first neurons that keep the image within the tolerance (RMSE, 0..1 range), by bisection.

    `most` has to be enough. The answer is enough too, and one fewer was tried and is not; the error need not fall
    steadily as neurons are added, so that a smaller number may be enough as well.
    """
    too_few, enough = -1, most
    while enough - too_few > 1:
        trial = torch.linspace(too_few, enough, 8).long().unique()[1:-1]  # several at once: one batch
        if not len(trial):
            trial = torch.tensor([too_few + 1])
        masks = torch.stack([first_of(order, int(n), shape) for n in trial])
        meets = (masked_errors(generator, latent, layer, masks) <= tolerance).tolist()
        if True in meets:
            position = meets.index(True)
            enough = int(trial[position])
            too_few = int(trial[position - 1]) if position else too_few
        else:
            too_few = int(trial[-1])
    return enough
