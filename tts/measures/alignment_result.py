"""What an alignment tells of one sentence: skips, repeats and stalls, and measures of the attention they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Alignment", "positions", "sounding_tokens"]


@dataclass(frozen=True)
class Alignment:
    """How a sentence of tokens was read. Every rate is a share of `n`; lower is better unless said otherwise.

    Attributes
    ----------
    n : int
        Tokens that have to be heard.
    skipped, stalled : tuple of int
        Positions of tokens never read, and of those read for too long, one for each such stretch.
    repeats : int
        How often the voice went back.
    finished : bool
        False where the voice did not find its end.
    jumps : int or None
        Steps forward of more than 3 tokens; shown, not counted in `error_rate`. None, as all below, for durations.
    focus_rate : float or None
        Mean over frames of the largest weight, in (0, 1]; HIGHER is better. Source: Ren et al., arXiv 1905.09263.
    align_error : float or None
        1 - mean over tokens of the largest weight over frames, in [0, 1), what Coqui TTS logs under this name.
    diagonal_ratio : float or None
        Share of the weights near the diagonal, in [0, 1]; HIGHER is better. Source: Xu et al. (LRSpeech), 2020.
    coverage : float or None
        The least heard word's (token's, where no words are known) largest weight, in [0, 1]; HIGHER is better.
    """

    n: int
    skipped: tuple[int, ...]
    stalled: tuple[int, ...]
    repeats: int = 0
    finished: bool = True
    jumps: int | None = None
    focus_rate: float | None = None
    align_error: float | None = None
    diagonal_ratio: float | None = None
    coverage: float | None = None

    @property
    def skip_rate(self) -> float:
        """Share of the tokens that were never read."""
        return len(self.skipped) / self.n

    @property
    def repeat_rate(self) -> float:
        """Times that the voice went back, for each token."""
        return self.repeats / self.n

    @property
    def stall_rate(self) -> float:
        """Stretches that lasted too long, for each token."""
        return len(self.stalled) / self.n

    @property
    def error_rate(self) -> float:
        """(skips + repeats + stalls) / n, our reading of the alignment error of Jeong et al., TASLP 2025."""
        return (len(self.skipped) + self.repeats + len(self.stalled)) / self.n

    def to_dict(self) -> dict[str, Any]:
        """For JSON: counts, positions, rates and measures; None for what durations do not say."""
        return {
            "n": self.n,
            "skips": len(self.skipped),
            "repeats": self.repeats,
            "stalls": len(self.stalled),
            "error_rate": self.error_rate,
            "skip_rate": self.skip_rate,
            "repeat_rate": self.repeat_rate,
            "stall_rate": self.stall_rate,
            "skipped": list(self.skipped),
            "stalled": list(self.stalled),
            "finished": self.finished,
            "jumps": self.jumps,
            "focus_rate": self.focus_rate,
            "align_error": self.align_error,
            "diagonal_ratio": self.diagonal_ratio,
            "coverage": self.coverage,
        }


def sounding_tokens(heard: Sequence[bool] | np.ndarray | None, n: int) -> np.ndarray:
    """Check which tokens (n,) have to be heard, all by default; ValueError for another length, or for none."""
    sounding = np.ones(n, dtype=bool) if heard is None else np.asarray(heard, dtype=bool)
    if sounding.shape != (n,):
        raise ValueError(f"heard has shape {sounding.shape}, but there are {n} tokens; give one bool for each.")
    if not sounding.any():
        raise ValueError("No token is to be heard, so there is nothing to align; mark those that have a sound.")
    return sounding


def positions(mask: np.ndarray) -> tuple[int, ...]:
    """Find where a mask is True."""
    return tuple(int(i) for i in np.flatnonzero(mask))
