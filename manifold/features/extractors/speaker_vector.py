"""Who speaks, as 256 features: the GE2E speaker encoder (Wan et al., arXiv 1710.10467) with Resemblyzer's weights.

Network and front end as those weights were trained: 16 kHz; a mel power spectrogram of 40 bands (windows of 25 ms every
10 ms, not logarithmic); three LSTM layers; a linear layer, ReLU and unit length. Windows of 1.6 s, 1.3 a second, are
embedded one by one; the features are their mean, of unit length. A quiet recording is amplified to -30 dB full scale
first. The package also cuts out pauses with a voice detector (webrtcvad): we cut no pauses.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from genmend.manifold.features.audio_extractor import AudioExtractor
from genmend.manifold.features.image_extractor import digest_of_network, versions_of
from genmend.storage.weights import find_weights

__all__ = ["SpeakerEncoder", "load", "window_starts"]

_RATE = 16_000
_HOP, _FFT, _BANDS = 160, 400, 40
_WINDOW = 160  # frames
_WINDOWS_A_SECOND = 1.3
# How much of the last window the recording must fill.
_LAST_FILLED = 0.75
_LOUDNESS = 10 ** (-30 / 20)


class SpeakerEncoder(nn.Module):
    """Mel frames (n, frames, 40) to unit vectors (n, 256)."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(_BANDS, 256, num_layers=3, batch_first=True)
        self.linear = nn.Linear(256, 256)

    def forward(self, mel: Tensor) -> Tensor:
        """The last state of the last layer, projected."""
        _, (hidden, _) = self.lstm(mel)
        return nn.functional.normalize(self.linear(hidden[-1]).relu(), dim=1)


def load() -> AudioExtractor:
    """The mean speaker vector of a recording."""
    import librosa  # noqa: F401  (a missing package is named now, not at the first recording)

    encoder = SpeakerEncoder()
    stored = torch.load(find_weights("speaker"), map_location="cpu", weights_only=True)["model_state"]
    # The training objective's own two numbers are no part of the encoder.
    encoder.load_state_dict({name: tensor for name, tensor in stored.items() if not name.startswith("similarity_")})
    encoder.eval().requires_grad_(False)
    record = {
        "network": "Resemblyzer's speaker encoder: LSTM 3 x 256",
        "weights": digest_of_network(encoder),
        "layer": "embedding",
        "pooling": "mean over windows of 1.6 s, unit length",
        "normalisation": "amplified to -30 dB where quieter; mel power spectrogram, 40 bands",
        "dtype": "float32",
        "versions": versions_of("torch", "librosa", "scipy"),
    }
    return AudioExtractor("speaker", _RATE, lambda wave: _embed(encoder, wave), record, encoder.to)


@torch.no_grad()
def _embed(encoder: SpeakerEncoder, wave: NDArray[np.float32]) -> NDArray[np.float32]:
    from librosa.feature import melspectrogram

    loudness = math.sqrt(np.mean(np.square(wave, dtype=np.float64)))
    if loudness == 0:
        raise ValueError("it is silent throughout")
    wave = wave * np.float32(max(1.0, _LOUDNESS / loudness))
    starts = window_starts(len(wave))
    wave = np.pad(wave, (0, max(0, (starts[-1] + _WINDOW) * _HOP - len(wave))))
    mel = melspectrogram(y=wave, sr=_RATE, n_fft=_FFT, hop_length=_HOP, n_mels=_BANDS).T.astype(np.float32)
    windows = torch.from_numpy(np.stack([mel[start : start + _WINDOW] for start in starts]))
    mean: NDArray[np.float32] = encoder(windows.to(encoder.linear.weight.device)).mean(dim=0).cpu().numpy()
    return mean / np.linalg.norm(mean)


def window_starts(samples: int) -> list[int]:
    """The first mel frame of every window; the last window is left out if the recording fills too little of it."""
    frames = (samples + 1 + _HOP - 1) // _HOP
    step = round(_RATE / _WINDOWS_A_SECOND / _HOP)
    starts = list(range(0, max(1, frames - _WINDOW + step + 1), step))
    if len(starts) > 1 and samples - starts[-1] * _HOP < _LAST_FILLED * _WINDOW * _HOP:
        starts.pop()
    return starts
