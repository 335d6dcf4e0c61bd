"""Gates that are exactly 0 or exactly 1 with positive probability, and yet have gradients.

Source: Louizos, Welling, Kingma, "Learning sparse neural networks through L0 regularization", ICLR 2018,
arXiv 1712.01312, section 2.2; the constants are the paper's.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["expected_open", "open_gates", "sampled_gates"]

BETA = 2 / 3  # temperature
GAMMA, ZETA = -0.1, 1.1  # the interval that a binary concrete variable is stretched to, before it is cut to [0, 1]


def sampled_gates(log_alpha: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Draw n gates in 0..1 for each location parameter, ``[n, *log_alpha.shape]`` (equations 10 and 11)."""
    uniform = torch.rand((n, *log_alpha.shape), generator=generator, dtype=log_alpha.dtype).to(log_alpha.device)
    uniform = uniform.clamp(1e-6, 1 - 1e-6)
    concrete = torch.sigmoid((uniform.log() - (1 - uniform).log() + log_alpha) / BETA)
    return (concrete * (ZETA - GAMMA) + GAMMA).clamp(0, 1)


def expected_open(log_alpha: Tensor) -> Tensor:
    """Probability that a gate is not 0, whose sum is the expected L0 norm (equation 12)."""
    return torch.sigmoid(log_alpha - BETA * math.log(-GAMMA / ZETA))


def open_gates(log_alpha: Tensor) -> Tensor:
    """Which gates are more than half open without noise (equation 13): exactly those with log_alpha > 0."""
    return log_alpha > 0
