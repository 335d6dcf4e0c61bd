"""The circuits of a folder's images: index a reference, find each image's circuits, measure what they carry."""

from __future__ import annotations

import json
import shutil
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genmend.activations.digests import weights_digest
from genmend.concepts.circuits.ablation import AblationDrop, ablation_drop
from genmend.concepts.circuits.block_calls import call_blocks
from genmend.concepts.circuits.blocks import find_blocks
from genmend.concepts.circuits.circuit import CircuitGraph, read_graph
from genmend.concepts.circuits.find_circuits import find_circuits
from genmend.concepts.circuits.unit_index import UnitIndex, build_index, load_index
from genmend.concepts.classifiers import Classifier
from genmend.concepts.image_sources import PreparedImages, open_images, read_images
from genmend.concepts.scalar_target import NotDeterministicWarning, chosen_scores, scores_of, warn_of_spread
from genmend.concepts.settings import CircuitSettings
from genmend.manifold.features.feature_arrays import holds_array
from genmend.storage.digests import sha256_of_array
from genmend.storage.notebook import NotebookResult
from genmend.storage.pieces import Work
from genmend.storage.progress import with_progress
from genmend.storage.tables import write_json

__all__ = ["CircuitRun", "ImageCircuits", "circuits_of_images"]

LEAST_TOP = 5  # samples that are a unit's own, where one in a hundred is fewer
LEAST_REFERENCE = 50


@dataclass(frozen=True)
class ImageCircuits:
    """The circuits of one image.

    Attributes
    ----------
    name : str
    target : int
        The class that they are asked about.
    score, probability : float
        Of it.
    graph : CircuitGraph
        All of them; `CircuitGraph.towards_target` is the part that speaks for the class.
    drop : AblationDrop or None
        Of that part; None where it is empty.
    whole : AblationDrop or None
        Of the whole graph.
    seconds : float
        It took, processor time, the index not counted.
    """

    name: str
    target: int
    score: float
    probability: float
    graph: CircuitGraph
    drop: AblationDrop | None
    whole: AblationDrop | None
    seconds: float


@dataclass(frozen=True, repr=False)
class CircuitRun(NotebookResult):
    """What `circuits_of_images` found, and of what; `spread` is how far two runs of the model differ."""

    classifier: Classifier
    inputs: Tensor
    reference: PreparedImages
    index: UnitIndex
    images: tuple[ImageCircuits, ...]
    settings: CircuitSettings
    spread: float = 0.0

    def columns(self) -> dict[str, np.ndarray]:
        """One row for each image: its class and what its circuit carries of it (NaN where there is none)."""
        drops = [(each.drop.circuit, each.drop.random) if each.drop else (np.nan, np.nan) for each in self.images]
        return {
            "name": np.array([each.name for each in self.images]),
            "class": np.array([self.classifier.class_name(each.target) for each in self.images]),
            "score": np.array([each.score for each in self.images]),
            "n_units": np.array([len(each.graph.units) for each in self.images]),
            "fall": np.array([float(fall) for fall, _ in drops]),
            "fall_of_random_units": np.array([float(np.mean(random)) for _, random in drops]),
        }

    def to_dict(self) -> dict[str, Any]:
        """JSON's view."""
        return {
            "model": self.classifier.name,
            "classes": self.classifier.made,
            "blocks": list(self.index.blocks),
            "n_reference": len(self.reference),
            "n_top": self.index.high,
            "reference": self.reference.samples.description,
            "skipped": [list(each) for each in self.reference.skipped],
            "images": [
                {
                    "name": each.name,
                    "class": self.classifier.class_name(each.target),
                    "target": each.target,
                    "score": each.score,
                    "probability": each.probability,
                    "n_units": len(each.graph.units),
                    "drop": each.drop.to_dict() if each.drop else None,
                    "drop_of_all": each.whole.to_dict() if each.whole else None,
                    "seconds": each.seconds,
                    "graph": each.graph.to_dict(),
                }
                for each in self.images
            ],
            "spread": self.spread,
            "settings": asdict(self.settings),
        }


def circuits_of_images(
    source: Any,
    classifier: Classifier,
    *,
    reference: Any = None,
    target: str = "",
    device: str = "cpu",
    settings: CircuitSettings | None = None,
    work: Work | None = None,
) -> CircuitRun:
    """Find the circuits of the first images of a source, see `genmend.concepts.find_circuits`.

    Parameters
    ----------
    source
        A folder of images, one image, an array, or whatever else `genmend.manifold` takes as images.
    classifier
        See `load_classifier`.
    reference
        Images that say what each unit answers to, the more and the more various the better; the folder of `source`
        where None.
    target
        A class by number or name; each image's own best one if empty.
    device
        Where the model runs.
    settings
        Defaults to `CircuitSettings()`.
    work
        Keeps the index and what is found, so that a second image takes seconds.

    Raises
    ------
    ValueError
        If an image cannot be used, the reference has fewer than 50 images, or there is no such class.
    UnknownLayerError
        If the model has no such layer.
    """
    settings, work = settings or CircuitSettings(), work or Work()
    names, inputs = read_images(source, classifier, settings.n_images)
    model = classifier.module.to(device)
    inputs = inputs.to(device)
    blocks = settings.chosen_layers or find_blocks(model, inputs[:1])
    call_blocks(model, blocks, inputs[:1])  # a layer that is not there is said before an hour of indexing
    targets = _targets(classifier, inputs, target)
    spread = warn_of_spread(lambda some: scores_of(model(some)), inputs)
    images = _reference(source, reference, classifier, settings, work)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotDeterministicWarning)  # it has been said
        index, key = _index(classifier, blocks, images, device, settings, work)
        found = _of_all(names, inputs, targets, key, index, classifier, settings, work)
    return CircuitRun(classifier, inputs, images, index, tuple(found), settings, spread)


