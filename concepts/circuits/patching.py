"""What becomes of the next block's units when one unit of a block is replaced, for one sample."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from genmend.concepts.circuits.blocks import BlockCall, unit_axis, unit_means

__all__ = ["replaced", "unit_effects"]


@torch.no_grad()
def unit_effects(
    source: BlockCall,
    target: BlockCall,
    units: Sequence[int],
    *,
    replacement: Tensor | None = None,
    through_identity: bool = True,
    batch_size: int = 64,
) -> Tensor:
    """How far each unit of the next block falls when a unit of this block is replaced.

    ``s[i, j] = mean over positions of f_j(a) - f_j(a with unit i replaced)``, signed: above 0 the unit excites j,
    below 0 it inhibits j. Only the next block runs, on as many copies of its input as there are units.

    Parameters
    ----------
    source, target
        Two blocks, the first of which feeds the second; see `call_blocks`.
    units
        Units of the source.
    replacement
        What stands in place of a unit, as a whole output of the source, shape ``(1, units, ...)`` or one that fits it;
        None: zeros, as published.
    through_identity
        Whether what a residual block hands on unchanged counts: False subtracts what unit i itself hands on to unit i,
        where the block's input and output have one shape.
    batch_size
        Copies in one call of the block.

    Returns
    -------
    Tensor
        Shape ``(len(units), units of the next block)``.
    """
    output = source.output
    other = torch.zeros_like(output) if replacement is None else replacement.to(output).expand_as(output)
    intact = unit_means(target.output)
    effects = []
    chosen = torch.as_tensor(list(units), device=output.device, dtype=torch.long)
    for some in chosen.split(batch_size):
        fall = intact - unit_means(target(replaced(output, some, other)))
        if not through_identity and output.shape == target.output.shape:
            handed_on = (unit_means(output) - unit_means(other))[0, some]
            fall[torch.arange(len(some), device=output.device), some] -= handed_on
        effects.append(fall)
    return torch.cat(effects)


def replaced(output: Tensor, units: Tensor, other: Tensor) -> Tensor:
    """Copies ``(len(units), ...)`` of one output ``(1, ...)``, in each of which one unit is that of `other`."""
    given = output.repeat(len(units), *[1] * (output.ndim - 1))
    rows = torch.arange(len(units), device=output.device)
    if unit_axis(output) == 1:
        given[rows, units] = other[0, units]
    else:
        given[rows, :, units] = other[0, :, units].T
    return given
