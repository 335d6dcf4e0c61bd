"""HiFi-GAN vocoders of transformers: how their frames and samples belong together."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor

__all__ = ["check_vocoder", "waveform_of"]


def check_vocoder(vocoder: Any, n_mels: int, voice: str) -> tuple[int, int]:
    """Its samples in a second and in a frame.

    Raises
    ------
    ValueError
        If there is none, or one for mels of another width.
    """
    if vocoder is None:
        raise ValueError(
            f"{voice} makes mel spectrograms in the unit its vocoder was trained on, and no vocoder is given: "
            "give vocoder=, the HiFi-GAN that was published with it."
        )
    config = vocoder.eval().config
    if config.model_in_dim != n_mels:
        raise ValueError(f"The vocoder takes {config.model_in_dim} mel bins and {voice} makes {n_mels}; give its own.")
    return int(config.sampling_rate), math.prod(config.upsample_rates)


def waveform_of(vocoder: Any, spectrogram: Tensor) -> np.ndarray:
    """(frames, bins) -> (samples,) float32."""
    return vocoder(spectrogram).reshape(-1).float().cpu().numpy()
