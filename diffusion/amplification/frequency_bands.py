"""Which frequencies of a feature map belong to a band: cutoffs, smooth edges, shares of the spectrum."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

__all__ = ["CutoffUnit", "axis_frequencies", "band_share", "check_band", "low_weights", "radius"]

CutoffUnit = Literal["bins", "nyquist"]


def check_band(cutoff: float, unit: str, transition: float) -> None:
    """Raise ValueError unless a band is one: ``cutoff > 0``, ``transition >= 0``, a known unit."""
    if unit not in get_args(CutoffUnit):
        raise ValueError(f"cutoff_unit is {unit!r}; accepted are {get_args(CutoffUnit)}; choose one.")
    if not (math.isfinite(cutoff) and cutoff > 0):
        raise ValueError(f"cutoff is {cutoff}, but a finite number above 0 is needed; 1 bin holds the mean alone.")
    if not (math.isfinite(transition) and transition >= 0):
        raise ValueError(f"transition is {transition}, but a finite number from 0 on is needed; 0 is a hard edge.")


def axis_frequencies(size: int, unit: CutoffUnit = "bins") -> Tensor:
    """Signed frequency of each FFT bin of one axis, ``(size,)`` float64: in bins, or as a share of Nyquist (-1..1)."""
    bins = torch.fft.fftfreq(size, 1 / size, dtype=torch.float64)
    return bins if unit == "bins" else bins / (size / 2)


def radius(height: int, width: int, unit: CutoffUnit = "bins") -> Tensor:
    """Distance of each FFT bin from the mean's, ``[height, width // 2 + 1]`` float64, laid out as ``rfft2`` does.

    In bins the band of a map that is not square is a disc, as published; as a share of Nyquist it is an ellipse, the
    same physical band on both axes.
    """
    across = axis_frequencies(width, unit)[: width // 2 + 1].abs()
    return torch.hypot(axis_frequencies(height, unit)[:, None], across[None])


def low_weights(distance: Tensor, cutoff: float, transition: float = 0.0) -> Tensor:
    """How far each frequency belongs to the low band: 1 below the cutoff (strictly), 0 above, a raised cosine between.

    With ``transition = 0`` the edge is hard, as published; else the weight falls from 1 at ``cutoff - transition / 2``
    to 0 at ``cutoff + transition / 2``, which rings less.
    """
    if transition == 0:
        return (distance < cutoff).to(distance.dtype)
    position = ((distance - cutoff) / transition + 0.5).clamp(0, 1)
    return 0.5 * (1 + torch.cos(math.pi * position))


def band_share(height: int, width: int, cutoff: float, unit: CutoffUnit = "bins") -> float:
    """Share of all FFT bins of a map that lie below the cutoff, in 0..1.

    Examples
    --------
    >>> round(band_share(16, 16, 5), 3), round(band_share(16, 16, 10), 3)
    (0.27, 0.965)
    """
    full = torch.hypot(axis_frequencies(height, unit)[:, None], axis_frequencies(width, unit)[None])
    return float((full < cutoff).double().mean())
