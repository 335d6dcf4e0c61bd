"""What a person has done to the units of a generator, step by step, so that each step can be taken back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch

from genmend.activations import ScaleUnits

__all__ = ["MOST_SCALE", "EditHistory"]

MOST_SCALE = 10.0
_MOST_STEPS = 200  # that can be taken back
Strengths = Mapping[str, Mapping[int, float]]


@dataclass(frozen=True)
class EditHistory:
    """The strengths of units by layer, now and before each step. It never changes: each step returns a new one.

    Attributes
    ----------
    steps : tuple of mappings layer -> unit -> strength
        The last is what holds now; of units that are not named the strength is 1, which changes nothing.

    Examples
    --------
    >>> history = EditHistory().scaled("main.5", [3, 7], 0.0)
    >>> history.strength("main.5", 7), history.undone().strength("main.5", 7)
    (0.0, 1.0)
    """

    steps: tuple[Strengths, ...] = (MappingProxyType({}),)

    @property
    def strengths(self) -> Strengths:
        """What holds now: layer -> unit -> strength, without those of 1."""
        return self.steps[-1]

    @property
    def n_units(self) -> int:
        """How many units are changed now."""
        return sum(map(len, self.strengths.values()))

    def strength(self, layer: str, unit: int) -> float:
        """The strength of a unit now."""
        return self.strengths.get(layer, {}).get(unit, 1.0)

    def scaled(self, layer: str, units: Sequence[int], strength: float) -> EditHistory:
        """Give units of a layer a strength: 0 switches off, 1 leaves as it was, at most 10.

        Raises
        ------
        ValueError
            If the strength is out of range.
        """
        if not (math.isfinite(strength) and 0 <= strength <= MOST_SCALE):
            raise ValueError(f"The strength is {strength}; give a number from 0 (off) to {MOST_SCALE:g}.")
        changed = {name: dict(of_layer) for name, of_layer in self.strengths.items()}
        of_layer = changed.setdefault(layer, {}) | {int(unit): float(strength) for unit in units}
        changed[layer] = {unit: value for unit, value in sorted(of_layer.items()) if value != 1}
        return self._then({name: kept for name, kept in changed.items() if kept})

    def reset(self) -> EditHistory:
        """Leave all units as they were; this can be taken back, too."""
        return self._then({})

    def undone(self) -> EditHistory:
        """What held before the last step; the same where there was none."""
        return EditHistory(self.steps[:-1]) if len(self.steps) > 1 else self

    def edits(self) -> tuple[ScaleUnits, ...]:
        """What holds now as edits, one a layer."""
        return tuple(
            ScaleUnits(layer, tuple(of_layer), torch.tensor(list(of_layer.values())))
            for layer, of_layer in self.strengths.items()
        )

    def _then(self, strengths: dict[str, dict[int, float]]) -> EditHistory:
        if strengths == self.strengths:
            return self
        return EditHistory((*self.steps, strengths)[-_MOST_STEPS:])
