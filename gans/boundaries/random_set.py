"""As many boundaries chosen at random: what a supporting set's region is to be more homogeneous than."""

from __future__ import annotations

import torch
from torch import Tensor

from gans.boundaries.boundary_set import SupportingSet
from gans.boundaries.decoding import activations_of
from gans.generator import Generator

__all__ = ["random_set"]


def random_set(generator: Generator, found: SupportingSet, seed: int = 0) -> Tensor:
    """Mask of ``found.n`` neurons (or units) drawn without repetition from the layer's active ones; bool.

    Active ones alone, as the supporting set has no others: a region of inactive neurons bounds other things. Ours; the
    paper compares with epsilon-balls. Its region (`generative_region`) has as many walls as the supporting set's, but a
    spread of its own: compare each with its own rotation (`rotated_round`).
    """
    values = activations_of(generator, found.latent, found.layer).cpu()
    if found.granularity == "unit":
        values = values.abs().flatten(1).sum(1) if values.ndim > 1 else values
    candidates = values.flatten().nonzero()[:, 0]
    order = torch.randperm(len(candidates), generator=torch.Generator().manual_seed(seed))
    mask = torch.zeros(found.mask.shape, dtype=torch.bool)
    mask.view(-1)[candidates[order[: found.n]]] = True
    return mask
