"""The generator of the page with all that is known of it, for all sessions: loaded once, never changed by one."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genmend.activations import Gate, ScaleUnits, StopRule
from genmend.gans import Generator, dissect
from genmend.gans.correctors.ladder import gate_and_stop_rule
from genmend.gans.detection.detect import fit_detector
from genmend.gans.editing.edit_effect import gate_scores
from genmend.gans.editing.known_gate import known_gate
from genmend.gans.editing.shared_generator import SharedGenerator
from genmend.gans.editing.unit_labels import UnitLabels, known_labels, labels_of_run, unlabelled_units
from genmend.gans.settings import DetectorSettings, DissectSettings
from genmend.storage.pieces import Work
from genmend.workbench.app.generator.pictures import mosaics

__all__ = ["Inspected"]

MOST_SHOWN, FEWEST_SHOWN = 24, 4
GRID_SECONDS = 2.0  # that the grid may take to generate
LOOK_SECONDS = 4.0  # that may pass before the first screen of a generator nobody has dissected
MOST_KEPT = 4096  # scores of a grid of samples; a few hundred bytes each
MOST_LOOKED_AT, FEWEST_LOOKED_AT = 128, 16
# Fewer than the commands' defaults: somebody waits.
SCORE = DetectorSettings(n_statistics=2_000, n_reference=1_000)
LABELS = DissectSettings(n_statistics=1_000)


class Inspected:
    """A generator, the labels of its units, and the gate that says which of its samples look broken.

    Parameters
    ----------
    generator : Generator
        Nobody else may run it from now on.
    folder : Path
        Where long work keeps what it has done.

    Attributes
    ----------
    scoring : Lock
        Held while what is shown already is scored. Scores take several times as long as samples: one session's at a
        time, so that a click is not behind those of ten others, and what the first has found the others find.
    """

    def __init__(self, generator: Generator, folder: Path) -> None:
        seconds = _seconds_a_sample(generator)
        self.shared = SharedGenerator(generator)
        self._generator, self._folder = generator, folder
        self.n_shown = _between(FEWEST_SHOWN, GRID_SECONDS / seconds // 4 * 4, MOST_SHOWN)
        self._n_looked_at = _between(FEWEST_LOOKED_AT, LOOK_SECONDS / 2 / seconds, MOST_LOOKED_AT)
        self.gate: Gate | None = known_gate(generator)
        self.stop_rule: StopRule | None = None
        self.scoring = threading.Lock()
        self._drawing, self._ranking = threading.Lock(), threading.Lock()
        self._mosaics: dict[tuple[str, int], str] = {}
        self._ranked: dict[int, NDArray[np.int64]] = {}
        self._found: tuple[Gate | None, dict[Any, NDArray[np.float64]]] = (None, {})
        labels = known_labels(generator)
        if labels is None or not set(generator.layers) <= set(labels.layers):
            labels = unlabelled_units(generator, n=self._n_looked_at)
        self.labels: UnitLabels = labels

    @property
    def name(self) -> str:
        """The generator's."""
        return self._generator.name

    @property
    def layers(self) -> tuple[str, ...]:
        """Those whose units can be shown."""
        return tuple(layer for layer in self._generator.layers if layer in self.labels.layers)

    def n_units(self, layer: str) -> int:
        """How many the layer has."""
        return len(self.labels.layers[layer].concept)

    def scores(self, images: Tensor) -> NDArray[np.float64] | None:
        """Artifact scores (n,), higher = more broken; None where nobody has learnt what is normal."""
        return None if self.gate is None else gate_scores(self.gate, images)

    def scores_with(
        self, seed: int, rows: Sequence[int], latents: Tensor, edits: Sequence[ScaleUnits], images: Tensor | None = None
    ) -> NDArray[np.float64] | None:
        """Artifact scores of these samples of a seed with edits of units; they are found once for all sessions.

        Parameters
        ----------
        seed, rows, latents
            The samples, and the latents that they are made of.
        edits
            Of units, as `EditHistory` gives them.
        images
            The samples with these edits; they are generated where None.
        """
        gate = self.gate
        if gate is None:
            return None
        if self._found[0] is not gate or len(self._found[1]) >= MOST_KEPT:
            self._found = gate, {}
        found = self._found[1]
        key = seed, tuple(rows), tuple(_in_numbers(edit) for edit in edits)
        if key not in found:
            found[key] = gate_scores(gate, self.shared.images(latents, edits) if images is None else images)
        return found[key]

    def most_broken(self, seed: int) -> tuple[NDArray[np.int64], int]:
        """Samples of the seed, the most broken first, and of how many they are.

        Raises
        ------
        ValueError
            If nobody has learnt what is normal.
        """
        with self._ranking:
            if seed not in self._ranked:
                starts = range(0, self._n_looked_at, 32)
                scores = [self._scored(seed, start, min(32, self._n_looked_at - start)) for start in starts]
                self._ranked[seed] = np.argsort(-np.concatenate(scores), kind="stable")
            return self._ranked[seed], self._n_looked_at

    def _scored(self, seed: int, start: int, n: int) -> NDArray[np.float64]:
        found = self.scores(self.shared.images(self.shared.latents(n, seed, start)))
        if found is None:
            raise ValueError("Nobody has learnt yet what is normal for this generator: press Learn what is normal.")
        return found

    def rows(self, seed: int, rows: Sequence[int]) -> Tensor:
        """Latents of these samples of a seed."""
        return torch.cat([self.shared.latents(1, seed, int(row)) for row in rows])

    def pictures(self, layer: str, units: Sequence[int]) -> list[str]:
        """Where each unit is on, in the four samples that excite it most, as the address of an image."""
        with self._drawing:
            missing = [unit for unit in units if (layer, unit) not in self._mosaics]
            if missing:
                with self.shared.edited() as generator:
                    for unit, picture in mosaics(generator, self.labels, layer, missing):
                        self._mosaics[layer, unit] = picture
            return [self._mosaics[layer, unit] for unit in units]

    def label_units(self) -> Callable[[], UnitLabels]:
        """Long work: put the units of all layers under concepts; what it found is shown to all from then on."""

        def work() -> UnitLabels:
            own = self._copy()
            run = dissect(own, self.layers, settings=LABELS, work=Work(self._folder / "dissection"))
            with self._drawing:
                self.labels = labels_of_run(run, own)
                self._mosaics.clear()
            return self.labels

        return work

    def learn_normal(self) -> Callable[[], Gate]:
        """Long work: learn from the generator's own samples which look broken, and when a correction is enough."""

        def work() -> Gate:
            detector = fit_detector(self._copy(), SCORE, Work(self._folder / "detector"))
            with self._ranking:
                self.gate, self.stop_rule = gate_and_stop_rule(detector)
                self._ranked.clear()
            return self.gate

        return work

    def _copy(self) -> Generator:
        """One that long work may run while the sessions run theirs."""
        with self.shared.edited():
            return self._generator.with_module(copy.deepcopy(self._generator.module))


def _in_numbers(edit: ScaleUnits) -> tuple[Any, ...]:
    """All that an edit is, to be looked up by."""
    return edit.layer, tuple(edit.units), tuple(torch.as_tensor(edit.scale).reshape(-1).tolist()), edit.strength


def _seconds_a_sample(generator: Generator) -> float:
    """The best of three small batches: the first one also builds what the later ones use."""
    latents, best = generator.latents(FEWEST_SHOWN, 0), float("inf")
    for _ in range(3):
        began = time.perf_counter()
        generator.generate(latents)
        best = min(best, (time.perf_counter() - began) / len(latents))
        if best > GRID_SECONDS:
            break
    return best


def _between(least: int, wanted: float, most: int) -> int:
    return int(max(least, min(wanted, most)))
