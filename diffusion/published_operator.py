"""The amplification as the public code of C3 computes it, to compare with and to reproduce its images.

Han, Kwon, Lee, Kim, Choi, "Enhancing creative generation on Stable Diffusion-based models", CVPR 2025, arXiv
2503.23538. On maps of odd height or width its coordinates are one bin off, so the band is not centred on the mean.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["published_change"]


def published_change(x: Tensor, cutoff: float, change: Tensor | float) -> Tensor:
    """Return what the published operator adds to maps ``[..., height, width]``, for gain ``1 + change``.

    The transform over batch and channels is left out: it cancels, since the mask does not depend on them.
    """
    height, width = x.shape[-2:]
    down = torch.arange(height, device=x.device) - (height + 1) // 2
    across = torch.arange(width, device=x.device) - (width + 1) // 2
    mask = (torch.hypot(down[:, None].double(), across[None].double()) < cutoff).to(x.dtype)
    return torch.fft.ifft2(torch.fft.fft2(x) * torch.fft.ifftshift(mask) * change).real.contiguous()
