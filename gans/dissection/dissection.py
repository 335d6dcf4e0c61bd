"""Dissect a generator: what the units of its layers stand for, what they cause, and which of them break images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from genmend.gans.dissection.agreement import Agreement, bootstrap_interval, detects
from genmend.gans.dissection.artifact_study import ArtifactUnits, artifact_units
from genmend.gans.dissection.causal import UntestableError
from genmend.gans.dissection.causal_study import CausalStudy, causal_study
from genmend.gans.dissection.chance import adjusted
from genmend.gans.dissection.concepts import Concepts, load_concepts, reduced
from genmend.gans.dissection.mask_store import MaskStore
from genmend.gans.dissection.measuring import UnitStatistics
from genmend.gans.dissection.stages import MOST_PIXELS, Stages
from genmend.gans.generator import Generator, layer_shapes, measured_layers
from genmend.gans.generator_layers import checked_layers
from genmend.gans.probing import Probe, probed
from genmend.gans.settings import DissectSettings
from genmend.manifold.features import load_extractor
from genmend.storage.notebook import NotebookResult
from genmend.storage.pieces import Work

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["NO_CONCEPT", "DissectRun", "LayerUnits", "dissect", "label_units"]

NO_CONCEPT = "none"
LEAST_SIDE, FINER = (
    64,
    4,
)  # masks are at least so many pixels, and so many times a layer's side: no larger ones are kept


@dataclass(frozen=True)
class LayerUnits:
    """The units of one layer, one row each.

    `concept` is the index of the concept in `DissectRun.concepts` that the unit agrees with most above chance (-1:
    none), `iou` its pooled IoU over all pixels and `interval` (u, 2) the 95 % bootstrap interval over images; `null` is
    the IoU with the masks of other samples and `p_adjusted` how likely chance gives the agreement, adjusted for all
    units and concepts of the run; `samples` (u, n_top) are the top-activating ones.
    """

    concept: NDArray[np.int64]
    iou: NDArray[np.float64]
    interval: NDArray[np.float64]
    null: NDArray[np.float64]
    p_adjusted: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    threshold: NDArray[np.float64]
    quality: NDArray[np.float64] | None
    detector: NDArray[np.bool_]
    samples: NDArray[np.int64]
    top_threshold: NDArray[np.float64]

    @property
    def above_null(self) -> NDArray[np.float64]:
        """IoU less what chance gives, (u,)."""
        return self.iou - self.null


@dataclass(frozen=True, repr=False)
class DissectRun(NotebookResult):
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
        One for each concept whose causes were tested.
    untested : dict asked -> str
        Why the causes of the other ones that were asked for were not tested.
    pending : tuple of str
        What an unfinished run has still to do; empty in the result.
    artifact_units : ArtifactUnits or None
    settings : dict
        Of the run, as JSON holds them.
    agreement : dict layer -> Agreement
        Of every unit with every concept, (n_units, n_concepts).
    probe : Probe or None
        What two runs of two latents have shown of the generator.
    """

    model: str
    concepts: tuple[str, ...]
    layers: dict[str, LayerUnits]
    n_judged: dict[str, int]
    causal: tuple[CausalStudy, ...]
    untested: dict[str, str]
    artifact_units: ArtifactUnits | None
    settings: dict[str, Any]
    pending: tuple[str, ...]
    agreement: dict[str, Agreement] = field(repr=False, compare=False)
    probe: Probe | None = field(default=None, repr=False, compare=False)

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
        for name in ("iou", "null", "above_null", "p_adjusted", "accuracy", "threshold", "quality", "detector"):
            values = [getattr(units, name) for _, units in layers]
            if values[0] is not None:
                columns[name] = np.concatenate(values).tolist()
        if self.artifact_units is not None:
            columns["unit_kid"] = np.concatenate([self.artifact_units.kid[layer] for layer in self.layers]).tolist()
        columns["iou_low"], columns["iou_high"] = np.concatenate([units.interval for _, units in layers]).T.tolist()
        return {name: np.array(values) for name, values in columns.items()}

    def plot(self) -> Figure:
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
                    "median_null_of_detectors": float(np.median(units.null[units.detector]))
                    if units.detector.any()
                    else None,
                    "detectors": dict(self.detectors(layer).most_common()),
                }
                for layer, units in self.layers.items()
            },
            "causal": [study.effect.to_dict() | {"ranking": study.ranking} for study in self.causal],
            "causal_untested": self.untested,
            "artifact_units": None if self.artifact_units is None else self.artifact_units.to_dict(),
            "settings": self.settings,
            "pending": list(self.pending),
            "probe": None if self.probe is None else self.probe.to_dict(),
        }


