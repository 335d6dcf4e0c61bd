"""Whisper tiny.en's encoder (Radford et al., arXiv 2212.04356) as 384 audio features, run by faster-whisper.

The encoder sees windows of 30 seconds, the last one filled up with silence, and returns 50 vectors a second. The
features are the mean of those vectors over the frames of 20 ms that carry sound (`sounding_frames`), of all windows
together: neither the filling nor a pause counts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from genmend.manifold.features.audio_extractor import SOUNDING_DECIBELS, AudioExtractor, sounding_frames
from genmend.manifold.features.image_extractor import versions_of
from genmend.storage.digests import sha256_of_file
from genmend.storage.weights import find_weights

__all__ = ["load"]

_RATE = 16_000
_HOP = 320  # samples an encoder frame
_WINDOW = 30 * _RATE
_MEL_FRAMES = 3000  # of a window, 10 ms each


def load() -> AudioExtractor:
    """The pooled encoder output, computed in float32 on the CPU."""
    from faster_whisper import WhisperModel

    path = find_weights("whisper-tiny")
    model = WhisperModel(str(path.parent), device="cpu", compute_type="float32", local_files_only=True)

    def frames_of(window: NDArray[np.float32]) -> NDArray[np.float32]:
        # Silence as Whisper was trained with it: in the wave (faster-whisper itself fills up the spectrogram).
        mel = model.feature_extractor(np.pad(window, (0, _WINDOW - len(window))))[:, :_MEL_FRAMES]
        return np.asarray(model.encode(mel))[0]

    def embed(wave: NDArray[np.float32]) -> NDArray[np.float32]:
        sounding = sounding_frames(wave, _HOP)
        windows = [wave[start : start + _WINDOW] for start in range(0, len(wave), _WINDOW)]
        # A window is a whole number of frames, so the frames of all windows are those of the wave.
        frames = np.concatenate([frames_of(window)[: -(-len(window) // _HOP)] for window in windows])
        pooled: NDArray[np.float32] = frames[sounding].mean(axis=0, dtype=np.float64).astype(np.float32)
        return pooled

    record = {
        "network": "Whisper tiny.en encoder, CTranslate2",
        "weights": sha256_of_file(path),
        "layer": "encoder output",
        "pooling": f"mean over 20 ms frames within {SOUNDING_DECIBELS:g} dB of the loudest",
        "normalisation": "Whisper's log-mel spectrogram",
        "dtype": "float32",
        "versions": versions_of("faster-whisper", "ctranslate2", "scipy"),
    }
    return AudioExtractor("whisper-tiny", _RATE, embed, record)
