"""Regions among the samples that a model is shown: images of a classifier, latents of a generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from genmend.activations.digests import weights_digest
from genmend.concepts.classifiers import Classifier
from genmend.concepts.image_sources import images_of
from genmend.concepts.regions.configurations import preactivations
from genmend.concepts.regions.flagged import read_flagged
from genmend.concepts.regions.layer_states import LayerStates, last_gate, layer_states
from genmend.concepts.regions.planes import Plane, plane_of_kinds, plane_of_query
from genmend.concepts.regions.slices import slice_regions, span_a_plane
from genmend.concepts.regions.study import KindsStudy, QueryStudy, study_kinds, study_query
from genmend.concepts.settings import RegionsSettings
from genmend.storage.digests import sha256_of
from genmend.storage.notebook import NotebookResult
from genmend.storage.pieces import Work

__all__ = ["RegionSamples", "RegionsRun", "find_regions", "image_samples"]


@dataclass(frozen=True)
class RegionSamples:
    """Samples that a model is shown, whichever kind of model it is.

    Attributes
    ----------
    model : str
    module : nn.Module
    names : list of str
    load : callable
        Inputs of the model, of samples by their numbers.
    run : callable
        Runs the model on inputs.
    shown : callable
        Images (n, 3, h, w) in 0..1 of samples by their numbers.
    facts : list
        All that inputs and weights depend on.
    layer : str
        Where none is named.
    pooled : bool
        Whether a neuron is a channel, where it is not said.
    class_name : callable or None
        Of a classifier.
    latents : Tensor or None
        Of a generator.
    """

    model: str
    module: nn.Module
    names: list[str]
    load: Callable[[Sequence[int]], Tensor]
    run: Callable[[Tensor], Any]
    shown: Callable[[Sequence[int]], Tensor]
    facts: list[Any]
    layer: str
    pooled: bool
    class_name: Callable[[int], str] | None = None
    latents: Tensor | None = None

    def labels(self, states: LayerStates) -> tuple[list[str] | None, str]:
        """One a sample, and what it is: the folder of an image where there are several, else its class."""
        folders = [str(Path(name).parent) for name in self.names]
        if len(set(folders)) > 1:
            return folders, "folder"
        if self.class_name is None or (states.classes < 0).any():
            return None, ""
        return [self.class_name(int(number)) for number in states.classes], "class by the model"

    def number(self, query: str) -> int:
        """The number of a sample given by it or by its name.

        Raises
        ------
        ValueError
            If there is no such sample, or several have that name.
        """
        if query.strip().isdecimal():
            number = int(query)
            if number >= len(self.names):
                raise ValueError(f"--query is {number}, but samples go from 0 to {len(self.names) - 1}.")
            return number
        found = [i for i, name in enumerate(self.names) if query in (name, Path(name).name)]
        if len(found) != 1:
            said = f"{len(found)} samples are named" if found else "no sample is named"
            raise ValueError(f"--query: {said} {query!r}; give a number, or a name such as {self.names[0]}.")
        return found[0]


@dataclass(frozen=True, repr=False)
class RegionsRun(NotebookResult):
    """What `find_regions` found; `planes` of 'query' and of 'kinds', where there are such."""

    samples: RegionSamples
    settings: RegionsSettings
    states: LayerStates
    query: QueryStudy | None
    label_is: str
    kinds: KindsStudy | None
    planes: dict[str, Plane] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """What ``summary.json`` holds."""
        seen = self.states.configurations
        return {
            "model": self.samples.model,
            "n": len(self.states),
            "layer": seen.layer,
            "shape": list(seen.shape),
            "threshold": seen.threshold,
            "pooled": seen.pooled,
            "query": None if self.query is None else {"name": self._name, **self.query.to_dict()},
            "label_is": self.label_is,
            "flagged": None if self.kinds is None else self.kinds.to_dict(),
            "planes": {name: plane.to_dict() for name, plane in self.planes.items()},
            "settings": vars(self.settings),
        }

    def columns(self) -> dict[str, np.ndarray]:
        """The columns of ``samples.csv``: names, flags, and which samples are in which region."""
        n = len(self.states)
        columns = {"name": np.array(self.samples.names)}
        if self.query is not None:
            columns["query_region"] = self.query.marks(n)
        if self.kinds is not None:
            columns["flagged"] = self.kinds.flagged.astype(int)
            columns |= {f"kind_{number}": kind.marks(n) for number, kind in enumerate(self.kinds.kinds, start=1)}
        return columns

    @property
    def _name(self) -> str:
        assert self.query is not None
        return self.samples.names[self.query.number]


def image_samples(source: Any, classifier: Classifier, *, device: str = "cpu") -> RegionSamples:
    """Images as a classifier sees them.

    Raises
    ------
    ValueError
        If the source holds something else, or images are prepared to several sizes.
    """
    samples = images_of(source)
    classifier.module.to(device)

    def load(numbers: Sequence[int]) -> Tensor:
        prepared = [classifier.prepare(samples.load(number)[1].unsqueeze(0).float()) for number in numbers]
        if len({each.shape for each in prepared}) > 1:
            raise ValueError(f"{classifier.name} prepares images of several sizes: let it give one size.")
        return torch.cat(prepared).to(device)

    first = load([0])
    shown = [weights_digest(classifier.module), sha256_of(map(samples.digest, range(len(samples.names))))]
    return RegionSamples(
        classifier.name,
        classifier.module,
        samples.names,
        load,
        classifier.module,
        lambda numbers: classifier.shown(load(numbers).cpu()),
        [*shown, classifier.name, tuple(first.shape)],
        last_gate(classifier.module, first),
        True,
        classifier.class_name,
    )


def find_regions(
    samples: RegionSamples,
    *,
    query: str = "",
    flagged: Path | None = None,
    settings: RegionsSettings | None = None,
    work: Work | None = None,
) -> RegionsRun:
    """The region of a query, kinds of flagged samples, or both.

    Parameters
    ----------
    samples
    query
        A sample by number or name.
    flagged
        See `read_flagged`.
    settings
        Defaults to `RegionsSettings()`.
    work
        Keeps what is done.

    Raises
    ------
    ValueError
        If there is neither a query nor flags, or they don't fit the samples; and as `layer_states`.
    """
    settings = settings or RegionsSettings()
    if not query and flagged is None:
        raise ValueError(
            "Nothing says where to look: give --query, a sample by number or name, or --flagged, an output folder of "
            "genmend detect or a table with a column flagged."
        )
    number = samples.number(query) if query else None
    marks = None if flagged is None else read_flagged(flagged, len(samples.names))
    layer = settings.layer or samples.layer
    if not layer:
        raise ValueError(f"{samples.model} names no layer of its own: give --layer.")
    pooled = samples.pooled if settings.pooled is None else settings.pooled
    settings = replace(settings, layer=layer, pooled=pooled)
    states = layer_states(
        samples.module,
        layer,
        samples.load,
        len(samples.names),
        run=samples.run,
        threshold=settings.threshold,
        pooled=pooled,
        batch_size=settings.batch_size,
        seed=settings.seed,
        work=work,
        facts=samples.facts,
    )
    labels, label_is = samples.labels(states)

    def values(numbers: np.ndarray) -> np.ndarray:
        inputs = samples.load(numbers.tolist())
        return preactivations(samples.module, layer, inputs, pooled=pooled, run=samples.run)

    run = RegionsRun(
        samples,
        settings,
        states,
        None if number is None else study_query(states, number, settings, labels, values),
        label_is,
        None if marks is None else study_kinds(states, marks, settings),
    )
    return replace(run, planes=_planes(run, labels, work)) if settings.slice_points else run


def _planes(run: RegionsRun, labels: Sequence[str] | None, work: Work | None) -> dict[str, Plane]:
    """The planes that show the run's regions, as the model sees them."""
    of_query = None if run.query is None else plane_of_query(run.states, run.query, labels)
    of_kinds = None if run.kinds is None else plane_of_kinds(run.states, run.kinds)
    found, samples, settings = {}, run.samples, run.settings
    for name, plane in (("query", of_query), ("kinds", of_kinds)):
        if plane is None:
            continue
        anchors = samples.load(plane.numbers)
        if span_a_plane(anchors):
            seen = slice_regions(
                samples.module,
                anchors,
                run.states.configurations,
                n=settings.slice_points,
                classes=samples.class_name is not None,
                run=samples.run,
                batch_size=settings.batch_size,
                work=work,
                facts=samples.facts,
            )
            found[name] = replace(plane, seen=seen)
    return found
