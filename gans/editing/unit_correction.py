"""Units scaled by hand as a correction: the file that anyone attaches to the same generator."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from genmend.activations import Correction, Gate, ScaleUnits, StopRule
from genmend.gans.editing.edit_effect import EditEffect
from genmend.gans.generator import Generator

__all__ = ["STRENGTHS", "unit_correction"]

STRENGTHS = (0.25, 0.5, 0.75, 1.0)  # of the edit, from rung to rung


def unit_correction(
    generator: Generator,
    edits: Sequence[ScaleUnits],
    *,
    gate: Gate | None = None,
    stop_rule: StopRule | None = None,
    effect: EditEffect | None = None,
    strengths: Sequence[float] = STRENGTHS,
    info: Mapping[str, Any] | None = None,
) -> Correction:
    """Make a correction of edits of units; its last rung does exactly what they do.

    Parameters
    ----------
    generator : Generator
        Without edits on it.
    edits : sequence of ScaleUnits
    gate, stop_rule : optional
        Which samples need it and when a rung is enough; `genmend.gans.corrected` and ``genmend correct`` need both,
        `genmend.activations.attach` neither.
    effect : EditEffect, optional
        What was measured of the edits: it becomes the correction's figures.
    strengths : sequence of float in [0, 1]
        Of the rungs, rising; the last is 1.
    info : mapping, optional
        More to tell, such as a licence.

    Raises
    ------
    ValueError
        If there are no edits, or the strengths do not rise to 1.
    """
    if not any(edit.units for edit in edits):
        raise ValueError("No unit is switched off or scaled, so there is nothing to keep: change one first.")
    if not strengths or list(strengths) != sorted(set(strengths)) or strengths[-1] != 1:
        raise ValueError(f"strengths is {list(strengths)}; give numbers that rise to 1, e.g. 0.5, 1.")
    told: dict[str, Any] = {
        "method": "units scaled by hand",
        "generator": generator.name,
        "rungs": [{"strength": strength, "layers": [edit.layer for edit in edits]} for strength in strengths],
        "units": {
            edit.layer: {str(unit): value for unit, value in zip(edit.units, _scales(edit), strict=True)}
            for edit in edits
        },
        "measured": {} if effect is None else effect.to_dict(),
        "versions": {name: version(name) for name in ("torch", "numpy")} | {"python": platform.python_version()},
    }
    return Correction.of(
        generator.module,
        [[replace(edit, strength=strength) for edit in edits] for strength in strengths],
        gate=gate,
        stop_rule=stop_rule,
        generator_settings=generator.settings,
        info=told | dict(info or {}),
    )


def _scales(edit: ScaleUnits) -> list[float]:
    if isinstance(edit.scale, float):
        return [edit.scale] * len(edit.units)
    return [float(value) for value in edit.scale]
