"""Dissect a generator: what the units of its layers stand for, what they cause, and which of them break images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import matplotlib.figure
import numpy as np
import torch
from numpy.typing import NDArray

from genmend.gans.dissection.agreement import Agreement, bootstrap_interval, detects
from genmend.gans.dissection.artifact_study import ArtifactUnits, artifact_units
from genmend.gans.dissection.causal_study import CausalStudy, causal_study
from genmend.gans.dissection.concepts import Concepts, load_concepts
from genmend.gans.dissection.mask_store import MaskStore
from genmend.gans.dissection.stages import Stages
from genmend.gans.generator import Generator, measured_layers
from genmend.gans.settings import DissectSettings
from genmend.manifold.features import load_extractor
from genmend.storage.pieces import Work

__all__ = ["NO_CONCEPT", "DissectRun", "LayerUnits", "dissect", "label_units"]

NO_CONCEPT = "none"


@dataclass(frozen=True)
class LayerUnits:
    """The units of one layer, one row each.

    `concept` is the index of the best concept in `DissectRun.concepts` (-1: none), `iou` its pooled IoU over all pixels
    and `interval` (u, 2) the 95 % bootstrap interval over images; `samples` (u, n_top) are the top-activating
    ones.
    """

    concept: NDArray[np.int64]
    iou: NDArray[np.float64]
    interval: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    threshold: NDArray[np.float64]
    quality: NDArray[np.float64] | None
    detector: NDArray[np.bool_]
    samples: NDArray[np.int64]
    top_threshold: NDArray[np.float64]


@dataclass(frozen=True)
class DissectRun:
    """Result of `dissect`.

    Attributes
    ----------
    model : str
    concepts : tuple of str
        Of all segmenters, part variants included.
    layers : dict layer -> LayerUnits
    n_judged : dict segmenter -> int
        Samples behind the agreement with its concepts.
    causal : tuple of CausalStudy
        One for each concept that causes were asked for.
    artifact_units : ArtifactUnits or None
    settings : dict
        Of the run, as JSON holds them.
    agreement : dict layer -> Agreement
        Of every unit with every concept, (n_units, n_concepts).
    """

    model: str
    concepts: tuple[str, ...]
    layers: dict[str, LayerUnits]
    n_judged: dict[str, int]
    causal: tuple[CausalStudy, ...]
    artifact_units: ArtifactUnits | None
    settings: dict[str, Any]
    agreement: dict[str, Agreement] = field(repr=False, compare=False)

    def label(self, layer: str, unit: int) -> str:
        """Name of a unit's best concept."""
        concept = int(self.layers[layer].concept[unit])
        return NO_CONCEPT if concept < 0 else self.concepts[concept]

    def detectors(self, layer: str) -> Counter[str]:
        """How many units of the layer detect which concept."""
        return Counter(self.label(layer, int(unit)) for unit in np.flatnonzero(self.layers[layer].detector))

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the table of ``units.csv``: a row a unit, layer after layer."""
        layers = self.layers.items()
        columns: dict[str, list[Any]] = {
            "layer": [layer for layer, units in layers for _ in units.iou],
            "unit": [unit for _, units in layers for unit in range(len(units.iou))],
            "concept": [self.label(layer, unit) for layer, units in layers for unit in range(len(units.iou))],
        }
        for name in ("iou", "accuracy", "threshold", "quality", "detector"):
            values = [getattr(units, name) for _, units in layers]
            if values[0] is not None:
                columns[name] = np.concatenate(values).tolist()
        if self.artifact_units is not None:
            columns["unit_kid"] = np.concatenate([self.artifact_units.kid[layer] for layer in self.layers]).tolist()
        columns["iou_low"], columns["iou_high"] = np.concatenate([units.interval for _, units in layers]).T.tolist()
        return {name: np.array(values) for name, values in columns.items()}

    def plot(self) -> matplotlib.figure.Figure:
        """Bar chart of the number of detectors a concept, by layer."""
        from genmend.gans.dissection.figures import concept_bars

        return concept_bars({layer: self.detectors(layer) for layer in self.layers})

    def to_dict(self) -> dict[str, Any]:
        """Return what ``summary.json`` holds."""
        return {
            "model": self.model,
            "n_judged": self.n_judged,
            "layers": {
                layer: {
                    "n_units": len(units.iou),
                    "n_detectors": int(units.detector.sum()),
                    "n_concepts": len(self.detectors(layer)),
                    "median_iou_of_detectors": float(np.median(units.iou[units.detector]))
                    if units.detector.any()
                    else None,
                    "detectors": dict(self.detectors(layer).most_common()),
                }
                for layer, units in self.layers.items()
            },
            "causal": [study.effect.to_dict() | {"ranking": study.ranking} for study in self.causal],
            "artifact_units": None if self.artifact_units is None else self.artifact_units.to_dict(),
            "settings": self.settings,
        }


def dissect(
    generator: Generator,
    layers: Sequence[str] = (),
    *,
    settings: DissectSettings | None = None,
    concepts: Mapping[str, Concepts] | None = None,
    work: Work | None = None,
) -> DissectRun:
    """Label the units of some layers with concepts, and test what they cause.

    Parameters
    ----------
    generator : Generator
    layers : sequence of str
        Where empty `measured_layers` of the generator: all of its own, or of a large model the early ones.
    settings : DissectSettings, optional
    concepts : mapping name -> Concepts, optional
        Segmenters by the names that the settings give, for those that `load_concepts` would not find.
    work : Work, optional
        Where masks, counts and results are kept.

    Raises
    ------
    ValueError
        If two segmenters have a concept of the same name, or a causal concept is none of theirs.
    """
    settings, work = settings or DissectSettings(), work or Work()
    if settings.artifact_units:
        load_extractor(settings.artifact_units)  # a missing one is an error before hours of work
    given = concepts or {}
    stores = [MaskStore(generator, name, given.get(name) or load_concepts(name), work) for name in settings.segmenters]
    names = tuple(name for store in stores for name in store.names)
    _check_names(names, stores, settings)
    stages = Stages(generator, tuple(layers) or measured_layers(generator), settings.seed, work)
    units, joined, agreements, n_judged = label_units(stages, stores, settings)
    causal = []
    for asked in settings.causal:
        store = _store_of(asked, stores)
        name = store.segmenter
        causal.append(causal_study(stages, asked, store, agreements[name], n_judged[name], settings.causal_settings))
    broken = None
    if settings.artifact_units:
        broken = artifact_units(stages, settings.artifact_units, settings.n_images, settings.n_top)
    used = asdict(settings) | {"layers": list(stages.layers)}
    return DissectRun(generator.name, names, units, n_judged, tuple(causal), broken, used, joined)


def label_units(
    stages: Stages, stores: Sequence[MaskStore], settings: DissectSettings
) -> tuple[dict[str, LayerUnits], dict[str, Agreement], dict[str, dict[str, Agreement]], dict[str, int]]:
    """Put all units under their best concepts: everything of a dissection but causes and artifact units.

    Returns
    -------
    units, joined : dict by layer
        The rows of the table, and the agreement with the concepts of all segmenters side by side.
    agreements, n_judged : dict by segmenter
        The agreement with its concepts by layer, and the samples behind it.
    """
    statistics = stages.statistics(settings.n_statistics, settings.tail, settings.n_top)
    agreements, n_judged = {}, {}
    for store in stores:
        n = settings.n_statistics if store.segmenter == "classical" else settings.n_images
        agreements[store.segmenter], n_judged[store.segmenter] = stages.agreement(
            store, n, settings.thresholds, statistics
        )
    joined = {layer: _joined([agreements[store.segmenter][layer] for store in stores]) for layer in stages.layers}
    pairs = _best_pairs(stages, stores, n_judged, joined)
    units = {}
    for layer, top in statistics.items():
        units[layer] = _layer_units(joined[layer], pairs[layer], settings, top.samples.numpy(), top.threshold.numpy())
    return units, joined, agreements, n_judged


def _check_names(names: Sequence[str], stores: Sequence[MaskStore], settings: DissectSettings) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"Several segmenters have a concept called {twice[0]!r}; dissect with them one by one.")
    for asked in settings.causal:
        _store_of(asked, stores)


def _store_of(asked: str, stores: Sequence[MaskStore]) -> MaskStore:
    name = asked.partition("@")[0]
    for store in stores:
        if name in store.concepts.names:
            return store
    known = ", ".join(name for store in stores for name in store.concepts.names)
    raise ValueError(f"No segmenter has the concept {name!r}, of which causes were asked for; there are {known}.")


def _joined(parts: Sequence[Agreement]) -> Agreement:
    """Agreement with the concepts of several segmenters, side by side."""
    fields = {name: torch.cat([getattr(part, name) for part in parts], 1) for name in ("iou", "accuracy", "threshold")}
    quality = [part.quality for part in parts if part.quality is not None]
    return Agreement(**fields, quality=torch.cat(quality, 1) if quality else None)


def _best_pairs(
    stages: Stages, stores: Sequence[MaskStore], n_judged: Mapping[str, int], joined: Mapping[str, Agreement]
) -> dict[str, list[tuple[NDArray[np.int64], NDArray[np.bool_], int]]]:
    """For each layer and segmenter: the best pairs by image, for which units they count, and the pixels of an image."""
    found: dict[str, list[tuple[NDArray[np.int64], NDArray[np.bool_], int]]] = {layer: [] for layer in joined}
    first = 0
    for store in stores:
        width, n = len(store.names), n_judged[store.segmenter]
        theirs, concepts, thresholds = {}, {}, {}
        for layer, table in joined.items():
            best = table.best
            theirs[layer] = (best >= first) & (best < first + width)
            concepts[layer] = torch.where(theirs[layer], best - first, 0)
            threshold = table.threshold.gather(1, best[:, None])[:, 0].double()
            thresholds[layer] = torch.where(theirs[layer], threshold, torch.nan)
        pairs = stages.pairs(store, n, concepts, thresholds)
        n_pixels = store.chunk(0, min(n, 256), stages.seed)[0, 0].numel()
        for layer in joined:
            found[layer].append((pairs[layer], theirs[layer].numpy(), n_pixels))
        first += width
    return found


def _layer_units(
    table: Agreement,
    pairs: Sequence[tuple[NDArray[np.int64], NDArray[np.bool_], int]],
    settings: DissectSettings,
    samples: NDArray[np.int64],
    top_threshold: NDArray[np.float64],
) -> LayerUnits:
    n_units = len(table.iou)
    iou, accuracy, interval = np.zeros(n_units), np.zeros(n_units), np.zeros((n_units, 2))
    for counts, chosen, n_pixels in pairs:
        both, either = counts[:, chosen].sum(0).T
        iou[chosen] = both / np.maximum(either, 1)
        accuracy[chosen] = 1 - (either - both) / (len(counts) * n_pixels)
        interval[chosen] = bootstrap_interval(counts[:, chosen], seed=settings.seed)
    best = table.best[:, None]
    threshold = table.threshold.gather(1, best)[:, 0].numpy()
    quality = None if table.quality is None else table.quality.gather(1, best)[:, 0].numpy()
    labelled = np.isfinite(threshold) & (iou > 0)
    return LayerUnits(
        concept=np.where(labelled, best[:, 0].numpy(), -1),
        iou=np.where(labelled, iou, 0),
        interval=np.where(labelled[:, None], interval, 0),
        accuracy=np.where(labelled, accuracy, 0),
        threshold=threshold,
        quality=quality,
        detector=labelled & detects(iou, accuracy, quality, settings.rule),
        samples=samples,
        top_threshold=top_threshold,
    )
