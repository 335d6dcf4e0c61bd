"""What is known of the units of a generator, small enough to be kept beside it: concepts, and the samples that excite.

`genmend dissect` writes it as ``units.safetensors``; that of the face generator is part of genmend
(``python -m experiments.faces.reference.labels`` makes it), so that a page shows labelled units at once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genmend.gans.dissection.dissection import NO_CONCEPT, DissectRun
from genmend.gans.dissection.measuring import unit_statistics
from genmend.gans.generator import Generator, generator_facts, layer_shapes
from genmend.storage.container import load, save, whole_number

__all__ = [
    "LayerLabels",
    "UnitLabels",
    "UnitLabelsError",
    "known_labels",
    "labels_of_run",
    "load_labels",
    "save_labels",
    "unlabelled_units",
]

_KIND = "genmend.unit_labels"
_REFERENCE = Path(__file__).parents[1] / "reference"
_MOST_UNITS = 1 << 20


class UnitLabelsError(ValueError):
    """The file holds no labels of units that can be read; the message has its path and what is wrong."""


@dataclass(frozen=True)
class LayerLabels:
    """The units of one layer, one row each.

    Attributes
    ----------
    concept : ndarray (u,) int
        Index of the concept that the unit agrees with most above chance; -1: none.
    iou, null : ndarray (u,)
        Agreement with it in 0..1, and with the masks of other samples: what chance gives.
    detector : ndarray (u,) bool
        Whether it agrees more than chance does, by the rules of `genmend.gans.dissect`.
    threshold : ndarray (u,)
        Activation above which the unit is on.
    samples : ndarray (u, k) int
        The samples of ``latents(n, seed)`` that excite it most.
    """

    concept: NDArray[np.int32]
    iou: NDArray[np.float32]
    null: NDArray[np.float32]
    detector: NDArray[np.bool_]
    threshold: NDArray[np.float32]
    samples: NDArray[np.int32]

    @property
    def ranking(self) -> NDArray[np.int64]:
        """All units: detectors first, then by agreement above chance."""
        return np.lexsort((self.null - self.iou, ~self.detector))


@dataclass(frozen=True)
class UnitLabels:
    """What is known of the units of some layers.

    Attributes
    ----------
    model : str
    facts : dict
        What the samples depend on beside their latents (`generator_facts`): labels of other weights are no use.
    seed : int
        Of the samples.
    concepts : tuple of str
        Empty where nobody has dissected the generator.
    layers : dict layer -> LayerLabels
    origin : dict
        How they were made, as JSON holds it.
    """

    model: str
    facts: dict[str, Any]
    seed: int
    concepts: tuple[str, ...]
    layers: dict[str, LayerLabels]
    origin: dict[str, Any]

    def label(self, layer: str, unit: int) -> str:
        """Name of a unit's best concept, also where it is no detector of it; ``none`` where there is none."""
        concept = int(self.layers[layer].concept[unit])
        return NO_CONCEPT if concept < 0 else self.concepts[concept]

    def detected(self, layer: str) -> dict[str, int]:
        """How many units of the layer detect which concept, the most frequent first."""
        rows = self.layers[layer]
        found, counts = np.unique(rows.concept[rows.detector], return_counts=True)
        order = np.argsort(-counts, kind="stable")
        return {self.concepts[int(found[place])]: int(counts[place]) for place in order}

    def units(self, layer: str, concept: str = "") -> list[int]:
        """Units of the layer by `LayerLabels.ranking`; with a concept, those alone that detect it."""
        rows = self.layers[layer]
        ranking: list[int] = rows.ranking.tolist()
        if not concept:
            return ranking
        return [unit for unit in ranking if rows.detector[unit] and self.label(layer, unit) == concept]


def labels_of_run(run: DissectRun, generator: Generator) -> UnitLabels:
    """The labels of a dissection."""
    layers = {}
    for layer, units in run.layers.items():
        # A unit without a label has no threshold of its own: its upper quantile serves.
        threshold = np.where(np.isfinite(units.threshold), units.threshold, units.top_threshold)
        layers[layer] = LayerLabels(
            concept=units.concept.astype(np.int32),
            iou=units.iou.astype(np.float32),
            null=units.null.astype(np.float32),
            detector=units.detector,
            threshold=threshold.astype(np.float32),
            samples=units.samples.astype(np.int32),
        )
    facts = json.loads(json.dumps(generator_facts(generator)))
    origin = {"settings": json.loads(json.dumps(run.settings)), "n_judged": dict(run.n_judged)}
    return UnitLabels(run.model, facts, int(run.settings["seed"]), run.concepts, layers, origin)


