"""The edit of C3: amplify the low spatial frequencies of a block's output.

Han, Kwon, Lee, Kim, Choi, "Enhancing creative generation on Stable Diffusion-based models", CVPR 2025, arXiv
2503.23538. The separate gain of the mean, the smooth edge, the spatial mask and the kept energy are ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Literal, get_args

import torch
from torch import Tensor

from genmend.activations.contract import Edit, edit_type, working_dtype
from genmend.diffusion.amplification.frequency_bands import CutoffUnit, check_band
from genmend.diffusion.amplification.low_pass import Band, low_change, published_change, with_low_change

__all__ = ["AmplifyLowFrequencies", "PartRows", "Rows", "added", "check_gain", "laid_out_as", "row_weights"]

Rows = Literal["both", "conditional", "unconditional"]
PartRows = Rows | tuple[int, ...]


@edit_type("diffusion.amplify_low_frequencies")
@dataclass(frozen=True, eq=False)
class AmplifyLowFrequencies(Edit):
    """Multiply the low band of every feature map by a gain: ``x + strength * (gain - 1) * P x``.

    P keeps the frequencies below the cutoff. Of a block that returns a tuple only the first tensor, the hidden stream,
    is replaced; the copy that skips to the decoder is left alone, as in the published code.

    Attributes
    ----------
    layer : str
        Dotted name; its (first) output is ``(n, channels, height, width)``.
    gain : float
        1 changes no bit; 0 removes the band. Published examples lie between 1 and 3.
    cutoff : float
        Where the band ends (strictly below), in FFT bins, or as a share of Nyquist: the same number of bins is another
        band at another size of image.
    cutoff_unit : "bins" or "nyquist"
    transition : float
        Width, in the same unit, of a raised cosine round the cutoff; 0 is the published hard edge.
    mean_gain : float or None
        In place of `gain`, for the mean of each map, which shifts colour and brightness; None: the same.
    keep_energy : bool
        Scale every edited map back to its former root mean square: the band grows at the cost of the others.
    rows : "both", "conditional", "unconditional", or a tuple of 0 and 1
        With classifier-free guidance the first half of the batch is unconditional, the second conditional. A tuple has
        an entry for each of several equal parts of the batch: 1 where it is edited.
    where : Tensor or None
        Floating, ``(h, w)`` in 0..1, of any size: how much of the change each place gets.
    as_published : bool
        The published operator, which is a bin off on maps of odd size; only for reproduction, and with cutoffs in bins.
    strength : float
        In [0, 1].

    Notes
    -----
    Computed in float32 and rounded once. A sample that would leave the range of half precision gets the largest change
    that stays inside it, and a sample that is not finite already is left alone.

    Examples
    --------
    >>> edit = AmplifyLowFrequencies("mid_block", gain=2.0, cutoff=1)
    >>> edit.apply(torch.tensor([[[[1.0, 3.0], [1.0, 3.0]]]]))  # the mean, 2, is doubled
    tensor([[[[3., 5.],
              [3., 5.]]]])
    """

    layer: str
    gain: float
    cutoff: float
    cutoff_unit: CutoffUnit = "bins"
    transition: float = 0.0
    mean_gain: float | None = None
    keep_energy: bool = False
    rows: PartRows = "both"
    where: Tensor | None = None
    as_published: bool = False
    strength: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_band(self.cutoff, self.cutoff_unit, self.transition)
        check_gain("gain", self.gain)
        if self.mean_gain is not None:
            check_gain("mean_gain", self.mean_gain)
        if isinstance(self.rows, list | tuple) and self.rows and all(row in (0, 1) for row in self.rows):
            object.__setattr__(self, "rows", tuple(map(int, self.rows)))
        elif self.rows not in get_args(Rows):
            raise ValueError(
                f"rows is {self.rows!r}; accepted are {get_args(Rows)}, or a tuple of 0 and 1; choose one."
            )
        if self.where is not None:
            _check_where(self.where)
        plain = self.cutoff_unit == "bins" and self.transition == 0 and self.mean_gain is None
        if self.as_published and not plain:
            raise ValueError(
                "as_published has neither cutoff_unit='nyquist', nor transition, nor mean_gain; leave them out."
            )

    @property
    def band(self) -> Band:
        """The band that is amplified."""
        return Band(self.cutoff, self.cutoff_unit, self.transition)

    def apply(self, output: Tensor, strength: Tensor | float | None = None) -> Tensor:
        """Return maps ``(n, channels, height, width)`` of the same dtype with the low band amplified.

        Raises
        ------
        ValueError
            If the output is not four-dimensional, or has an odd number of rows where one half is to be edited.
        """
        dtype = working_dtype(output, self.layer)
        if output.dim() != 4:
            raise ValueError(
                f"Layer {self.layer!r} returned shape {tuple(output.shape)}, but maps (n, channels, height, width) are "
                "needed; choose a block of a U-Net, or AmplifyTokenUpdate for a transformer's."
            )
        if self.gain == 1 and self.mean_gain in (None, 1):
            return output
        amount = torch.as_tensor(self.strength if strength is None else strength, dtype=dtype, device=output.device)
        if self._plain and output.dtype != torch.float16:
            mean_change = None if self.mean_gain is None else amount * (self.mean_gain - 1)
            made = with_low_change(output.to(dtype), self.band, amount * (self.gain - 1), mean_change)
            return torch.where(amount != 0, laid_out_as(made.to(output.dtype), output), output)
        if self.rows != "both":
            amount = amount * row_weights(output, self.rows, self.layer).to(dtype)[:, None, None, None]
        return added(output, self._change(output.to(dtype)), amount, keep_energy=self.keep_energy)

    @property
    def _plain(self) -> bool:
        """Whether every place and row gets the same change, so that it can be added as it is made."""
        return self.rows == "both" and self.where is None and not self.keep_energy and not self.as_published

    def _change(self, x: Tensor) -> Tensor:
        if self.as_published:
            change = published_change(x, self.cutoff, self.gain - 1)
        else:
            mean_change = None if self.mean_gain is None else self.mean_gain - 1
            change = low_change(x, self.band, self.gain - 1, mean_change)
        if self.where is None:
            return change
        where = self.where.to(x.device, x.dtype)[None, None]
        return change * torch.nn.functional.interpolate(where, x.shape[-2:], mode="area")


_PARTS: dict[str, tuple[int, ...]] = {"conditional": (0, 1), "unconditional": (1, 0), "both": (1,)}


def added(output: Tensor, change: Tensor, amount: Tensor, *, keep_energy: bool = False) -> Tensor:
    """Return ``output + amount * change`` in the output's dtype; samples whose amount is 0 keep every bit.

    Parameters
    ----------
    output
        ``(n, channels, height, width)``, of any floating dtype.
    change
        The same shape, at least float32.
    amount
        0-d, or ``(n, 1, 1, 1)``.
    keep_energy
        Scale each map back to its former root mean square.
    """
    x, change = output.to(change.dtype), change * amount
    if output.dtype == torch.float16:
        change = change * _back_off(x, change, torch.finfo(torch.float16).max)
    y = x + change
    if keep_energy:
        before, after = (values.square().mean((-2, -1), keepdim=True) for values in (x, y))
        y = y * (before / after.clamp_min(torch.finfo(y.dtype).tiny)).sqrt()
    # Adding 0 is not always nothing: it turns -0.0 into 0.0.
    made = laid_out_as(torch.where(torch.isfinite(y), y.to(output.dtype), output), output)
    return torch.where(amount != 0, made, output)


def laid_out_as(made: Tensor, output: Tensor) -> Tensor:
    """Return the maps in the memory format of `output`, on which the rounding of later convolutions depends."""
    channels_last = output.is_contiguous(memory_format=torch.channels_last) and not output.is_contiguous()
    return made.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def row_weights(output: Tensor, rows: PartRows, layer: str) -> Tensor:
    """1 for the rows of the batch to edit, 0 for the others, ``(n,)`` bool: one of its equal parts, or several."""
    parts = _PARTS[rows] if isinstance(rows, str) else rows
    n = len(output)
    if n % len(parts):
        raise ValueError(
            f"Layer {layer!r} returned {n} rows, which are not "
            + ("an unconditional and a conditional half" if len(parts) == 2 else f"{len(parts)} equal parts")
            + "; use rows='both' where there is no guidance."
        )
    weights = [torch.full((n // len(parts),), bool(part), device=output.device) for part in parts]
    return torch.cat(weights)


def check_gain(name: str, gain: float) -> None:
    """Raise unless a gain is a finite number >= 0."""
    if isinstance(gain, bool) or not isinstance(gain, Real):
        raise TypeError(f"{name} is {gain!r}, but a number is needed; 1 changes nothing.")
    if not (math.isfinite(gain) and gain >= 0):
        raise ValueError(f"{name} is {gain}, but a finite number from 0 on is needed; 1 changes nothing.")


def _check_where(where: Tensor) -> None:
    if not isinstance(where, Tensor) or where.dim() != 2 or not where.is_floating_point():
        shape = tuple(where.shape) if isinstance(where, Tensor) else type(where).__name__
        raise ValueError(f"where is {shape}, but a floating tensor (h, w) is needed; give one map for all channels.")
    if not ((where >= 0) & (where <= 1)).all():  # also NaN
        raise ValueError("where has values outside 0..1, or NaN; only 0 (nothing) to 1 (all) are accepted; rescale it.")


def _back_off(x: Tensor, change: Tensor, limit: float) -> Tensor:
    """The largest share of the change, ``(n, 1, 1, 1)`` in 0..1, that keeps each sample within ``+-limit``."""
    room = (limit - x.abs()).clamp_min(0) / change.abs().clamp_min(torch.finfo(change.dtype).tiny)
    return room.amin((1, 2, 3), keepdim=True).clamp(max=1)
