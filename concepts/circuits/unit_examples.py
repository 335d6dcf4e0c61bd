"""Where in their top samples units fire, for pictures that say what each unit answers to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isqrt

import torch
from torch import Tensor, nn

from genmend.activations.recording import record
from genmend.concepts.circuits.circuit import Unit
from genmend.concepts.circuits.unit_index import UnitIndex
from genmend.concepts.circuits.units import last_weighted, unit_axis

__all__ = ["UnitExample", "unit_examples"]


@dataclass(frozen=True)
class UnitExample:
    """One of a unit's top samples.

    Attributes
    ----------
    number : int
        Of the sample in the index.
    place : (float, float) or None
        Where the unit fires most, down and right in 0..1 of the sample's side; None where its output has no places.
    """

    number: int
    place: tuple[float, float] | None


def unit_examples(
    model: nn.Module,
    index: UnitIndex,
    samples: Callable[[Sequence[int]], Tensor],
    units: Sequence[Unit],
    *,
    n_examples: int = 3,
    batch_size: int = 32,
) -> dict[Unit, list[UnitExample]]:
    """The top samples of some units, strongest first, and where in them each fires most.

    Parameters
    ----------
    model
        That the index was made of, in evaluation mode.
    index
    samples
        ``samples(numbers)`` gives those samples as a batch.
    units
    n_examples
        Of each unit.
    batch_size
        Samples in one run of the model.
    """
    wanted = {unit: index.top[index.blocks[unit[0]]][unit[1], :n_examples].tolist() for unit in units}
    numbers = sorted({number for some in wanted.values() for number in some})
    asking: dict[int, list[Unit]] = {}
    for unit, some in wanted.items():
        for number in some:
            asking.setdefault(number, []).append(unit)
    blocks = [index.blocks[block] for block in sorted({unit[0] for unit in units})]
    places: dict[tuple[Unit, int], tuple[float, float] | None] = {}
    for start in range(0, len(numbers), batch_size):
        some = numbers[start : start + batch_size]
        with torch.no_grad(), last_weighted(model) as last:

            def units_first(made: Tensor, last: list[nn.Module] = last) -> Tensor:
                return made.movedim(unit_axis(made, last[0] if last else None), 1)

            with record(model, blocks, reduce=units_first) as outputs:
                model(samples(some))
        for row, number in enumerate(some):
            for unit in asking[number]:
                places[unit, number] = _place(outputs[index.blocks[unit[0]]][row], unit[1])
    return {unit: [UnitExample(number, places[unit, number]) for number in some] for unit, some in wanted.items()}


def _place(output: Tensor, unit: int) -> tuple[float, float] | None:
    """Of the largest value of one unit, in maps ``(units, h, w)`` or tokens ``(units, tokens)`` that fill a square."""
    if output.ndim == 3:
        height, width = output.shape[1:]
        at = int(output[unit].argmax())
    elif output.ndim == 2:
        n_tokens = output.shape[1]
        side = isqrt(n_tokens)
        # A class token, and registers, stand before the patches.
        before = n_tokens - side * side
        if before > 8 or side < 2:
            return None
        height, width, at = side, side, int(output[unit, before:].argmax())
    else:
        return None
    return (at // width + 0.5) / height, (at % width + 0.5) / width
