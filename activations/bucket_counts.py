"""How many values of each unit fall into each of 65,536 buckets: quantiles of any number of values in fixed memory."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["WIDTH", "BucketCounts"]

WIDTH = 2.0**-7  # of a bucket, relative to its values: float32 without its last 16 bits has 7 bits after the point
_N_BUCKETS = 1 << 16
_VALUES_AT_ONCE = 1 << 22


class BucketCounts:
    """Counts of float32 values by their first 16 bits, for each unit; the sketch behind quantiles of large maps.

    A bucket's values differ by less than 1/128 of themselves (denormal ones aside), so a quantile that is read off
    the counts is off by less than that; its rank is exact up to the bucket. Memory: half a megabyte a unit.

    Parameters
    ----------
    n_units
        Rows of what is added.
    device
        Of the counts.
    """

    def __init__(self, n_units: int, device: torch.device | str = "cpu") -> None:
        with torch.inference_mode(False):  # else they could not be changed outside the mode
            self.counts = torch.zeros(n_units, _N_BUCKETS, dtype=torch.int64, device=device)
            self.least = torch.full((n_units,), torch.inf, device=device)
            self.most = -self.least

    def add(self, maps: Tensor) -> None:
        """Count the values of ``(n, units, positions)``, n at least 1 and none of them NaN."""
        n, n_units, n_positions = maps.shape
        at_once = max(1, _VALUES_AT_ONCE // (n * n_positions))
        for first in range(0, n_units, at_once):
            units = slice(first, min(first + at_once, n_units))
            values = maps[:, units].float()
            self.least[units] = torch.minimum(self.least[units], values.amin((0, 2)))
            self.most[units] = torch.maximum(self.most[units], values.amax((0, 2)))
            places = _buckets(values) + (torch.arange(values.shape[1], device=maps.device) * _N_BUCKETS)[:, None]
            found = places.flatten().bincount(minlength=values.shape[1] * _N_BUCKETS)
            self.counts[units] += found.view(-1, _N_BUCKETS)

    def merge(self, other: BucketCounts) -> None:
        """Add what another part of the same values has counted."""
        device = self.counts.device
        self.counts += other.counts.to(device)
        self.least.copy_(torch.minimum(self.least, other.least.to(device)))
        self.most.copy_(torch.maximum(self.most, other.most.to(device)))

    def value_at(self, rank: int) -> Tensor:
        """The value of this rank, 0 the least, of each unit; ``(units,)`` float64, off by less than `WIDTH` of it."""
        if rank in (0, int(self.counts[0].sum()) - 1):
            return (self.most if rank else self.least).double()
        below = self.counts.cumsum(1)
        bucket = torch.searchsorted(below, torch.full_like(below[:, :1], rank), right=True)
        inside = self.counts.gather(1, bucket)[:, 0]
        share = (rank - (below.gather(1, bucket)[:, 0] - inside) + 0.5) / inside
        low, high = (_value(bucket[:, 0], last).double() for last in (0, (1 << 16) - 1))
        value = torch.where(high.isfinite(), torch.lerp(low, high, share.double()), low)
        return torch.minimum(torch.maximum(value, self.least.double()), self.most.double())


def _buckets(values: Tensor) -> Tensor:
    """The first 16 bits as numbers from 0 that rise with the value; int64."""
    bits = (values + 0.0).contiguous().view(torch.int32).long()  # + 0.0 makes a zero of -0.0
    return ((bits ^ ((bits >> 31) & 0x7FFFFFFF)) >> 16) + _N_BUCKETS // 2


def _value(bucket: Tensor, last: int) -> Tensor:
    """The float32 with a bucket's first 16 bits in rising order, and these last ones."""
    rising = ((bucket - _N_BUCKETS // 2) << 16) + last
    bits = torch.where(rising < 0, rising ^ 0x7FFFFFFF, rising)
    return bits.to(torch.int32).view(torch.float32)
