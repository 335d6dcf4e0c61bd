"""What an amplified low band is compared with: the same gain on the whole spectrum, the high band, or a random one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import torch
from torch import Tensor

from genmend.activations.contract import Edit, edit_type, working_dtype
from genmend.diffusion.amplification.frequency_bands import CutoffUnit, band_share, check_band, radius
from genmend.diffusion.amplification.low_frequencies import added, check_gain

__all__ = ["AmplifyBand", "BandName"]

BandName = Literal["full", "high", "random", "noise"]


@edit_type("diffusion.amplify_band")
@dataclass(frozen=True, eq=False)
class AmplifyBand(Edit):
    """Controls of `AmplifyLowFrequencies`: ``x + strength * (gain - 1) * B x``.

    Attributes
    ----------
    layer : str
        Dotted name; its (first) output is ``(n, channels, height, width)``.
    gain : float
        1 changes no bit.
    cutoff : float
        That of the low band which this is compared with.
    band : "full", "high", "random" or "noise"
        B keeps everything; what the low band leaves out; as many randomly chosen frequencies (pairs u, -u) as the low
        band has, the mean never among them; or replaces the low band by normal noise of the same energy in each map.
    cutoff_unit : "bins" or "nyquist"
    seed : int
        Of the random frequencies, or of the noise, which is the same at every call.
    strength : float
        In [0, 1].
    """

    layer: str
    gain: float
    cutoff: float
    band: BandName
    cutoff_unit: CutoffUnit = "bins"
    seed: int = 0
    strength: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_band(self.cutoff, self.cutoff_unit, 0.0)
        check_gain("gain", self.gain)
        if self.band not in get_args(BandName):
            raise ValueError(f"band is {self.band!r}; accepted are {get_args(BandName)}; choose one.")

    def apply(self, output: Tensor, strength: Tensor | float | None = None) -> Tensor:
        """Return maps ``(n, channels, height, width)`` of the same dtype with the band amplified."""
        dtype = working_dtype(output, self.layer)
        if output.dim() != 4:
            raise ValueError(
                f"Layer {self.layer!r} returned shape {tuple(output.shape)}, but maps (n, channels, height, width) are "
                "needed; choose a block of a U-Net."
            )
        if self.gain == 1:
            return output
        amount = torch.as_tensor(self.strength if strength is None else strength, dtype=dtype, device=output.device)
        return added(output, self._band(output.to(dtype)) * (self.gain - 1), amount)

    def _band(self, x: Tensor) -> Tensor:
        if self.band == "full":
            return x
        height, width = x.shape[-2:]
        low = (radius(height, width, self.cutoff_unit) < self.cutoff).to(x.device)
        spectrum = torch.fft.rfft2(x)
        if self.band == "noise":
            energy = torch.fft.irfft2(spectrum * low, s=(height, width)).square().mean((-2, -1), keepdim=True)
            draw = torch.Generator().manual_seed(self.seed)
            noise = torch.randn(x.shape[1:], generator=draw).to(x.device, x.dtype)
            return noise / noise.square().mean((-2, -1), keepdim=True).sqrt() * energy.sqrt()
        kept = (
            ~low
            if self.band == "high"
            else _random_frequencies(height, width, self.cutoff, self.cutoff_unit, self.seed)
        )
        return torch.fft.irfft2(spectrum * kept.to(x.device), s=(height, width))


@lru_cache(maxsize=64)
def _random_frequencies(height: int, width: int, cutoff: float, unit: CutoffUnit, seed: int) -> Tensor:
    """Bool, laid out as ``rfft2`` does: as many bins of the full spectrum as the low band holds, within one pair."""
    n_wanted = round(band_share(height, width, cutoff, unit) * height * width)
    order = torch.randperm(height * width, generator=torch.Generator().manual_seed(seed)).tolist()
    chosen = torch.zeros(height, width, dtype=torch.bool)
    n_chosen = 0
    for place in order:
        u, v = divmod(place, width)
        if n_chosen >= n_wanted:
            break
        if (u, v) != (0, 0) and not chosen[u, v]:
            chosen[u, v] = chosen[-u % height, -v % width] = True
            n_chosen += 1 if (u, v) == (-u % height, -v % width) else 2
    return chosen[:, : width // 2 + 1]