def _of_all(
    names: list[str],
    inputs: Tensor,
    targets: Tensor,
    key: str,
    index: UnitIndex,
    classifier: Classifier,
    settings: CircuitSettings,
    work: Work,
) -> list[ImageCircuits]:
    """The circuits of each image, or what an earlier run has left of them."""
    found = []
    facts = {"index": key, "patch": settings.patch, "chosen": settings.chosen, "seed": settings.seed}
    screen = _screen(settings, index)
    facts |= {} if screen == 1 else {"screen": screen}
    rows = list(zip(names, inputs, targets.tolist(), strict=True))
    for name, image, number in with_progress(rows, "finding circuits", len(rows), show=work.progress):
        own = {**facts, "n_draws": settings.n_draws, "target": number, "image": sha256_of_array(image.cpu().numpy())}
        found.append(
            work.kept(
                "circuits",
                own,
                lambda name=name, image=image, number=number: _of_one(  # type: ignore[misc]
                    name, image[None], number, classifier, index, settings
                ),
                save=_save,
                load=_load,
            )
        )
    return found


def _targets(classifier: Classifier, inputs: Tensor, target: str) -> Tensor:
    with torch.no_grad():
        scores = scores_of(classifier.module(inputs))
    if not torch.isfinite(scores).all():
        raise ValueError(f"{classifier.name} gave NaN or infinity: look at its weights and at the images.")
    if not target:
        return scores.argmax(1)
    number = classifier.class_number(target)
    chosen_scores(scores, number, len(inputs))  # refuses what is no class
    return torch.full((len(inputs),), number)


def _reference(
    source: Any, reference: Any, classifier: Classifier, settings: CircuitSettings, work: Work
) -> PreparedImages:
    given = reference is not None
    if not given:
        is_image = isinstance(source, str | Path) and Path(source).is_file() and not holds_array(source)
        reference = Path(source).resolve().parent if is_image else source
    images = open_images(reference, classifier, most=settings.n_reference, seed=settings.seed, work=work)
    if len(images) < LEAST_REFERENCE:
        where = images.samples.description
        whose = f"The reference {where}" if given else f"The image's own folder, which is the reference ({where}),"
        raise ValueError(
            f"{whose} has {len(images)} images that can be used, but what a unit answers to is told by at least "
            f"{LEAST_REFERENCE}, better thousands: give --reference FOLDER, with images like those the model knows."
        )
    return images


def _index(
    classifier: Classifier,
    blocks: list[str],
    images: PreparedImages,
    device: str,
    settings: CircuitSettings,
    work: Work,
) -> tuple[UnitIndex, str]:
    """The index, and what tells it from others."""
    key = f"{classifier.name} {weights_digest(classifier.module)} {images.digest}"
    high = max(0.01, LEAST_TOP / len(images))
    pieces = work.inside("index-pieces")
    index = work.kept(
        "index",
        {"key": key, "blocks": blocks, "high": high},
        lambda: build_index(
            classifier.module,
            blocks,
            lambda start, stop: images(start, stop).to(device),
            len(images),
            batch_size=settings.batch_size,
            high=high,
            active=max(0.1, 2 * high),
            work=pieces,
            key=key,
        ),
        save=lambda path, made: made.save(path),
        load=load_index,
    )
    if pieces.folder is not None:
        shutil.rmtree(pieces.folder, ignore_errors=True)  # the index holds what they were for
    return index, f"{key} {blocks}"


def _screen(settings: CircuitSettings, index: UnitIndex) -> float:
    return settings.share_of(max(map(len, index.top.values())))


def _of_one(
    name: str, sample: Tensor, target: int, classifier: Classifier, index: UnitIndex, settings: CircuitSettings
) -> ImageCircuits:
    began, model = time.process_time(), classifier.module
    graph = find_circuits(
        model,
        index,
        sample,
        target,
        patch=settings.patch,
        chosen=settings.chosen,
        screen=_screen(settings, index),
        seed=settings.seed,
    )
    drops = [
        ablation_drop(
            model, part, index, sample, target, patch=settings.patch, n_draws=settings.n_draws, seed=settings.seed
        )
        if part.units
        else None
        for part in (graph.towards_target(), graph)
    ]
    with torch.no_grad():
        scores = scores_of(model(sample))[0]
    probability = float(scores.softmax(0)[target])
    seconds = time.process_time() - began
    return ImageCircuits(name, target, float(scores[target]), probability, graph, drops[0], drops[1], seconds)


def _save(path: Path, found: ImageCircuits) -> None:
    values = {name: getattr(found, name) for name in ("name", "target", "score", "probability", "seconds")}
    drops = {name: drop.to_dict() if (drop := getattr(found, name)) else None for name in ("drop", "whole")}
    write_json(path, {**values, **drops, "graph": found.graph.to_dict()})


def _load(path: Path) -> ImageCircuits:
    try:
        values: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        rest = {name: values[name] for name in ("name", "target", "score", "probability", "seconds")}
        drop, whole = (_drop(values[name]) for name in ("drop", "whole"))
        return ImageCircuits(**rest, graph=read_graph(values["graph"]), drop=drop, whole=whole)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path.name} is damaged: {error}") from error


def _drop(values: Mapping[str, Any] | None) -> AblationDrop | None:
    if values is None:
        return None
    return AblationDrop(
        values["score"],
        values["circuit"],
        np.array(values["random"]),
        np.array(values["outside"]),
        values["n_units"],
    )
