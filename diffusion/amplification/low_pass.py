"""The low frequencies of feature maps by a real projection of low rank: no complex numbers, no Fourier transform.

A map's low band is spanned by few products of cosines and sines along its two axes, so ``P x`` is four plain matrix
products, whose matrices are kept by size, band, dtype and device. They are differentiable and compile into any graph.
Where the band holds most of the map, a real two-axis FFT is less work.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from genmend.diffusion.amplification.frequency_bands import CutoffUnit, axis_frequencies, low_weights, radius

__all__ = ["Band", "low_change", "published_change", "with_low_change"]


@dataclass(frozen=True)
class Band:
    """A low band: everything below `cutoff`, in bins or as a share of Nyquist; see `frequency_bands.low_weights`."""

    cutoff: float
    unit: CutoffUnit = "bins"
    transition: float = 0.0


def low_change(x: Tensor, band: Band, change: Tensor | float, mean_change: Tensor | float | None = None) -> Tensor:
    """Return ``change * P x``, what amplifying the low band by ``1 + change`` adds to the maps.

    Parameters
    ----------
    x
        ``(..., height, width)`` float32 or float64. Of a map that is not finite nothing is returned: 0.
    band
        Which frequencies P keeps.
    change
        Gain - 1, a number or a 0-d tensor.
    mean_change
        In place of `change`, for the mean of each map (frequency 0).
    """
    return _plus_low(None, x, band, change, mean_change)


def with_low_change(x: Tensor, band: Band, change: Tensor | float, mean_change: Tensor | float | None = None) -> Tensor:
    """Return ``x + low_change(x, ...)``, with one pass over the maps less."""
    return _plus_low(x, x, band, change, mean_change)


def _plus_low(
    base: Tensor | None, x: Tensor, band: Band, change: Tensor | float, mean_change: Tensor | float | None
) -> Tensor:
    height, width = x.shape[-2:]
    matrices = _constant(height, width, band.cutoff, band.unit, band.transition, x.dtype, x.device)
    if isinstance(matrices, Tensor):
        amounts = _with_mean(matrices * change, mean_change)
        spectrum = torch.fft.rfft2(x)
        low = torch.fft.irfft2(torch.where(torch.isfinite(spectrum), spectrum, 0) * amounts, s=(height, width))
        return low if base is None else base + low
    across, down, weights = matrices
    amounts = _with_mean(weights * change, mean_change)
    rows = x.reshape(-1, width) @ across.T
    coefficients = rows.view(-1, height * len(across)) @ down
    rows = (torch.where(torch.isfinite(coefficients), coefficients, 0) * amounts) @ down.T
    rows = rows.view(-1, len(across))
    low = rows @ across if base is None else torch.addmm(base.reshape(-1, width), rows, across)
    return low.view(x.shape)


def _with_mean(amounts: Tensor, mean_change: Tensor | float | None) -> Tensor:
    """Put another amount in the first place, that of frequency 0."""
    if mean_change is None:
        return amounts
    flat = amounts.flatten()
    first = torch.as_tensor(mean_change, dtype=flat.dtype, device=flat.device).reshape(1)
    return torch.cat([first, flat[1:]]).view(amounts.shape)


Matrices = tuple[Tensor, Tensor, Tensor] | Tensor


@torch.compiler.assume_constant_result  # a compiled graph holds the matrices; it does not build them
def _constant(
    height: int,
    width: int,
    cutoff: float,
    unit: CutoffUnit,
    transition: float,
    dtype: torch.dtype,
    device: torch.device,
) -> Matrices:
    return _matrices(height, width, Band(cutoff, unit, transition), dtype, device)


@lru_cache(maxsize=64)
def _matrices(height: int, width: int, band: Band, dtype: torch.dtype, device: torch.device) -> Matrices:
    """Return ``across`` (m, width), ``down`` (height * m, n) and weights (n,), frequency 0 first.

    Coefficient k of a map is the product of row j(k) of the axis down and row i(k) of the axis across. Where there are
    more of them than half the map has pixels: the weights of all bins alone, as ``rfft2`` lays them out.
    """
    with torch.inference_mode(False), torch.no_grad():
        edge = band.cutoff + band.transition / 2
        rows, row_frequencies = _axis_basis(height, edge, band.unit)
        columns, column_frequencies = _axis_basis(width, edge, band.unit)
        distances = torch.hypot(row_frequencies[:, None], column_frequencies[None])
        weights = low_weights(distances, band.cutoff, band.transition)
        kept = weights.nonzero()
        if len(kept) > height * width / 2:
            return low_weights(radius(height, width, band.unit), band.cutoff, band.transition).to(device, dtype)
        down = torch.zeros(height, len(columns), len(kept), dtype=torch.float64)
        for k, (i, j) in enumerate(kept.tolist()):
            down[:, j, k] = rows[i]
        down = down.view(height * len(columns), len(kept))
        across, down, weights = (
            part.to(device, dtype).contiguous() for part in (columns, down, weights[kept[:, 0], kept[:, 1]])
        )
        return across, down, weights


def _axis_basis(size: int, edge: float, unit: CutoffUnit) -> tuple[Tensor, Tensor]:
    """Orthonormal cosines and sines below the edge, ``(m, size)``, the constant first, and their frequencies."""
    places = torch.arange(size, dtype=torch.float64)
    rows, frequencies = [], []
    for u, frequency in enumerate(axis_frequencies(size, unit)[: size // 2 + 1].abs().tolist()):
        if frequency >= edge:
            break
        angle = 2 * math.pi * u / size * places
        alone = u == 0 or 2 * u == size  # their sine is 0 everywhere
        waves = [torch.cos(angle)] if alone else [torch.cos(angle), torch.sin(angle)]
        rows += [wave / wave.norm() for wave in waves]
        frequencies += [frequency] * len(waves)
    return torch.stack(rows), torch.tensor(frequencies, dtype=torch.float64)


def published_change(x: Tensor, cutoff: float, change: Tensor | float) -> Tensor:
    """Return what the published operator adds to maps ``(..., height, width)``, for gain ``1 + change``.

    The transform over batch and channels is left out: it cancels, since the mask does not depend on them.
    """
    height, width = x.shape[-2:]
    down = torch.arange(height, device=x.device) - (height + 1) // 2
    across = torch.arange(width, device=x.device) - (width + 1) // 2
    mask = (torch.hypot(down[:, None].double(), across[None].double()) < cutoff).to(x.dtype)
    return torch.fft.ifft2(torch.fft.fft2(x) * torch.fft.ifftshift(mask) * change).real.contiguous()
