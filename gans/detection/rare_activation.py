"""Rarely active neurons: a detector of artifacts that needs no label, and the neurons to switch off.

Source: Choi, Chang, Choi, "Can we find neurons that cause unrealistic images in deep generative networks?", IJCAI 2022,
arXiv 2201.06346. The counting rule is the paper's code; the standardisation per layer is ours: without it the largest
layer decides alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from torch.nn import functional

from genmend.activations import ActivationRate
from genmend.gans.generator import Generator, measured_layers, recorded_batches
from genmend.gans.generator_layers import checked_layers
from genmend.gans.image_features import Watching, image_features

__all__ = ["RareActivation", "RareCounts", "ablated_share", "activation_rates", "check_rate"]


class RareActivation(BaseEstimator):
    """Score samples by how many rarely active neurons are active in them.

    Parameters
    ----------
    rate : float in (0, 1]
        A neuron is rare if it is positive in a share of samples in (0, rate]; those that never are count nowhere.
    layers : sequence of str, optional
        Dotted layer names; where None `measured_layers` of the generator: all of its own, or of a large model the
        early ones.

    Attributes
    ----------
    rates_ : dict layer -> Tensor (c, h, w) float64
        Share of samples in which the neuron is positive.
    n_samples_ : int
        Behind the rates.
    count_mean_, count_std_ : dict layer -> float
        Of the number of active rare neurons a sample has.
    """

    def __init__(self, rate: float = 0.1, layers: Sequence[str] | None = None) -> None:
        self.rate = rate
        self.layers = layers

    def fit(self, generator: Generator, latents: Tensor, *, progress: bool = False) -> Self:
        """Measure rates on all latents, then the distribution of the counts on the same latents.

        Of a large model (`Generator.is_large`) the counts are taken on the first tenth of them.

        Raises
        ------
        ValueError
            If there are fewer than 2 latents or no layers, or `rate` is outside (0, 1].
        """
        checked = generator.checked_latents(latents)
        self.measure_rates(generator, checked, progress=progress)
        counted = checked[: max(2, -(-len(checked) // 10))] if generator.is_large else checked
        return self.scale_by(self.counts(generator, counted, progress=progress))

    def measure_rates(self, generator: Generator, latents: Tensor, *, progress: bool = False) -> Self:
        """Measure the rates alone; `scale_by` is to follow before samples are scored. It raises what `fit` does."""
        if len(latents) < 2:
            raise ValueError(f"RareActivation needs at least 2 latents to learn from, got {len(latents)}.")
        check_rate(self.rate)  # before the long part
        layers = measured_layers(generator) if self.layers is None else checked_layers(generator, self.layers)
        self.rates_ = activation_rates(generator, latents, layers, progress=progress)
        self.n_samples_ = len(latents)
        return self

    def scale_by(self, counts: Mapping[str, NDArray[np.float64]]) -> Self:
        """Take these counts, (n,) by layer, for the distribution that others are standardised by."""
        self.count_mean_ = {layer: float(values.mean()) for layer, values in counts.items()}
        self.count_std_ = {layer: float(values.std()) for layer, values in counts.items()}
        return self

    def standardised(self, counts: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """Counts (n,) of each layer, in standard deviations from the mean: (n, n_layers)."""
        # A layer whose count never varies says nothing: its column is 0 for every count equal to the constant.
        return np.stack(
            [(values - self.count_mean_[layer]) / (self.count_std_[layer] or 1.0) for layer, values in counts.items()],
            axis=1,
        )

    def masks(self, rate: float | None = None, layers: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Boolean masks (c, h, w) of the neurons with 0 < activation rate <= `rate`, by layer.

        Raises
        ------
        ValueError
            If `rate` is outside (0, 1], or a layer was not measured.
        """
        check_is_fitted(self, "rates_")
        rate = self.rate if rate is None else rate
        check_rate(rate)
        unknown = [layer for layer in layers or () if layer not in self.rates_]
        if unknown:
            raise ValueError(f"No rates were measured in {unknown}; there are some for {list(self.rates_)}.")
        return {
            layer: (self.rates_[layer] > 0) & (self.rates_[layer] <= rate)
            for layer in (self.rates_ if layers is None else layers)
        }

    def counts(
        self, generator: Generator, latents: Tensor, *, progress: bool = False
    ) -> dict[str, NDArray[np.float64]]:
        """Number of active rare neurons of each sample, (n,), by layer."""
        return self.counts_at(generator, latents, (self.rate,), progress=progress)[self.rate]

    def counts_at(
        self, generator: Generator, latents: Tensor, rates: Sequence[float], *, progress: bool = False
    ) -> dict[float, dict[str, NDArray[np.float64]]]:
        """The counts at several rates in place of `rate`, from one pass: by rate, by layer, (n,)."""
        counting = RareCounts({rate: self.masks(rate) for rate in rates})
        for outputs in recorded_batches(generator, latents, tuple(self.rates_), "rare neurons", progress):
            counting.update(outputs)
        return counting.counts

    def measure(
        self,
        generator: Generator,
        latents: Tensor,
        extractor: Callable[[Tensor], Tensor],
        rates: Sequence[float] = (),
        *,
        progress: bool = False,
    ) -> tuple[NDArray[np.float32], dict[float, dict[str, NDArray[np.float64]]]]:
        """Features (n, d) of the samples' images by an extractor, and `counts_at`, from one pass for both."""
        counting = RareCounts({rate: self.masks(rate) for rate in rates or (self.rate,)})
        watching = Watching(layers=tuple(self.rates_), seen=counting.update)
        features = image_features(generator, latents, extractor, progress=progress, **watching)
        return features, counting.counts

    def standardised_counts(
        self, generator: Generator, latents: Tensor, *, progress: bool = False
    ) -> NDArray[np.float64]:
        """The counts of each layer, (n, n_layers), in standard deviations from the fitted samples' mean."""
        return self.standardised(self.counts(generator, latents, progress=progress))

    def score(self, generator: Generator, latents: Tensor, *, progress: bool = False) -> NDArray[np.float64]:
        """Sum of `standardised_counts` over the layers, (n,): mean 0 over those fitted on, higher = more broken."""
        return self.standardised_counts(generator, latents, progress=progress).sum(axis=1)


