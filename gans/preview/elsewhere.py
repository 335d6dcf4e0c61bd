"""The control of a correction: as many and as strong edits at random places, latents moved as far at random."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from genmend.activations import Edit
from genmend.gans.correctors.contrast_descent import descend
from genmend.gans.correctors.gated import GatedGenerator
from genmend.gans.correctors.matched_control import at_other_neurons, at_other_units
from genmend.gans.generator import Generator, layer_shapes

__all__ = ["MovedElsewhere", "edits_elsewhere", "latents_elsewhere"]


def edits_elsewhere(
    generator: Generator, ladder: Sequence[Sequence[Edit]], seed: int = 0
) -> tuple[tuple[tuple[Edit, ...], ...], tuple[str, ...]]:
    """Move every edit of a ladder to places that it leaves alone, as long as there are enough.

    Parameters
    ----------
    generator
        Of whose layers the edits are.
    ladder
        Edit sets, as a correction has them.
    seed
        Of the random order of each layer's places: one order, so that a stronger rung holds the weaker one's places.

    Returns
    -------
    control : tuple of tuples of Edit
    same : tuple of str
        Edits that choose no places, a class and its layer each: they are in the control as they are.
    """
    layers = tuple(dict.fromkeys(edit.layer for rung in ladder for edit in rung))
    draw = torch.Generator().manual_seed(seed)
    orders = {
        layer: (torch.randperm(shape[0], generator=draw), torch.randperm(shape.numel(), generator=draw))
        for layer, shape in (layer_shapes(generator, layers) if layers else {}).items()
    }
    same: dict[str, None] = {}

    def elsewhere(edit: Edit) -> Edit:
        units, neurons = orders[edit.layer]
        found = at_other_units(edit, units) or at_other_neurons(edit, neurons)
        if found is None:
            same[f"{type(edit).__name__} of {edit.layer}"] = None
        return found or edit

    return tuple(tuple(elsewhere(edit) for edit in rung) for rung in ladder), tuple(same)


def latents_elsewhere(latents: Tensor, moved: Tensor, *, keeps_norm: bool, seed: int = 0) -> Tensor:
    """Move latents (n, *latent_shape) as far as `moved` are from them, each in a random direction.

    Parameters
    ----------
    latents, moved
        Before and after; those that were not moved stay.
    keeps_norm
        Whether they are turned by the angle between the two, as a descent turns standard normal latents; else they are
        moved straight, by the distance.
    seed
        Of the directions.
    """
    z, to = latents.flatten(1).double(), moved.flatten(1).double()
    random = torch.randn(z.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if keeps_norm:
        length = z.norm(dim=1, keepdim=True).clamp(min=1e-12)
        along = z / length
        across = random - (random * along).sum(1, keepdim=True) * along
        across = across / across.norm(dim=1, keepdim=True)
        cosine = (along * to).sum(1, keepdim=True) / to.norm(dim=1, keepdim=True).clamp(min=1e-12)
        angle = cosine.clamp(-1, 1).acos()
        found = length * (angle.cos() * along + angle.sin() * across)
    else:
        found = z + random / random.norm(dim=1, keepdim=True) * (to - z).norm(dim=1, keepdim=True)
    stayed = (to == z).all(1, keepdim=True)
    return torch.where(stayed, z, found).to(latents.dtype).view(latents.shape)


class MovedElsewhere(GatedGenerator):
    """A gated generator whose correction moves latents in random directions, as far as it would have."""

    seed = 0

    def _descended(self, target: int, latents: Tensor, *, progress: bool) -> tuple[Tensor, Tensor]:
        descent = self.correction.descent
        assert descent is not None
        moved = descend(self.generator, descent, latents, target, progress=progress)
        elsewhere = latents_elsewhere(latents, moved, keeps_norm=descent.radius is None, seed=self.seed + target)
        return self.generator.generate(elsewhere, progress=progress), elsewhere