def unlabelled_units(
    generator: Generator, layers: Sequence[str] = (), *, n: int = 256, n_top: int = 8, seed: int = 0
) -> UnitLabels:
    """The samples that excite each unit, without concepts: seconds in place of the minutes of a dissection.

    Layers without maps are left out. The ranking is by how far a unit's highest activation lies above its threshold:
    units that say much of few samples come first.

    Raises
    ------
    ValueError
        If none of the layers has maps (n, units, height, width).
    """
    named = tuple(layers) or generator.layers
    mapped = [layer for layer, shape in layer_shapes(generator, named).items() if len(shape) == 3]
    if not mapped:
        raise ValueError(
            f"None of the layers {', '.join(named)} of {generator.name} puts out maps (n, units, height, width), in "
            "which a unit has a place: name others (--layers)."
        )
    found = unit_statistics(generator, generator.latents(n, seed), mapped, n_top=n_top)
    rows = {}
    for layer, units in found.items():
        threshold, peaks = units.threshold.numpy(), units.peaks.double().numpy()
        above = peaks.mean(axis=1) - threshold
        scale = np.abs(above).max() or 1.0
        rows[layer] = LayerLabels(
            concept=np.full(len(threshold), -1, np.int32),
            iou=np.maximum(above / scale, 0).astype(np.float32),
            null=np.zeros(len(threshold), np.float32),
            detector=np.zeros(len(threshold), bool),
            threshold=threshold.astype(np.float32),
            samples=units.samples.numpy().astype(np.int32),
        )
    facts = json.loads(json.dumps(generator_facts(generator)))
    return UnitLabels(generator.name, facts, seed, (), rows, {"n": n})


def known_labels(generator: Generator) -> UnitLabels | None:
    """The labels that come with genmend, where there are any of exactly this generator."""
    path = _REFERENCE / f"{generator.name}.units.safetensors"
    if not path.is_file():
        return None
    labels = load_labels(path)
    return labels if labels.facts == json.loads(json.dumps(generator_facts(generator))) else None


def save_labels(path: str | os.PathLike[str], labels: UnitLabels) -> None:
    """Write labels to one file, whole or not at all."""
    arrays = {f"{layer}.{name}": values for layer, rows in labels.layers.items() for name, values in vars(rows).items()}
    facts = {name: getattr(labels, name) for name in ("model", "facts", "seed", "origin")}
    save(path, _KIND, arrays, facts | {"concepts": list(labels.concepts), "layers": list(labels.layers)})


def load_labels(path: str | os.PathLike[str]) -> UnitLabels:
    """Read what `save_labels` wrote; every value is checked.

    Raises
    ------
    UnitLabelsError
        If the file is damaged, of another kind or version, or its arrays don't fit together.
    """
    return load(path, _KIND, _labels, command="dissect", error=UnitLabelsError)


def _labels(arrays: Mapping[str, Any], facts: Mapping[str, Any]) -> UnitLabels:
    concepts = tuple(facts["concepts"])
    if not all(isinstance(name, str) for name in concepts) or not isinstance(facts["facts"], dict):
        raise ValueError("its concepts are no names, or its facts no JSON object")
    layers = {}
    for layer in facts["layers"]:
        given = {field.name: arrays[f"{layer}.{field.name}"] for field in fields(LayerLabels)}
        n = len(given["concept"])
        shapes = {name: values.shape for name, values in given.items()}
        samples = given["samples"]
        if any(len(values) != n or values.ndim != 1 + (name == "samples") for name, values in given.items()):
            raise ValueError(f"its arrays of {layer!r} don't fit together: {shapes}")
        if not 0 < n <= _MOST_UNITS or not samples.size or samples.min() < 0 or given["detector"].dtype != bool:
            raise ValueError(f"its units of {layer!r} have no samples, or samples below 0")
        if given["concept"].min() < -1 or given["concept"].max() >= len(concepts):
            raise ValueError(f"its units of {layer!r} have concepts without a name")
        if not all(np.isfinite(given[name]).all() for name in ("iou", "null", "threshold")):
            raise ValueError(f"its numbers of {layer!r} are not all finite")
        layers[layer] = LayerLabels(**given)
    if not layers:
        raise ValueError("it has no layers")
    seed = whole_number(facts["seed"], "seed", least=0)
    return UnitLabels(str(facts["model"]), facts["facts"], seed, concepts, layers, dict(facts["origin"]))
