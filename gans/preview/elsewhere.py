"""The control of a file's edits: as many and as strong, in the same layers, at random places."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from genmend.activations import Edit
from genmend.gans.correctors.matched_control import at_other_neurons, at_other_units
from genmend.gans.generator import Generator, layer_shapes

__all__ = ["edits_elsewhere"]


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
