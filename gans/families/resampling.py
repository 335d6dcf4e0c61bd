"""Upsample, filter, pad: the FIR resampling of StyleGAN2 in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["fir_kernel", "upfirdn2d", "upsample2d"]


def fir_kernel(taps: tuple[float, ...] = (1, 3, 3, 1)) -> Tensor:
    """The separable 2-d low-pass filter (k, k) of these taps; its sum is 1."""
    row = torch.tensor(taps, dtype=torch.float32)
    kernel = torch.outer(row, row)
    return kernel / kernel.sum()


def upfirdn2d(
    x: Tensor, kernel: Tensor, *, up: int = 1, padding: tuple[int, int] = (0, 0), gain: float = 1.0
) -> Tensor:
    """Put `up` - 1 zeros after each pixel, pad by (before, after), convolve every channel with the kernel.

    Parameters
    ----------
    x : Tensor (n, c, h, w)
    kernel : Tensor (k, k)
        Applied as a convolution (flipped), as in ``scipy.signal.upfirdn``.
    up, padding, gain
        Alike for rows and columns; `gain` multiplies the result, `up` ** 2 keeps the brightness.

    Returns
    -------
    Tensor (n, c, h * up + before + after - k + 1, ...)
    """
    n, c, h, w = x.shape
    if up > 1:
        x = functional.pad(x.view(n, c, h, 1, w, 1), (0, up - 1, 0, 0, 0, up - 1)).view(n, c, h * up, w * up)
    x = functional.pad(x, (*padding, *padding))
    weight = (kernel * gain).flip(0, 1).to(x.dtype).expand(c, 1, *kernel.shape)
    return functional.conv2d(x, weight, groups=c)


def upsample2d(x: Tensor, kernel: Tensor) -> Tensor:
    """Twice the size in both directions, through the low-pass filter `kernel`."""
    length = len(kernel)
    return upfirdn2d(x, kernel, up=2, padding=((length + 1) // 2, (length - 2) // 2), gain=4.0)