class RareCounts:
    """Counts active rare neurons in what layers put out, batch by batch.

    Parameters
    ----------
    masks : dict rate -> layer -> Tensor (c, h, w) bool
        As `RareActivation.masks` gives them.
    """

    def __init__(self, masks: Mapping[float, Mapping[str, Tensor]]) -> None:
        self._masks = masks
        # Numbers, not small tensors: kept between large passing ones those leave holes in memory that nothing fills.
        self._counts: dict[float, dict[str, list[int]]] = {
            rate: {layer: [] for layer in layers} for rate, layers in masks.items()
        }

    def update(self, outputs: Mapping[str, Tensor]) -> None:
        """Take the outputs (n, c, h, w) of a batch, by layer."""
        for layer, output in outputs.items():
            active = output > 0
            for rate, masks in self._masks.items():
                rare = active & masks[layer].to(output.device)
                self._counts[rate][layer] += rare.flatten(1).sum(1).tolist()

    @property
    def counts(self) -> dict[float, dict[str, NDArray[np.float64]]]:
        """Of all samples so far: by rate, by layer, (n,)."""
        return {
            rate: {layer: np.array(counts, dtype=np.float64) for layer, counts in layers.items()}
            for rate, layers in self._counts.items()
        }


def check_rate(rate: float) -> None:
    """Raise ValueError unless it is in (0, 1]."""
    if not 0 < rate <= 1:
        raise ValueError(f"rate is {rate}; give a share of samples in (0, 1], e.g. 0.1.")


def activation_rates(
    generator: Generator, latents: Tensor, layers: Sequence[str], *, progress: bool = False
) -> dict[str, Tensor]:
    """Share of samples in which each neuron is positive: (c, h, w) float64 by layer."""
    statistics = {layer: ActivationRate() for layer in layers}
    for outputs in recorded_batches(generator, latents, layers, "activation rates", progress):
        for layer, statistic in statistics.items():
            statistic.update(outputs[layer])
    return {layer: statistic.rate.cpu() for layer, statistic in statistics.items()}


def ablated_share(generator: Generator, latents: Tensor, masks: Mapping[str, Tensor], size: tuple[int, int]) -> Tensor:
    """Heat maps (n, height, width) in 0..1 of where the neurons of `masks` are active in each sample.

    Per layer the share of channels with an active masked neuron, upsampled bilinearly, averaged over the layers
    (arXiv 2201.06346, the mask of its figures). Maps of another number of axes are first averaged to two, or laid along
    the width; vectors are everywhere alike.
    """
    maps = []
    for outputs in recorded_batches(generator, latents, tuple(masks), "heat maps"):
        shares = [
            _as_plane(((outputs[layer] > 0) & mask.to(outputs[layer].device)).float().mean(1, keepdim=True))
            for layer, mask in masks.items()
        ]
        enlarged = [functional.interpolate(share, size=size, mode="bilinear", align_corners=False) for share in shares]
        maps.append(torch.stack(enlarged).mean(0)[:, 0].cpu())
    return torch.cat(maps)


def _as_plane(share: Tensor) -> Tensor:
    """(n, 1), (n, 1, l) or (n, 1, d, h, w) as (n, 1, h, w)."""
    if share.ndim == 5:
        return share.mean(2)
    return share.reshape(len(share), 1, *[1] * (4 - share.ndim), *share.shape[2:])
