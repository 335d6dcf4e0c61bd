"""The stages of a dissection, each kept piece by piece: statistics, thresholds, counts, and the best pairs by image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genmend.gans.dissection.agreement import Agreement, agreement_of
from genmend.gans.dissection.chance import Chance, partners_of
from genmend.gans.dissection.counting import Counts
from genmend.gans.dissection.mask_store import MaskStore
from genmend.gans.dissection.measuring import (
    UnitStatistics,
    candidate_levels,
    level_counts,
    pair_threshold_counts,
    pairs_of_images,
    threshold_counts,
    unit_statistics,
)
from genmend.gans.dissection.thresholds import BestLevels, best_levels, information_quality
from genmend.gans.generator import Generator, generator_facts
from genmend.storage.digests import sha256_of_array
from genmend.storage.pieces import Work

__all__ = ["N_PLACES", "Arrays", "Stages"]

N_PLACES = 1024  # pixels of each image behind thresholds chosen by information quality
MOST_PIXELS = 1 << 14  # pixels of each image behind everything else
MOST_VALIDATION = 1000
_SMALL = np.uint16  # holds any number of an image's pixels, of which there are `MOST_PIXELS`
Arrays = dict[str, NDArray[Any]]
COUNTED = ("pixels", "unit", "concept", "both")
CHANCE = ("n_samples", "n_shuffles", "shuffled", "squares")


@dataclass(frozen=True)
class Stages:
    """One generator, some of its layers, a seed, and where the results are kept.

    Samples are ``latents(n, seed)``; thresholds are chosen on samples of ``seed + 1``.
    """

    generator: Generator
    layers: tuple[str, ...]
    seed: int
    work: Work = field(default_factory=Work)

    def statistics(self, n: int, tail: float, n_top: int) -> dict[str, UnitStatistics]:
        """Upper quantiles and top samples of all units."""

        def compute() -> Arrays:
            latents = self.generator.latents(n, self.seed)
            found = unit_statistics(
                self.generator, latents, self.layers, tail=tail, n_top=min(n_top, n), progress=self.work.progress
            )
            return {
                f"{layer}.{name}": getattr(found[layer], name).numpy()
                for layer in self.layers
                for name in ("threshold", "samples", "peaks")
            }

        arrays = self.kept("units", {"n": n, "tail": tail, "n_top": n_top}, compute)
        parts = ("threshold", "samples", "peaks")
        return {
            layer: UnitStatistics(*(torch.from_numpy(arrays[f"{layer}.{part}"]) for part in parts))
            for layer in self.layers
        }

    def agreement(
        self,
        store: MaskStore,
        n: int,
        way: Literal["iqr", "fixed"],
        statistics: Mapping[str, UnitStatistics],
        n_shuffles: int = 0,
    ) -> tuple[dict[str, Agreement], int]:
        """Agreement of all units with the store's concepts by layer, and on how many samples it was measured.

        ``iqr``: a quarter of the n samples, at most 1,000, choose the thresholds, the rest judge. With `n_shuffles`
        the masks of so many other samples for each say what chance gives.
        """
        if way == "fixed":
            fixed = {layer: statistics[layer].threshold for layer in self.layers}
            counts = self._counted(store, n, fixed, threshold_counts, MOST_PIXELS, n_shuffles)
            width = len(store.names)
            return {
                layer: agreement_of(
                    counts[layer], fixed[layer][:, None].expand(-1, width), information_quality(counts[layer])
                )
                for layer in self.layers
            }, n
        n_validation = min(n // 4, MOST_VALIDATION)
        best = self._levels(store, n_validation)
        chosen = {layer: best[layer].threshold for layer in self.layers}
        counts = self._counted(store, n - n_validation, chosen, pair_threshold_counts, N_PLACES, n_shuffles)
        return {
            layer: agreement_of(counts[layer], best[layer].threshold, best[layer].quality) for layer in self.layers
        }, n - n_validation

    def pairs(
        self, store: MaskStore, n: int, concepts: Mapping[str, Tensor], thresholds: Mapping[str, Tensor]
    ) -> dict[str, NDArray[np.uint16]]:
        """Pixels of both and of either for one concept a unit, image by image, (n, u, 2).

        Over all pixels, or the same 16,384 of each image where there are more.
        """
        about = {
            layer: [sha256_of_array(concepts[layer]), sha256_of_array(thresholds[layer])] for layer in self.layers
        } | self.about(store)
        parts = []
        for start, masks in store.chunks(n, self.seed, "best pairs by image", progress=self.work.progress):

            def compute(start: int = start, masks: Tensor = masks) -> Arrays:
                latents = self.generator.latents(len(masks), self.seed, start)
                places = self._places(masks, MOST_PIXELS)
                found = pairs_of_images(self.generator, latents, masks, concepts, thresholds, places)
                return {layer: values.astype(np.int32) for layer, values in found.items()}

            part = self.kept("pairs", about | {"start": start, "n": len(masks)}, compute)
            parts.append({layer: part[layer].astype(_SMALL) for layer in self.layers})
        return {layer: np.concatenate([part.pop(layer) for part in parts]) for layer in self.layers}

    def _levels(self, store: MaskStore, n: int) -> dict[str, BestLevels]:
        """The best threshold of all units for each concept, from samples of ``seed + 1``."""

        def compute() -> Arrays:
            levels = candidate_levels(
                self.generator, self.generator.latents(n, self.seed + 1), self.layers, progress=self.work.progress
            )
            totals: dict[str, Counts] = {}
            for start, masks in store.chunks(n, self.seed + 1, "thresholds", progress=self.work.progress):
                latents = self.generator.latents(len(masks), self.seed + 1, start)
                found = level_counts(self.generator, latents, masks, levels, self._places(masks, N_PLACES))
                totals = {layer: totals[layer] + part if totals else part for layer, part in found.items()}
            arrays: Arrays = {}
            for layer in self.layers:
                best = best_levels(totals[layer], levels[layer])
                arrays |= {f"{layer}.{name}": value.numpy() for name, value in vars(best).items()}
            return arrays

        arrays = self.kept("levels", self.about(store) | {"n": n}, compute)
        parts = ("level", "threshold", "quality")
        return {
            layer: BestLevels(*(torch.from_numpy(arrays[f"{layer}.{part}"]) for part in parts)) for layer in self.layers
        }

    def _counted(
        self,
        store: MaskStore,
        n: int,
        thresholds: Mapping[str, Tensor],
        count: Callable[..., dict[str, Counts]],
        n_places: int,
        n_shuffles: int,
    ) -> dict[str, Counts]:
        """Counts of n samples, chunk by chunk."""
        about = self.about(store) | {layer: sha256_of_array(values) for layer, values in thresholds.items()}
        if n_shuffles:
            about["n_shuffles"] = n_shuffles
        totals: dict[str, Counts] = {}
        for start, masks in store.chunks(n, self.seed, "agreement", progress=self.work.progress):

            def compute(start: int = start, masks: Tensor = masks) -> Arrays:
                latents = self.generator.latents(len(masks), self.seed, start)
                partners = partners_of(len(masks), n_shuffles, self.seed, start) if n_shuffles else None
                found = count(self.generator, latents, masks, thresholds, self._places(masks, n_places), partners)
                return {
                    f"{layer}.{name}": value
                    for layer, counts in found.items()
                    for name, value in _arrays_of(counts).items()
                }

            arrays = self.kept("counts", about | {"start": start, "n": len(masks)}, compute)
            for layer in self.layers:
                names = (*COUNTED, *CHANCE) if n_shuffles else COUNTED
                part = _counts_of({name: arrays[f"{layer}.{name}"] for name in names})
                totals[layer] = totals[layer] + part if layer in totals else part
        return totals

    def _places(self, masks: Tensor, n: int) -> Tensor | None:
        """The same n random pixels of every image; None, for all, where there are no more."""
        n_pixels = masks.shape[2] * masks.shape[3]
        if n_pixels <= n:
            return None
        order = np.random.default_rng(self.seed).permutation(n_pixels)[:n]
        return torch.from_numpy(np.sort(order))

    def about(self, store: MaskStore) -> dict[str, Any]:
        """What the masks depend on beside the samples."""
        return {
            "segmenter": store.segmenter,
            "digest": getattr(store.concepts, "digest", ""),
            "names": list(store.names),
        }

    def kept(self, name: str, about: Mapping[str, Any], compute: Callable[[], Arrays]) -> Arrays:
        """What `compute` returns, or what an earlier run with the same generator, layers, seed and `about` left."""
        facts = {**about, **self._facts, "layers": list(self.layers), "seed": self.seed}
        return dict(self.work.kept(name, facts, compute))

    @cached_property
    def _facts(self) -> dict[str, Any]:
        return generator_facts(self.generator)


def _arrays_of(counts: Counts) -> Arrays:
    """Counts as they are kept."""
    arrays = {name: np.asarray(getattr(counts, name)) for name in COUNTED}
    if counts.chance is not None:
        arrays |= {name: np.asarray(getattr(counts.chance, name)) for name in CHANCE}
    return arrays


def _counts_of(arrays: Mapping[str, NDArray[Any]]) -> Counts:
    """What `_arrays_of` was given."""
    unit, concept, both = (torch.from_numpy(arrays[name]) for name in COUNTED[1:])
    chance = None
    if CHANCE[0] in arrays:
        shuffled, squares = (torch.from_numpy(arrays[name]) for name in CHANCE[2:])
        chance = Chance(arrays["n_samples"].item(), arrays["n_shuffles"].item(), shuffled, squares)
    return Counts(arrays["pixels"].item(), unit, concept, both, chance)
