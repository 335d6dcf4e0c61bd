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

from diffusion.frequency_bands import CutoffUnit, axis_frequencies, low_weights, radius

__all__ = ["Band", "low_change"]


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
        ``[..., height, width]`` float32 or float64.
    band
        Which frequencies P keeps.
    change
        Gain - 1, a number or a 0-d tensor.
    mean_change
        In place of `change`, for the mean of each map (frequency 0).
    """
    height, width = x.shape[-2:]
    basis = _basis(height, width, band, x.dtype, x.device)
    if basis is None:
        return _low_change_by_fft(x, band, change, mean_change)
    across, down, weights = basis
    amounts = weights * change
    if mean_change is not None:
        amounts = torch.cat([weights[:1] * mean_change, amounts[1:]])
    rows = x.reshape(-1, width) @ across.T
    coefficients = rows.view(-1, height * len(across)) @ down
    rows = (coefficients * amounts) @ down.T
    return (rows.view(-1, len(across)) @ across).view(x.shape)


@lru_cache(maxsize=64)
def _basis(
    height: int, width: int, band: Band, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor, Tensor] | None:
    """``across`` [m, width], ``down`` [height * m, n] and weights [n], frequency 0 first; None where an FFT is better.

    Coefficient k of a map is the product of row j(k) of the axis down and row i(k) of the axis across.
    """
    with torch.inference_mode(False), torch.no_grad():
        edge = band.cutoff + band.transition / 2
        rows, row_frequencies = _axis_basis(height, edge, band.unit)
        columns, column_frequencies = _axis_basis(width, edge, band.unit)
        weights = low_weights(
            torch.hypot(row_frequencies[:, None], column_frequencies[None]), band.cutoff, band.transition
        )
        kept = weights.nonzero()
        if len(kept) > height * width / 2:
            return None
        down = torch.zeros(height, len(columns), len(kept), dtype=torch.float64)
        for k, (i, j) in enumerate(kept.tolist()):
            down[:, j, k] = rows[i]
        down = down.view(height * len(columns), len(kept))
        return tuple(  # type: ignore[return-value]
            part.to(device, dtype).contiguous() for part in (columns, down, weights[kept[:, 0], kept[:, 1]])
        )


def _axis_basis(size: int, edge: float, unit: CutoffUnit) -> tuple[Tensor, Tensor]:
    """Orthonormal cosines and sines below the edge, ``[m, size]``, the constant first, and their frequencies."""
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


def _low_change_by_fft(x: Tensor, band: Band, change: Tensor | float, mean_change: Tensor | float | None) -> Tensor:
    height, width = x.shape[-2:]
    amounts = _fft_weights(height, width, band, x.dtype, x.device) * change
    if mean_change is not None:
        first = torch.zeros_like(amounts)
        first[0, 0] = 1
        amounts = torch.where(first > 0, torch.as_tensor(mean_change, dtype=x.dtype, device=x.device), amounts)
    return torch.fft.irfft2(torch.fft.rfft2(x) * amounts, s=(height, width))


@lru_cache(maxsize=64)
def _fft_weights(height: int, width: int, band: Band, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False), torch.no_grad():
        return low_weights(radius(height, width, band.unit), band.cutoff, band.transition).to(device, dtype)
