"""What every judge of audio does first: check it, resample it, and say what to install."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["RATE", "is_silent", "missing_package", "resample_to"]

RATE = 16_000  # Hertz: what every judge here was trained on
_SILENT = 1e-4  # -80 dB of full scale


def resample_to(audio: np.ndarray, sample_rate: int, wanted: int = RATE) -> NDArray[np.float32]:
    """Resample mono audio (samples,) by scipy's polyphase filter.

    Raises
    ------
    ValueError
        If it is not 1-D, holds no samples, more than 10 minutes or NaN, or the rate is not of 4 to 192 kHz.
    """
    from genmend.manifold.features.audio_extractor import resample
    from genmend.manifold.features.audio_files import check_wave

    samples = np.asarray(audio)
    if samples.ndim != 1:
        raise ValueError(f"the audio has shape {samples.shape}; give one mono recording (samples,).")
    if not np.issubdtype(samples.dtype, np.floating):
        raise ValueError(f"the audio is {samples.dtype}, but full scale has to be 1; divide integers by their range.")
    return resample(check_wave(samples, int(sample_rate), "audio"), int(sample_rate), wanted)


def is_silent(audio: np.ndarray) -> bool:
    """Whether no sample reaches -80 dB of full scale."""
    return not np.abs(audio).max(initial=0.0) > _SILENT


def missing_package(package: str, what: str) -> ModuleNotFoundError:
    """Make the error of a judge whose package is not installed; `what` begins its sentence."""
    return ModuleNotFoundError(
        f"{what} the package {package}, which is not installed: pip install 'genmend[audio-eval]'.", name=package
    )