def dissect(
    generator: Generator,
    layers: Sequence[str] = (),
    *,
    settings: DissectSettings | None = None,
    concepts: Mapping[str, Concepts] | None = None,
    work: Work | None = None,
    finished: Callable[[DissectRun], None] | None = None,
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
    finished : callable, optional
        Is given the result so far after each of its parts: first the labels, then each cause; `pending` says what is
        to come.

    Raises
    ------
    ValueError
        If two segmenters have a concept of the same name, a causal concept is none of theirs, or a layer has no feature
        maps.
    """
    settings, work, seen = settings or DissectSettings(), work or Work(), probed(generator)
    if settings.artifact_units:
        load_extractor(settings.artifact_units)  # a missing one is an error before hours of work
    given = concepts or {}
    layers = checked_layers(generator, layers) if layers else measured_layers(generator)
    side = _mask_side(generator, layers)
    stores = [
        MaskStore(generator, name, _fitting(given.get(name) or load_concepts(name), generator, side), work)
        for name in settings.segmenters
    ]
    names = tuple(name for store in stores for name in store.names)
    _check_names(names, stores, settings)
    stages = Stages(generator, layers, settings.seed, work)
    units, joined, agreements, n_judged = label_units(stages, stores, settings)
    used = asdict(settings) | {"layers": list(stages.layers)}
    far = ("units far from normal",) if settings.artifact_units else ()
    todo = (*(f"causes of {asked}" for asked in settings.causal), *far)
    run = DissectRun(generator.name, names, units, n_judged, (), {}, None, used, todo, joined, seen)
    finished = finished or (lambda run: None)
    finished(run)
    for asked in settings.causal:
        store = _store_of(asked, stores)
        name = store.segmenter
        try:
            study = causal_study(stages, asked, store, agreements[name], n_judged[name], settings.causal_settings)
            run = replace(run, causal=(*run.causal, study))
        except UntestableError as error:
            run = replace(run, untested=run.untested | {asked: str(error)})
        run = replace(run, pending=run.pending[1:])
        finished(run)
    if settings.artifact_units:
        broken = artifact_units(stages, settings)
        run = replace(run, artifact_units=broken, pending=())
        finished(run)
    return run


def _mask_side(generator: Generator, layers: Sequence[str]) -> int:
    """The longest side that masks need for the maps of these layers."""
    shapes = layer_shapes(generator, layers)
    flat = {layer: list(shape) for layer, shape in shapes.items() if len(shape) != 3}
    if flat:
        layer, shape = next(iter(flat.items()))
        raise ValueError(
            f"Layer {layer!r} puts out {['n', *shape]}, and what its units show in an image needs feature maps "
            "['n', units, height, width]: name other layers (--layers)."
        )
    return max(LEAST_SIDE, FINER * max(max(shape[1:]) for shape in shapes.values()))


def _fitting(concepts: Concepts, generator: Generator, side: int) -> Concepts:
    """The concepts, with masks no larger than the layers need."""
    images = generator.generate(generator.latents(1, 0))
    return reduced(concepts, side) if max(images.shape[2:]) > side else concepts


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
            store, n, settings.thresholds, statistics, settings.n_shuffles
        )
    joined = {layer: _joined([agreements[store.segmenter][layer] for store in stores]) for layer in stages.layers}
    pairs = _best_pairs(stages, stores, n_judged, joined)
    p_adjusted = _adjusted(joined)
    units = {}
    for layer, top in statistics.items():
        units[layer] = _layer_units(joined[layer], pairs[layer], p_adjusted[layer], settings, top)
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


def _adjusted(joined: Mapping[str, Agreement]) -> dict[str, NDArray[np.float64]]:
    """P-values of all pairs, adjusted for all units and concepts of the run, by layer."""
    given = [table.p_value.numpy() for table in joined.values() if table.p_value is not None]
    sizes = np.cumsum([len(values) for values in given])[:-1]
    return dict(zip(joined, np.split(adjusted(np.concatenate(given)), sizes), strict=True))


def _joined(parts: Sequence[Agreement]) -> Agreement:
    """Agreement with the concepts of several segmenters, side by side."""
    return Agreement(
        **{field.name: torch.cat([getattr(part, field.name) for part in parts], 1) for field in fields(Agreement)}
    )


def _best_pairs(
    stages: Stages, stores: Sequence[MaskStore], n_judged: Mapping[str, int], joined: Mapping[str, Agreement]
) -> dict[str, list[tuple[NDArray[np.uint16], NDArray[np.bool_], int]]]:
    """For each layer and segmenter: the best pairs by image, for which units they count, and the pixels of an image."""
    found: dict[str, list[tuple[NDArray[np.uint16], NDArray[np.bool_], int]]] = {layer: [] for layer in joined}
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
        n_pixels = min(MOST_PIXELS, store.side[0] * store.side[1])
        for layer in joined:
            found[layer].append((pairs[layer], theirs[layer].numpy(), n_pixels))
        first += width
    return found


def _layer_units(
    table: Agreement,
    pairs: Sequence[tuple[NDArray[np.uint16], NDArray[np.bool_], int]],
    p_adjusted: NDArray[np.float64],
    settings: DissectSettings,
    top: UnitStatistics,
) -> LayerUnits:
    n_units = len(table.iou)
    iou, accuracy, interval = np.zeros(n_units), np.zeros(n_units), np.zeros((n_units, 2))
    for counts, chosen, n_pixels in pairs:
        both, either = counts[:, chosen].sum(0, dtype=np.int64).T
        iou[chosen] = both / np.maximum(either, 1)
        accuracy[chosen] = 1 - (either - both) / (len(counts) * n_pixels)
        interval[chosen] = bootstrap_interval(counts[:, chosen], seed=settings.seed)
    best = table.best[:, None]
    assert table.quality is not None
    assert table.null is not None
    threshold, quality, null = (
        values.gather(1, best)[:, 0].numpy() for values in (table.threshold, table.quality, table.null)
    )
    p_adjusted = np.take_along_axis(p_adjusted, best.numpy(), 1)[:, 0]
    labelled = np.isfinite(threshold) & (iou > 0)
    return LayerUnits(
        concept=np.where(labelled, best[:, 0].numpy(), -1),
        iou=np.where(labelled, iou, 0),
        interval=np.where(labelled[:, None], interval, 0),
        null=np.where(labelled, null, 0),
        p_adjusted=np.where(labelled, p_adjusted, 1),
        accuracy=np.where(labelled, accuracy, 0),
        threshold=threshold,
        quality=quality,
        detector=labelled & detects(iou, accuracy, quality, settings.rule, p_adjusted),
        samples=top.samples.numpy(),
        top_threshold=top.threshold.numpy(),
    )
