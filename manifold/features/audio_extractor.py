"""One way to call any audio feature extractor: mono waves in, vectors out.

`pooled_audio` makes one of a network like wav2vec 2.0: standardise the wave, run the network, average over time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from genmend.manifold.features.audio_files import check_wave
from genmend.manifold.features.image_extractor import digest_of_network, name_of_class, versions_of
from genmend.storage.progress import with_progress

__all__ = ["AudioExtractor", "extract_audio", "pooled_audio", "resample", "sounding_frames", "vector_of"]

SAMPLE_RATE = 16_000  # hertz
# A frame carries sound if it is less than this far below the loudest frame, in decibels.
SOUNDING_DECIBELS = 40.0


@dataclass(frozen=True)
class AudioExtractor:
    """An audio feature network together with everything before and after it.

    Parameters
    ----------
    name : str
        Recorded in every result.
    sample_rate : int
        Hertz: what `embed` wants.
    embed : callable
        Takes one mono wave (samples,), float32, full scale 1, and returns its features (d,). It raises a
        ValueError for a wave that has none (silence, too short).
    record : dict
        Everything that makes the feature space (weights digest, layer, pooling, normalisation, dtype, versions), ready
        for JSON. Cached features go by it: it has to change with what `embed` computes.
    move : callable, optional
        Takes a device and moves the network there.
    """

    name: str
    sample_rate: int
    embed: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    record: dict[str, Any]
    move: Callable[[Any], object] | None = None
    kind = "audio"

    def __call__(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features (d,) of one wave (samples,) at `sample_rate`."""
        if not isinstance(wave, np.ndarray) or wave.ndim != 1:
            raise ValueError(f"The extractor {self.name!r} is for audio; give one mono wave (samples,).")
        return self.embed(wave)

    def to(self, device: Any) -> AudioExtractor:
        """Move the network, where it can be moved."""
        if self.move is not None:
            self.move(device)
        return self

    def pipeline(self) -> dict[str, Any]:
        """Everything that makes the feature space, ready for JSON."""
        return {
            "extractor": self.name,
            "sample_rate": self.sample_rate,
            "channels": "mean",
            "resample": "scipy.signal.resample_poly",
            **self.record,
        }


def extract_audio(
    extractor: Callable[[NDArray[np.float32]], Any],
    waves: Sequence[NDArray[np.floating]],
    sample_rate: int,
    *,
    progress: bool = False,
) -> NDArray[np.float32]:
    """Features of mono waves, one by one: their lengths may differ.

    Parameters
    ----------
    extractor : callable
        As `load_extractor` returns it; one of your own gets waves at its attribute `sample_rate`, 16,000 Hz if absent.
    waves : sequence of ndarray (samples,)
        Full scale is 1.
    sample_rate : int
        Hertz, of all of them.
    progress : bool
        Show a progress bar.

    Returns
    -------
    ndarray (n, d) float32

    Raises
    ------
    ValueError
        If there are no waves, one is not 1-D, empty, silent where the extractor needs sound, or not finite, or the
        extractor returns something else than one finite vector per wave.
    """
    if len(waves) == 0:
        raise ValueError("There are no waves to extract features from: give at least one.")
    wanted = getattr(extractor, "sample_rate", SAMPLE_RATE)
    rows = []
    for index, wave in enumerate(with_progress(waves, "features", len(waves), show=progress)):
        array = np.asarray(wave)
        if array.ndim != 1:
            raise ValueError(f"Wave {index} has shape {array.shape}; give mono waves (samples,).")
        checked = check_wave(array, sample_rate, f"wave {index}")
        rows.append(vector_of(extractor(resample(checked, sample_rate, wanted)), f"wave {index}"))
    return np.stack(rows)


def vector_of(features: Any, name: str) -> NDArray[np.float32]:
    """What an extractor returned for one wave as (d,) float32, or an error if it is no finite vector."""
    array = features.detach().float().cpu().numpy() if hasattr(features, "detach") else np.asarray(features)
    if array.ndim != 1:
        raise ValueError(f"The extractor returned shape {array.shape} for {name}; it has to return one vector, (d,).")
    if not np.isfinite(array).all():
        raise ValueError(f"The features of {name} are not finite: check that it carries sound.")
    return array.astype(np.float32, copy=False)


def resample(wave: NDArray[np.float32], rate: int, wanted: int) -> NDArray[np.float32]:
    """The wave at another sample rate, by scipy's polyphase filter."""
    if rate == wanted:
        return wave
    from scipy.signal import resample_poly

    divisor = math.gcd(rate, wanted)
    resampled: NDArray[np.float32] = resample_poly(wave, wanted // divisor, rate // divisor).astype(np.float32)
    return resampled


def sounding_frames(wave: NDArray[np.float32], hop: int) -> NDArray[np.bool_]:
    """Which frames of `hop` samples carry sound: within 40 dB (root mean square) of the loudest; the last may be short.

    Raises
    ------
    ValueError
        If the whole wave is silent.
    """
    squares = np.square(wave, dtype=np.float64)
    starts = np.arange(0, len(wave), hop)
    power = np.add.reduceat(squares, starts) / np.diff([*starts, len(wave)])
    if not power.max() > 0:
        raise ValueError("it is silent throughout")
    sounding: NDArray[np.bool_] = power > power.max() * 10 ** (-SOUNDING_DECIBELS / 10)
    return sounding


def pooled_audio(
    name: str,
    network: nn.Module,
    hidden_states: Callable[[Tensor], Tensor],
    *,
    sample_rate: int,
    variance_floor: float | None,
    library: str,
) -> AudioExtractor:
    """Make an extractor whose features are the mean over time of a network's hidden states.

    Parameters
    ----------
    name : str
        As for `AudioExtractor`.
    network : nn.Module
        Its weights are recorded; `AudioExtractor.to` moves it.
    hidden_states : callable
        Takes waves (1, samples) and returns (1, frames, d).
    sample_rate : int
        Hertz.
    variance_floor : float or None
        Added to the variance where the weights want each wave with mean 0 and variance 1; None: waves stay as they are.
    library : str
        The package whose code is in the network: its version is recorded.
    """

    @torch.no_grad()
    def embed(wave: NDArray[np.float32]) -> NDArray[np.float32]:
        device = next(network.parameters()).device
        waves = torch.from_numpy(wave)[None].to(device)
        if variance_floor is not None:
            waves = (waves - waves.mean()) / (waves.var(correction=0) + variance_floor).sqrt()
        try:
            states = hidden_states(waves)
        except RuntimeError as error:
            raise ValueError(f"a wave of {wave.size} samples is too short for {name} ({error})") from error
        pooled: NDArray[np.float32] = states[0].mean(dim=0).float().cpu().numpy()
        return pooled

    record = {
        "network": name_of_class(network),
        "weights": digest_of_network(network),
        "layer": "last hidden state",
        "pooling": "mean over all frames",
        "normalisation": "none" if variance_floor is None else "mean 0, variance 1 a recording",
        "dtype": "float32",
        "versions": versions_of("torch", "scipy", library),
    }
    return AudioExtractor(name, sample_rate, embed, record, network.to)
