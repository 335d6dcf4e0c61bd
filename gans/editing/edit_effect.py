"""What an edit of units does to the artifact score of samples, beside as many random units of the same layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from genmend.activations import Gate, ScaleUnits
from genmend.gans.editing.shared_generator import SharedGenerator
from genmend.gans.generator import layer_shapes
from genmend.manifold.features import extract, extractor_of_file
from genmend.storage.progress import with_progress

__all__ = ["EditEffect", "edit_effect", "gate_scores", "random_units"]

N_DRAWS = 3
AT_ONCE = 16  # samples


@dataclass(frozen=True)
class EditEffect:
    """Artifact scores of the same samples before and after an edit; higher = more broken.

    Attributes
    ----------
    before, after : ndarray (n,)
    random : ndarray (n_draws, n)
        After the same edit of other units of the same layers, chosen by lot: the control.
    threshold : float
        Samples of a higher score are flagged.
    """

    before: NDArray[np.float64]
    after: NDArray[np.float64]
    random: NDArray[np.float64]
    threshold: float

    @property
    def change(self) -> float:
        """Mean change of the score; below 0 is less broken."""
        return float((self.after - self.before).mean())

    @property
    def random_change(self) -> NDArray[np.float64]:
        """The same of each draw of random units, (n_draws,)."""
        return (self.random - self.before).mean(axis=1)

    @property
    def flagged_before(self) -> float:
        """Share of the samples that are flagged, in 0..1."""
        return float((self.before > self.threshold).mean())

    @property
    def flagged_after(self) -> float:
        """Share of the samples that are flagged after the edit."""
        return float((self.after > self.threshold).mean())

    @property
    def random_flagged(self) -> NDArray[np.float64]:
        """Share that is flagged after each draw of random units, (n_draws,)."""
        return (self.random > self.threshold).mean(axis=1)

    @property
    def beats_control(self) -> bool:
        """Whether the score falls, and more than in every draw of random units."""
        return self.change < min(0.0, float(self.random_change.min()))

    def to_dict(self) -> dict[str, Any]:
        """Figures for JSON."""
        return {
            "n": len(self.before),
            "score_change": self.change,
            "score_change_of_random_units": self.random_change.tolist(),
            "flagged_before": self.flagged_before,
            "flagged_after": self.flagged_after,
            "flagged_with_random_units": self.random_flagged.tolist(),
            "beats_control": self.beats_control,
        }


def gate_scores(gate: Gate, images: Tensor) -> NDArray[np.float64]:
    """Artifact scores (n,) of images (n, 3, h, w) in 0..1 by a gate's own extractor; higher = more broken."""
    scores: NDArray[np.float64] = gate.score(extract(extractor_of_file(gate.extractor), images).astype(np.float64))
    return scores


def edit_effect(
    shared: SharedGenerator,
    edits: Sequence[ScaleUnits],
    latents: Tensor,
    gate: Gate,
    *,
    n_draws: int = N_DRAWS,
    seed: int = 0,
    progress: bool = False,
) -> EditEffect:
    """Score samples before and after an edit, and after `n_draws` draws of `random_units`.

    The generator is shared: between two batches others may run it.
    """
    controls = [random_units(shared, edits, seed + draw) for draw in range(n_draws)]
    chunks = latents.split(AT_ONCE)
    columns: list[list[NDArray[np.float64]]] = []
    for chunk in with_progress(chunks, "effect of the edit", len(chunks), show=progress):
        columns.append([gate_scores(gate, shared.images(chunk, each)) for each in ((), edits, *controls)])
    before, after, *random = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    return EditEffect(before, after, np.reshape(random, (n_draws, len(before))), gate.threshold)


def random_units(shared: SharedGenerator, edits: Sequence[ScaleUnits], seed: int) -> tuple[ScaleUnits, ...]:
    """The same edits on as many units by lot: those that are left alone, as long as there are enough of them."""
    layers = tuple(dict.fromkeys(edit.layer for edit in edits))
    if not layers:
        return ()
    with shared.edited() as generator:
        shapes = layer_shapes(generator, layers)
    rng = np.random.default_rng(seed)
    return tuple(replace(edit, units=_by_lot(shapes[edit.layer][0], edit.units, rng)) for edit in edits)


def _by_lot(n_units: int, units: Sequence[int], rng: np.random.Generator) -> list[int]:
    left = np.setdiff1d(np.arange(n_units), units)
    return list(map(int, rng.choice(left if len(left) >= len(units) else n_units, len(units), replace=False)))
