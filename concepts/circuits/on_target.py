"""How far a score falls when one unit of a block is replaced, for one sample."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from genmend.activations.outputs import first_tensor, with_first_tensor
from genmend.activations.runs import hooked
from genmend.concepts.circuits.block_calls import BlockCall, run_handed_on
from genmend.concepts.circuits.patching import read_by_difference, replaced
from genmend.concepts.scalar_target import chosen_scores, scores_of

__all__ = ["effects_on_target", "predicted_effects"]


@torch.no_grad()
def effects_on_target(
    model: nn.Module,
    call: BlockCall,
    sample: Tensor,
    units: Sequence[int],
    target: int | None,
    *,
    replacement: Tensor | None = None,
    batch_size: int = 64,
) -> Tensor:
    """How far the score of a class falls when each unit is replaced, signed; above 0 the unit speaks for the class.

    The model runs on one sample up to the block, which then hands on as many outputs as there are units.

    Parameters
    ----------
    model
        In evaluation mode.
    call
        The block, see `call_blocks`.
    sample
        Shape ``(1, ...)``.
    units
        Of the block.
    target
        Column of the model's output ``(n, classes)``; None where it gives one number a sample.
    replacement
        As for `genmend.concepts.circuits.patching.unit_effects`.
    batch_size
        Copies that run through the rest of the model in one call.

    Returns
    -------
    Tensor
        Shape ``(len(units),)``.
    """
    output = call.output
    other = torch.zeros_like(output) if replacement is None else replacement.to(output).expand_as(output)
    intact = chosen_scores(scores_of(model(sample)), target, 1)
    chosen = torch.as_tensor(list(units), device=output.device, dtype=torch.long)
    falls = []
    for some in chosen.split(batch_size):
        with read_by_difference(call, some, other):
            given = replaced(call, some, other)
            after = run_handed_on(model, call.name, given, lambda inputs: scores_of(model(inputs)), sample)
        falls.append(intact - chosen_scores(after, target, len(some)))
    return torch.cat(falls)


def predicted_effects(
    model: nn.Module, calls: Sequence[BlockCall], sample: Tensor, target: int, replacements: Sequence[Tensor | None]
) -> list[Tensor]:
    """How far the score of a class would fall without each unit of each block, by its gradient: one backward pass.

    The first order of `effects_on_target`: what the replacement takes from the unit at each position, times the
    gradient there (attribution patching, Nanda 2023).

    Returns
    -------
    list of Tensor
        For each block, shape ``(units,)``.
    """
    added = [torch.zeros_like(call.output, requires_grad=True) for call in calls]

    def add(block: str, change: Tensor, module: nn.Module, inputs: Any, output: Any) -> Any:
        return with_first_tensor(output, first_tensor(output, block) + change, block)

    with ExitStack() as hooks, torch.enable_grad():
        for call, change in zip(calls, added, strict=True):
            hooks.enter_context(hooked(model, call.name, partial(add, call.name, change)))
        score = chosen_scores(scores_of(model(sample)), target, 1)
    gradients = torch.autograd.grad(score.sum(), added)
    found = []
    for call, gradient, replacement in zip(calls, gradients, replacements, strict=True):
        taken = call.output if replacement is None else call.output - replacement.to(call.output)
        found.append((gradient * taken).movedim(call.axis, 1)[0].flatten(1).sum(1))
    return found
