"""What one visitor is doing: which samples are shown, what is done to the units, and what became of the samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from genmend.activations import Correction, Edit, Gate, ScaleUnits
from genmend.gans import corrected
from genmend.gans.editing.edit_effect import EditEffect, random_units
from genmend.gans.editing.history import EditHistory
from genmend.gans.editing.unit_labels import UnitLabels
from genmend.workbench.app.generator.inspected import Inspected

__all__ = [
    "AS_FILE_DECIDES",
    "Session",
    "begun",
    "control",
    "edited_again",
    "refreshed",
    "scored",
    "with_layer",
    "with_rows",
    "with_units",
]

UNITS_SHOWN = 24
N_CONTROLS = 2
AS_FILE_DECIDES = -1  # in place of a rung: gate and stop rule choose one for each sample


@dataclass(frozen=True, eq=False)
class Session:
    """One visitor's samples and edits; it never changes, each step makes a new one.

    Attributes
    ----------
    seed, rows
        The samples that are shown: these rows of the latents of the seed.
    latents, before, scores_before
        Theirs, without edits; scores are None where nobody has learnt what is normal.
    after, scores_after
        With the edits; scores are also None until `scored` has found them.
    history : EditHistory
        Of the units that were switched off or scaled.
    layer, concept, units, told
        The units that are shown, and what is told of each of them beside its label.
    chosen, unit
        Place of the sample and the unit that were clicked last.
    correction, rung
        One that is attached before the edits, and how far.
    labels, gate
        Of the generator, as they were when this was shown.
    """

    seed: int
    rows: tuple[int, ...]
    latents: Tensor
    before: Tensor
    scores_before: NDArray[np.float64] | None
    after: Tensor
    scores_after: NDArray[np.float64] | None
    layer: str
    units: tuple[int, ...]
    labels: UnitLabels
    gate: Gate | None
    history: EditHistory = field(default_factory=EditHistory)
    concept: str = ""
    told: tuple[str, ...] = ()
    chosen: int = 0
    unit: int | None = None
    correction: Correction | None = None
    rung: int = AS_FILE_DECIDES

    @property
    def is_edited(self) -> bool:
        """Whether anything is done to the samples."""
        return bool(self.history.n_units) or self.correction is not None

    def edits(self) -> tuple[Edit, ...]:
        """Of the correction's rung, where one is attached at a fixed one, and of the units."""
        rung: tuple[Edit, ...] = ()
        if self.correction is not None and self.rung != AS_FILE_DECIDES:
            rung = self.correction.ladder[self.rung]
        return (*rung, *self.history.edits())


def begun(inspected: Inspected, seed: int = 0) -> Session:
    """The first screen: the first samples of a seed, and the best units of a layer in the middle."""
    layer = inspected.layers[min(1, len(inspected.layers) - 1)]
    return with_rows(inspected, None, seed, range(inspected.n_shown), layer=layer)


def with_rows(
    inspected: Inspected, session: Session | None, seed: int, rows: Sequence[int], *, layer: str = ""
) -> Session:
    """Show other samples; the edits stay."""
    latents = inspected.rows(seed, rows)
    before = inspected.shared.images(latents)
    scores = inspected.scores_with(seed, rows, latents, (), before)
    kept = tuple(map(int, rows))
    if session is None:
        units = tuple(inspected.labels.units(layer)[:UNITS_SHOWN])
        return Session(
            seed, kept, latents, before, scores, before, scores, layer, units, inspected.labels, inspected.gate
        )
    other = replace(session, seed=seed, rows=kept, latents=latents, before=before, scores_before=scores, chosen=0)
    return edited_again(inspected, other)


def with_layer(inspected: Inspected, session: Session, layer: str, concept: str = "", n: int = UNITS_SHOWN) -> Session:
    """Show units of a layer: the best n, or those that detect a concept."""
    concept = concept if concept in inspected.labels.detected(layer) else ""
    units = tuple(inspected.labels.units(layer, concept)[:n])
    return replace(session, layer=layer, concept=concept, units=units, told=(), unit=None)


def with_units(inspected: Inspected, session: Session, units: Sequence[int], strength: float) -> Session:
    """Give units of the layer that is shown a strength."""
    history = session.history.scaled(session.layer, units, strength)
    return edited_again(inspected, replace(session, history=history))


def edited_again(inspected: Inspected, session: Session) -> Session:
    """Generate the samples with the edits that hold now; `scored` comes after they are shown."""
    if not session.is_edited:
        return replace(session, after=session.before, scores_after=session.scores_before)
    with inspected.shared.edited(*session.edits()) as generator:
        if session.correction is not None and session.rung == AS_FILE_DECIDES:
            after = corrected(generator, session.correction)(session.latents).images
        else:
            after = generator.generate(session.latents)
    return replace(session, after=after, scores_after=None)


def scored(inspected: Inspected, session: Session) -> Session:
    """Score the samples with the edits, where that is still to be done."""
    if session.scores_after is not None or inspected.gate is None:
        return session
    if session.correction is not None:
        return replace(session, scores_after=inspected.scores(session.after))
    return replace(session, scores_after=_scores_with(inspected, session, session.history.edits(), session.after))


def _scores_with(
    inspected: Inspected, session: Session, edits: Sequence[ScaleUnits], images: Tensor | None = None
) -> NDArray[np.float64] | None:
    return inspected.scores_with(session.seed, session.rows, session.latents, edits, images)


def refreshed(inspected: Inspected, session: Session) -> Session:
    """Take over what has been learnt of the generator meanwhile: labels of units, scores of samples."""
    if session.labels is not inspected.labels:
        session = replace(with_layer(inspected, session, session.layer), labels=inspected.labels)
    if session.gate is not inspected.gate:
        scores = inspected.scores(session.before), inspected.scores(session.after)
        session = replace(session, gate=inspected.gate, scores_before=scores[0], scores_after=scores[1])
    return session


def control(inspected: Inspected, session: Session) -> EditEffect | None:
    """What the edits of units do to the score of the samples that are shown, beside as many random units."""
    edits = session.history.edits()
    if not edits or session.correction is not None or inspected.gate is None or session.scores_before is None:
        return None
    if session.scores_after is None:
        return None
    # A draw of one unit is one of two, whichever unit was clicked: most clicks find its scores here.
    random = [
        _scores_with(inspected, session, random_units(inspected.shared, edits, seed)) for seed in range(N_CONTROLS)
    ]
    known = [scores for scores in random if scores is not None]
    if len(known) < N_CONTROLS:
        return None
    return EditEffect(session.scores_before, session.scores_after, np.stack(known), inspected.gate.threshold)
