"""Log mel spectrograms, and audio from them by Griffin-Lim, for models that predict mels."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

__all__ = ["LogMel"]


@dataclass(frozen=True)
class LogMel:
    """Natural logarithm of a mel spectrogram of magnitudes (Slaney's scale and norm), and the way back.

    Attributes
    ----------
    sample_rate : int
        In Hz.
    n_fft, hop : int
        Samples of a window and between two frames.
    n_mels : int
        Bins from 0 to `highest` Hz.
    highest : float
        In Hz.
    floor : float
        Smallest magnitude, so that silence has a logarithm.
    """

    sample_rate: int = 16_000
    n_fft: int = 1024
    hop: int = 320
    n_mels: int = 80
    highest: float = 8_000.0
    floor: float = 1e-4

    def __call__(self, audio: Tensor) -> Tensor:
        """Turn (samples,) into (n_mels, frames): one frame every `hop` samples, the first centred on sample 0."""
        return self._mel(audio).clamp(min=self.floor).log()

    def audio(self, log_mel: Tensor, n_iter: int = 40) -> Tensor:
        """Turn (n_mels, frames) into (samples,): least squares to a spectrogram, phases by Griffin-Lim from zero.

        The same mel always gives the same samples.
        """
        spectrogram = (self._inverse @ log_mel.exp()).clamp(min=0)
        return self._griffin_lim(n_iter)(spectrogram)

    def to_dict(self) -> dict[str, Any]:
        """What its constructor takes."""
        return asdict(self)

    @cached_property
    def _mel(self) -> Any:
        from torchaudio.transforms import MelSpectrogram

        return MelSpectrogram(
            self.sample_rate,
            self.n_fft,
            hop_length=self.hop,
            n_mels=self.n_mels,
            f_max=self.highest,
            power=1.0,
            norm="slaney",
            mel_scale="slaney",
        )

    @cached_property
    def _inverse(self) -> Tensor:
        return torch.linalg.pinv(self._mel.mel_scale.fb.T)

    def _griffin_lim(self, n_iter: int) -> Any:
        from torchaudio.transforms import GriffinLim

        return GriffinLim(self.n_fft, n_iter=n_iter, hop_length=self.hop, power=1.0, rand_init=False)
