"""Streaming statistics of activations: how often a neuron fires, and its mean and variance.

``update`` takes a batch and ``merge`` another statistic of the same kind. The result does not depend on how the samples
are cut into batches: counts are exact, sums equal up to float64 rounding.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

__all__ = ["ActivationRate", "MeanVariance", "check_shape", "checked_batch"]


def checked_batch(batch: Tensor, statistic: object, *, for_nan: bool = True) -> Tensor:
    """Return the batch cut from any gradient, after refusing what would spoil a statistic.

    The check for NaN reads the whole batch. A caller that would notice a NaN in its own result may turn it off.

    Raises
    ------
    ValueError
        If it is not ``(n, units, ...)``, or has a NaN (unless `for_nan` is off).
    """
    name = type(statistic).__name__
    if batch.dim() < 2:
        raise ValueError(f"{name} got shape {tuple(batch.shape)}, but (samples, units, ...) is needed; add an axis.")
    batch = batch.detach()
    if batch.device.type == "mps":  # has no float64
        batch = batch.cpu()
    if for_nan and batch.isnan().any():
        row = int(batch.flatten(1).isnan().any(1).nonzero()[0])
        raise ValueError(f"{name} got NaN in row {row} of a batch, but numbers are needed; find where they are lost.")
    return batch


def check_shape(statistic: object, before: torch.Size, now: torch.Size) -> None:
    """Raise ValueError unless both shapes are the same, because sums of different shapes could broadcast silently."""
    if before != now:
        raise ValueError(
            f"{type(statistic).__name__} got shape {tuple(now)} after {tuple(before)}, but samples must agree; "
            "use one statistic per layer and resolution."
        )


class ActivationRate:
    """The fraction of samples in which each neuron is active, that is, above zero.

    Attributes
    ----------
    count : int
        Samples seen.
    positive : Tensor
        Samples in which the neuron was above zero. Shape: one sample's, int64.

    Examples
    --------
    >>> rate = ActivationRate()
    >>> rate.update(torch.tensor([[1.0, 0.0], [2.0, -3.0]]))
    >>> rate.rate
    tensor([1., 0.], dtype=torch.float64)
    """

    def __init__(self) -> None:
        self.count = 0
        self._positive: Tensor | None = None

    @torch.no_grad()
    def update(self, batch: Tensor) -> None:
        """Take a batch, shape ``(n, ...)``."""
        batch = checked_batch(batch, self)
        self._add((batch > 0).sum(0), len(batch))

    def merge(self, other: ActivationRate) -> None:
        """Take over the samples that another rate has seen."""
        if other._positive is not None:
            self._add(other._positive, other.count)

    def _add(self, positive: Tensor, count: int) -> None:
        if self._positive is not None:
            check_shape(self, self._positive.shape, positive.shape)
        # Never in place: a first batch under torch.inference_mode would forbid it for all later ones.
        self._positive = positive if self._positive is None else self._positive + positive.to(self._positive.device)
        self.count += count

    @property
    def positive(self) -> Tensor:
        """Samples in which each neuron was above zero; int64."""
        if self._positive is None:
            raise _no_samples(self)
        return self._positive

    @property
    def rate(self) -> Tensor:
        """Fraction in [0, 1]; higher is more often active; float64, shape of one sample."""
        if not self.count:
            raise _no_samples(self)
        return self.positive.double() / self.count


class MeanVariance:
    """Mean and variance, per neuron or per unit.

    Source: Chan, Golub and LeVeque (1983), the pairwise update of sums of squared deviations.

    Parameters
    ----------
    per
        ``"neuron"``: over samples, result shaped like one sample; ``"unit"``: over samples and positions, result
        ``(units,)``.

    Attributes
    ----------
    count : int
        Values behind each mean: samples, or samples times positions.

    Examples
    --------
    >>> statistic = MeanVariance()
    >>> statistic.update(torch.tensor([[1.0], [3.0]]))
    >>> statistic.mean, statistic.variance
    (tensor([2.], dtype=torch.float64), tensor([1.], dtype=torch.float64))
    """

    def __init__(self, per: Literal["neuron", "unit"] = "neuron") -> None:
        if per not in ("neuron", "unit"):
            raise ValueError(f"per is {per!r}; accepted are 'neuron' and 'unit'; choose what one mean is taken over.")
        self.per = per
        self.count = 0
        self._mean: Tensor | None = None
        self._squares: Tensor | None = None

    @torch.no_grad()
    def update(self, batch: Tensor) -> None:
        """Take a batch, shape ``(n, units, ...)``."""
        batch = checked_batch(batch, self)
        values = batch.double()
        if self.per == "unit":  # (n, units, positions...) -> (n * positions, units)
            values = values.movedim(1, -1).flatten(0, -2)
        if not len(values):
            return
        mean = values.mean(0)
        self._add(mean, (values - mean).square().sum(0), len(values))

    def merge(self, other: MeanVariance) -> None:
        """Take over the samples that another statistic of the same kind has seen."""
        if other.per != self.per:
            raise ValueError(f"merge got per={other.per!r} into per={self.per!r}; they must be the same; rebuild one.")
        if other._mean is not None and other._squares is not None:
            self._add(other._mean, other._squares, other.count)

    def _add(self, mean: Tensor, squares: Tensor, count: int) -> None:
        if self._mean is None or self._squares is None:
            self._mean, self._squares, self.count = mean, squares, count
            return
        check_shape(self, self._mean.shape, mean.shape)
        mean, squares = mean.to(self._mean.device), squares.to(self._mean.device)
        total = self.count + count
        apart = mean - self._mean
        self._squares = self._squares + squares + apart.square() * (self.count * count / total)
        self._mean = self._mean + apart * (count / total)
        self.count = total

    @property
    def mean(self) -> Tensor:
        """Mean; float64."""
        if self._mean is None:
            raise _no_samples(self)
        return self._mean

    @property
    def variance(self) -> Tensor:
        """Population variance, the squared deviations divided by `count`; float64, at least 0."""
        if self._squares is None:
            raise _no_samples(self)
        return self._squares / self.count

    @property
    def std(self) -> Tensor:
        """Square root of `variance`; float64, in the unit of the activations."""
        return self.variance.sqrt()


def _no_samples(statistic: object) -> ValueError:
    return ValueError(f"{type(statistic).__name__} has seen no sample, but needs one; call update(batch) first.")
