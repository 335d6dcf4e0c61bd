"""The passes over a generator's samples: what its units do, and how often they do it where a concept is.

All run the generator up to the last layer asked for, batch by batch, and keep nothing of the size of the activations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genmend.activations import TopSamples, UnitQuantiles, record
from genmend.gans.dissection.agreement import pair_counts
from genmend.gans.dissection.counting import Counts, count_at, count_at_levels, count_at_pairs, pixels_at
from genmend.gans.dissection.thresholds import TAIL_FRACTIONS
from genmend.gans.generator import Generator, recorded_batches
from genmend.storage.progress import with_progress

__all__ = [
    "UnitStatistics",
    "candidate_levels",
    "level_counts",
    "pair_threshold_counts",
    "pairs_of_images",
    "threshold_counts",
    "unit_peaks",
    "unit_statistics",
]

MOST_VALUES = 1 << 26  # of one layer, held to find its levels
SORTED_AT_ONCE = 1 << 22  # of these


@dataclass(frozen=True)
class UnitStatistics:
    """Of the units of one layer.

    Attributes
    ----------
    threshold : Tensor (u,)
        Their upper quantile, float64.
    samples, peaks : Tensor (u, k)
        The samples with the highest activation anywhere, and that activation, falling.
    """

    threshold: Tensor
    samples: Tensor
    peaks: Tensor


def unit_statistics(
    generator: Generator,
    latents: Tensor,
    layers: Sequence[str],
    *,
    tail: float = 0.005,
    n_top: int = 8,
    progress: bool = False,
) -> dict[str, UnitStatistics]:
    """Exact upper quantile of each unit over all positions and samples, and its top-activating samples, by layer.

    Parameters
    ----------
    tail : float in (0, 1)
        Share of a unit's values above its threshold: 0.005 is the classic of network dissection.
    n_top : int
        Samples kept a unit, by their highest activation.
    """
    quantiles = {layer: UnitQuantiles(len(latents), tail) for layer in layers}
    tops = {layer: TopSamples(n_top) for layer in layers}
    for outputs in recorded_batches(generator, latents, layers, "units", progress):
        for layer in layers:
            quantiles[layer].update(outputs[layer])
            tops[layer].update(outputs[layer])
    return {
        layer: UnitStatistics(
            quantiles[layer].quantile(1 - tail).cpu(), tops[layer].samples.cpu(), tops[layer].values.cpu()
        )
        for layer in layers
    }


def candidate_levels(
    generator: Generator, latents: Tensor, layers: Sequence[str], *, progress: bool = False
) -> dict[str, Tensor]:
    """Quantiles of each unit at `TAIL_FRACTIONS`, (u, 100) rising, by layer.

    Of so many of the samples, from the first, as can be held: the levels are places to look, not results.
    """
    found = {}
    with torch.no_grad(), record(generator.module, list(layers), stop=True) as outputs:
        generator.run(generator.checked_latents(latents[:1]))
    for layer in with_progress(layers, "levels to try as thresholds", len(layers), show=progress):
        n_units, size = outputs[layer].shape[1], outputs[layer][0, 0].numel()
        n = max(1, min(len(latents), MOST_VALUES // (n_units * size)))
        values, filled = torch.empty(n_units, n * size), 0
        for batch in recorded_batches(generator, latents[:n], [layer], "levels"):
            maps = batch[layer].transpose(0, 1).flatten(1)
            values[:, filled : filled + maps.shape[1]] = maps
            filled += maps.shape[1]
        units = values.split(max(1, SORTED_AT_ONCE // values.shape[1]))
        found[layer] = torch.cat([_at_fractions(rows) for rows in units])
    return found


def _at_fractions(values: Tensor) -> Tensor:
    """Quantiles of each row, interpolated linearly, at 1 less each tail fraction."""
    rising = values.sort(dim=1).values
    position = (1 - torch.tensor(TAIL_FRACTIONS, dtype=torch.float64)) * (values.shape[1] - 1)
    below = position.floor().long()
    above = (below + 1).clamp(max=values.shape[1] - 1)
    return torch.lerp(rising[:, below].double(), rising[:, above].double(), position - below)


def threshold_counts(
    generator: Generator,
    latents: Tensor,
    masks: Tensor,
    thresholds: Mapping[str, Tensor],
    places: Tensor | None = None,
    partners: Tensor | None = None,
    *,
    progress: bool = False,
) -> dict[str, Counts]:
    """`count_at` of all samples, by layer; `masks` are those of the same samples, (n, c, h, w).

    `partners` (n_shuffles, n) say whose masks go with each sample's activations in `Chance`.
    """
    batches = _beside(generator, latents, masks, list(thresholds), "agreement", progress)
    return _summed(batches, thresholds, partial(count_at, places=places), _others(masks, places, partners))


def level_counts(
    generator: Generator,
    latents: Tensor,
    masks: Tensor,
    levels: Mapping[str, Tensor],
    places: Tensor | None = None,
    *,
    progress: bool = False,
) -> dict[str, Counts]:
    """`count_at_levels` of all samples, by layer."""
    batches = _beside(generator, latents, masks, list(levels), "agreement at all levels", progress)
    return _summed(batches, levels, partial(count_at_levels, places=places), None)


def pair_threshold_counts(
    generator: Generator,
    latents: Tensor,
    masks: Tensor,
    thresholds: Mapping[str, Tensor],
    places: Tensor | None = None,
    partners: Tensor | None = None,
    *,
    progress: bool = False,
) -> dict[str, Counts]:
    """`count_at_pairs` of all samples, by layer; `partners` as in `threshold_counts`."""
    batches = _beside(generator, latents, masks, list(thresholds), "agreement of pairs", progress)
    return _summed(batches, thresholds, partial(count_at_pairs, places=places), _others(masks, places, partners))


def _others(masks: Tensor, places: Tensor | None, partners: Tensor | None) -> Callable[[slice], Tensor] | None:
    """The masks of the partners of some samples, (n_shuffles, n, c, p)."""
    if partners is None:
        return None
    flat = pixels_at(masks, places)
    return lambda rows: flat[partners[:, rows]]


def _summed(
    batches: Iterator[tuple[dict[str, Tensor], Tensor]],
    thresholds: Mapping[str, Tensor],
    count: Callable[..., Counts],
    others: Callable[[slice], Tensor] | None,
) -> dict[str, Counts]:
    """Counts of all batches of maps and masks, by layer."""
    found: dict[str, Counts] = {}
    start = 0
    for maps, masks in batches:
        beside = {} if others is None else {"others": others(slice(start, start + len(masks)))}
        start += len(masks)
        for layer, values in thresholds.items():
            counts = count(maps[layer], masks, values, **beside)
            found[layer] = found[layer] + counts if layer in found else counts
    return found


def pairs_of_images(
    generator: Generator,
    latents: Tensor,
    masks: Tensor,
    concepts: Mapping[str, Tensor],
    thresholds: Mapping[str, Tensor],
    places: Tensor | None = None,
    *,
    progress: bool = False,
) -> dict[str, NDArray[np.int64]]:
    """`pair_counts` of all samples, (n, u, 2), by layer: one concept (u,) and threshold (u,) a unit."""
    parts: dict[str, list[NDArray[np.int64]]] = {layer: [] for layer in concepts}
    for maps, part in _beside(generator, latents, masks, list(concepts), "agreement by image", progress):
        for layer in concepts:
            parts[layer].append(pair_counts(maps[layer], part, concepts[layer], thresholds[layer], places))
    return {layer: np.concatenate(values) for layer, values in parts.items()}


def unit_peaks(
    generator: Generator, latents: Tensor, layers: Sequence[str], *, progress: bool = False
) -> dict[str, Tensor]:
    """The highest activation of each unit in each sample, (n, u), by layer."""
    parts: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    for outputs in recorded_batches(generator, latents, layers, "peaks", progress):
        for layer in layers:
            parts[layer].append(outputs[layer].flatten(2).amax(2).cpu())
    return {layer: torch.cat(values) for layer, values in parts.items()}


def _beside(
    generator: Generator, latents: Tensor, masks: Tensor, layers: Sequence[str], what: str, progress: bool
) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
    """Yield each batch's feature maps by layer, on the CPU, beside its masks."""
    if len(masks) != len(latents):
        raise ValueError(f"There are {len(masks)} masks for {len(latents)} samples; give those of the same samples.")
    batches = recorded_batches(generator, latents, layers, what, progress)
    for outputs, part in zip(batches, masks.split(generator.batch_size), strict=True):
        yield {layer: outputs[layer].cpu() for layer in layers}, part
