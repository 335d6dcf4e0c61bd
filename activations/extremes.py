"""Streaming extremes of units: upper quantiles, exact while they fit in memory, and the samples that excite most."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from genmend.activations.bucket_counts import WIDTH, BucketCounts
from genmend.activations.statistics import check_shape, checked_batch

__all__ = ["TopSamples", "UnitQuantiles"]

GROUP = 8  # samples whose values are first looked at together
MOST_VALUES = 1 << 26


class UnitQuantiles:
    """Upper quantiles of each unit over all samples and positions: exact, or by counts where too much would be held.

    The upper quantiles of ``n`` values depend only on the ``ceil((n - 1) * tail) + 1`` largest. The statistic keeps
    these, and a few batches of candidates above the smallest of them. Where these are more than `most_values` for all
    units together, values are counted in buckets instead (`activations.bucket_counts`): a quantile is then off by less
    than 1/128 of itself, `error`.

    Parameters
    ----------
    samples
        How many samples will come, or an upper bound: the memory is ``O(units * positions * samples * tail)`` for the
        bound. More samples are refused, because the result would no longer be exact.
    tail
        The largest tail fraction that will be asked for, in (0, 1]: 0.01 allows ``quantile(q)`` for q from 0.99 to 1.
    most_values
        Values kept of all units together, 4 bytes each and up to three times as many for a moment. 0 always counts.

    Attributes
    ----------
    count : int
        Samples seen.

    Examples
    --------
    >>> quantiles = UnitQuantiles(samples=5, tail=0.5)
    >>> quantiles.update(torch.tensor([[0.0], [1.0], [2.0]]))
    >>> quantiles.update(torch.tensor([[3.0], [4.0]]))
    >>> quantiles.quantile(0.75)
    tensor([3.], dtype=torch.float64)
    """

    def __init__(self, samples: int, tail: float = 0.01, *, most_values: int = MOST_VALUES) -> None:
        if samples < 1:
            raise ValueError(f"samples is {samples}, but at least 1 is needed; give the number of samples, or a bound.")
        if not 0 < tail <= 1:
            raise ValueError(f"tail is {tail}, but a fraction in (0, 1] is needed; for the 99 % quantile give 0.01.")
        self.samples = samples
        self.tail = tail
        self.most_values = most_values
        self.count = 0
        self._buckets: BucketCounts | None = None
        self._shape: torch.Size | None = None
        self._parts: list[Tensor] = []  # (units, some) each: the kept values first, then candidates
        self._floor: Tensor | None = None  # (units,): the smallest value kept once there are enough

    @torch.no_grad()
    def update(self, batch: Tensor) -> None:
        """Take a batch, shape ``(n, units, ...)``."""
        if self._floor is None or not len(batch):
            batch = checked_batch(batch, self)
            self._admit(batch.shape[1:], len(batch))
            if not len(batch):
                return
            if self.error:
                if self._buckets is None:
                    self._buckets = BucketCounts(batch.shape[1], batch.device)
                self._buckets.add(batch.reshape(*batch.shape[:2], -1))
                return
            values = batch.transpose(0, 1).flatten(1)
            candidates = values.topk(min(self._kept(), values.shape[1]), dim=1, sorted=False).values
        else:
            batch = checked_batch(batch, self, for_nan=False)
            maps = batch.reshape(*batch.shape[:2], -1)  # one position where an output has none
            peaks = _group_peaks(maps)
            if peaks.amax().isnan():  # the largest of values of which one is NaN is NaN
                checked_batch(batch, self)
            self._admit(batch.shape[1:], len(batch))
            candidates = _above(maps, peaks, self._floor)
        self._parts.append(candidates)
        self._shrink()

    @torch.no_grad()
    def merge(self, other: UnitQuantiles) -> None:
        """Take over what another part of the same samples has seen; both were built with the same arguments."""
        if (self.samples, self.tail, self.most_values) != (other.samples, other.tail, other.most_values):
            raise ValueError(
                f"merge got samples={other.samples}, tail={other.tail}, most_values={other.most_values} into "
                f"samples={self.samples}, tail={self.tail}, most_values={self.most_values}; "
                "both must be the same; build every part with the total number of samples."
            )
        if other._shape is None:
            return
        self._admit(other._shape, other.count)
        if other._buckets is not None:
            if self._buckets is None:
                self._buckets = BucketCounts(other._shape[0], other._buckets.counts.device)
            self._buckets.merge(other._buckets)
            return
        device = self._parts[0].device if self._parts else None
        self._parts += [part.to(device) for part in other._parts]
        self._shrink()

    def quantile(self, q: float | Sequence[float]) -> Tensor:
        """Return quantiles, interpolated linearly between neighbours as ``numpy.quantile`` does.

        Parameters
        ----------
        q
            One level or several, in ``[1 - tail, 1]``; higher is further up.

        Returns
        -------
        Tensor
            ``(units,)``, or ``(len(q), units)`` for several; float64.

        Raises
        ------
        ValueError
            If a level lies outside, or no sample has been seen.
        """
        if not isinstance(q, int | float):
            return torch.stack([self.quantile(level) for level in q])
        lowest = 1 - self.tail
        if not lowest - 1e-12 <= q <= 1:
            raise ValueError(f"q is {q}, but this statistic keeps [{lowest:g}, 1] only; build it with tail={1 - q:g}.")
        if not (self._parts or self._buckets) or self._shape is None:
            raise ValueError("UnitQuantiles has seen no sample, and at least one is needed; call update(batch) first.")
        total = self.count * math.prod(self._shape[1:])
        position = q * (total - 1)
        below = math.floor(position)
        if self._buckets is not None:
            start, end = (self._buckets.value_at(rank) for rank in (below, math.ceil(position)))
            return torch.lerp(start, end, position - below)
        largest = torch.cat(self._parts, 1).topk(total - below, dim=1, sorted=False).values
        lower = largest.topk(min(2, total - below), dim=1, largest=False).values.double()
        return torch.lerp(lower[:, 0], lower[:, -1], position - below)

    @property
    def error(self) -> float:
        """What a quantile is off by at most, relative to itself: 0 where they are exact."""
        if self._shape is None:
            return 0.0
        return WIDTH if self._kept() * self._shape[0] > self.most_values else 0.0

    def _admit(self, shape: torch.Size, count: int) -> None:
        if self.count + count > self.samples:
            raise ValueError(
                f"UnitQuantiles was built for {self.samples} samples and has now been given {self.count + count}; "
                "build it with the total number, or an upper bound."
            )
        check_shape(self, self._shape or shape, shape)
        self._shape = shape
        self.count += count

    def _kept(self) -> int:
        assert self._shape is not None
        total = self.samples * math.prod(self._shape[1:])
        # One more than the formula, against the rounding of tail * total.
        return min(total, math.ceil((total - 1) * self.tail) + 2)

    def _shrink(self) -> None:
        """Drop what is surely too small once twice as much is held as needed; the first time, once enough is held."""
        enough = self._kept() * (1 if self._floor is None else 2)
        if sum(part.shape[1] for part in self._parts) < enough:
            return
        kept = torch.cat(self._parts, 1).topk(self._kept(), dim=1, sorted=False).values
        self._parts = [kept]
        self._floor = kept.amin(1)


def _group_peaks(batch: Tensor) -> Tensor:
    """The largest value of every neuron within each group of `GROUP` samples, ``(units, groups, positions)``.

    Few groups reach a unit's floor, and this reduction, along whole rows of memory, is the quickest way to tell which.
    """
    return torch.stack([part.amax(0) for part in batch.split(GROUP)], 1)


def _above(batch: Tensor, peaks: Tensor, floor: Tensor) -> Tensor:
    """Return the values of each unit above its floor, ``(units, most)``, filled up with the lowest value there is.

    `batch` is ``(n, units, positions)``, `peaks` what `_group_peaks` makes of it, `floor` ``(units,)``.
    """
    n, n_units, n_positions = batch.shape
    n_groups, sample = peaks.shape[1], n_units * n_positions
    hits = (peaks > floor[:, None, None]).flatten().nonzero()[:, 0]
    units = hits.div(n_groups * n_positions, rounding_mode="floor")
    places = hits - units * (n_groups * n_positions)
    groups = places.div(n_positions, rounding_mode="floor")
    first = groups * (GROUP * sample) + units * n_positions + (places - groups * n_positions)
    steps = torch.arange(GROUP, device=batch.device)
    # The last group may be short: what would lie behind the batch is masked.
    there = groups[:, None] * GROUP + steps < n
    values = batch.flatten().take((first[:, None] + steps * sample).clamp(max=n * sample - 1))
    chosen = ((values > floor.take(units)[:, None]) & there).flatten().nonzero()[:, 0]
    units = units.take(chosen.div(GROUP, rounding_mode="floor"))
    counts = units.bincount(minlength=n_units)
    most = int(counts.max())
    # nonzero() goes unit by unit, so the place within its row is the place in the list less what earlier units take.
    shift = torch.arange(n_units, device=batch.device) * most - (counts.cumsum(0) - counts)
    above = batch.new_full((n_units * most,), -torch.inf)
    above[torch.arange(len(units), device=batch.device) + shift.take(units)] = values.flatten().take(chosen)
    return above.view(n_units, most)


class TopSamples:
    """For each unit the samples in which its highest activation over all positions is greatest.

    Parameters
    ----------
    k
        Samples kept per unit.
    first_sample
        Index of the first sample that will come; parts of a run that are merged later continue each other's numbers.

    Attributes
    ----------
    count : int
        Samples seen.

    Examples
    --------
    >>> top = TopSamples(2)
    >>> top.update(torch.tensor([[1.0], [5.0], [3.0]]))
    >>> top.values, top.samples
    (tensor([[5., 3.]]), tensor([[1, 2]]))
    """

    def __init__(self, k: int, first_sample: int = 0) -> None:
        if k < 1:
            raise ValueError(f"k is {k}, but at least 1 sample must be kept per unit; give a positive number.")
        self.k = k
        self.count = 0
        self._first = first_sample
        self._values: Tensor | None = None
        self._samples: Tensor | None = None

    @torch.no_grad()
    def update(self, batch: Tensor) -> None:
        """Take a batch, shape ``(n, units, ...)``; its samples are numbered on from those before."""
        batch = checked_batch(batch, self, for_nan=False)
        if not len(batch):
            return
        peaks = batch.flatten(2).amax(2) if batch.dim() > 2 else batch
        if peaks.isnan().any():
            checked_batch(batch, self)
        numbers = torch.arange(len(batch), device=batch.device) + (self._first + self.count)
        self._add(peaks.T, numbers.expand(peaks.shape[1], -1))
        self.count += len(batch)

    @torch.no_grad()
    def merge(self, other: TopSamples) -> None:
        """Take over what another part of the same run has seen."""
        if other.k != self.k:
            raise ValueError(f"merge got k={other.k} into k={self.k}; both must be the same; rebuild one of them.")
        if other._values is not None and other._samples is not None:
            self._add(other._values, other._samples)
            self.count += other.count

    def _add(self, values: Tensor, samples: Tensor) -> None:
        if self._values is not None and self._samples is not None:
            check_shape(self, self._values.shape[:1], values.shape[:1])
            device = self._values.device
            values = torch.cat([self._values, values.to(device)], 1)
            samples = torch.cat([self._samples, samples.to(device)], 1)
        # By value, and of equal values the earlier sample first, whatever order the batches came in.
        samples, order = samples.sort(dim=1)
        values, best = values.gather(1, order).sort(dim=1, descending=True, stable=True)
        self._values = values[:, : self.k].clone()
        self._samples = samples.gather(1, best)[:, : self.k].clone()

    @property
    def values(self) -> Tensor:
        """Highest activations, falling; ``(units, min(k, count))``."""
        if self._values is None:
            raise ValueError("TopSamples has seen no sample, and at least one is needed; call update(batch) first.")
        return self._values

    @property
    def samples(self) -> Tensor:
        """Indices of the samples that `values` come from, the earlier first where values are equal; int64."""
        if self._samples is None:
            raise ValueError("TopSamples has seen no sample, and at least one is needed; call update(batch) first.")
        return self._samples
