"""Waveforms from what a voice gives in their place: a log mel with or without a vocoder's graph, or spectra."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["audio_of_mel", "audio_of_spectra", "inverse_stft", "pulse_train"]

_LARGEST = 7.0  # of a logarithm of a magnitude: more is no speech, and would drown the sentence
_LOWEST_PITCH, _HIGHEST_HARMONIC = 40.0, 11_000.0  # Hz


def audio_of_mel(mel: np.ndarray, sample_rate: int, hop: int, vocoder: Any = None) -> NDArray[np.float32]:
    """Turn a natural log mel (bins, frames) into (samples,).

    Parameters
    ----------
    vocoder
        An onnxruntime session that takes (1, bins, frames) and gives audio, or Vocos' magnitudes, cosines and sines of
        a short-time Fourier transform; without one, phases come from Griffin-Lim, which is heard.
    """
    if vocoder is None:
        import torch

        from genmend.tts.voices.mel import LogMel

        made = LogMel(sample_rate, hop=hop, n_mels=len(mel), n_fft=4 * hop, highest=min(8_000.0, sample_rate / 2))
        return np.asarray(made.audio(torch.from_numpy(np.ascontiguousarray(mel, np.float32))), np.float32)
    given = vocoder.run(None, {vocoder.get_inputs()[0].name: mel[None].astype(np.float32)})
    if len(given) < 3:
        return np.asarray(given[0], np.float32).reshape(-1)
    magnitude, cosine, sine = (part[0] for part in given[:3])
    return inverse_stft(magnitude * (cosine + 1j * sine), hop)


def audio_of_spectra(
    harmonic: np.ndarray,
    angle: np.ndarray,
    noise: np.ndarray,
    rest: np.ndarray,
    phase: np.ndarray,
    pitch: np.ndarray,
    sample_rate: int,
    generator: np.random.Generator,
) -> NDArray[np.float32]:
    """Turn hibari's spectra into (samples,): filtered pulses, shaped noise, and a part whose phase is given.

    The formula is the one that hibari-tts 0.2.1 publishes for ports:
    ``exp(harmonic) exp(i pi tanh(angle)) STFT(pulses) + exp(noise) Z + exp(rest) exp(i phase)``.

    Parameters
    ----------
    harmonic, noise, rest
        (bins, frames) natural logarithms of magnitudes.
    angle, phase
        (bins, frames), the second in radians.
    pitch
        (frames,) in Hz; 0 where there is no voice.
    generator
        Of the noise Z.
    """
    size = 2 * (len(harmonic) - 1)
    hop = size // 4
    source = _stft(pulse_train(pitch, hop, sample_rate), size, hop)[:, : harmonic.shape[1]] / hop
    spectrum = _magnitude(harmonic) * np.exp(1j * np.pi * np.tanh(angle)) * source
    white = generator.standard_normal((*noise.shape, 2), dtype=np.float32)
    spectrum += _magnitude(noise) * (white[..., 0] + 1j * white[..., 1])
    spectrum += _magnitude(rest) * np.exp(1j * phase)
    return inverse_stft(spectrum, hop)


def _magnitude(logarithm: np.ndarray) -> NDArray[np.float32]:
    return np.exp(np.minimum(logarithm, _LARGEST))


def pulse_train(pitch: np.ndarray, hop: int, sample_rate: int) -> NDArray[np.float64]:
    """Sum all harmonics below 11 kHz, each of amplitude 1, of a pitch (frames,) in Hz; (frames * hop,), 0 unvoiced.

    The sum of cosines in closed form: ``sin((n + 1/2) t) / (2 sin(t / 2)) - 1/2``.
    """
    centers = (np.arange(len(pitch)) + 0.5) * hop - 0.5
    hertz = np.interp(np.arange(len(pitch) * hop), centers, pitch.astype(np.float64))
    voiced = hertz > _LOWEST_PITCH
    hertz = np.maximum(hertz, _LOWEST_PITCH)
    turn = 2 * np.pi * np.modf(np.cumsum(hertz) / sample_rate)[0]
    n = np.floor(_HIGHEST_HARMONIC / hertz) + 0.5
    half = 2 * np.sin(turn / 2)
    near = np.abs(half) <= 2e-3  # the limit where a pulse is
    pulses = np.where(near, n, np.sin(n * turn) / np.where(near, 1.0, half)) - 0.5
    return np.where(voiced, pulses, 0.0)


def _window(size: int) -> NDArray[np.float64]:
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)


def _stft(audio: np.ndarray, size: int, hop: int) -> NDArray[np.complex128]:
    """(bins, frames) of a Hann window, the first frame centred on sample 0; frames are made one by one, not copied."""
    padded = np.pad(audio, size // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    return np.fft.rfft(frames * _window(size), axis=1).T


def inverse_stft(spectrum: np.ndarray, hop: int) -> NDArray[np.float32]:
    """Turn (bins, frames), of a Hann window and centred frames, into (frames * hop,) samples."""
    size = 2 * (len(spectrum) - 1)
    window = _window(size)
    frames = np.fft.irfft(spectrum.T, size, axis=1) * window
    audio = np.zeros(len(frames) * hop + size)
    weight = np.zeros_like(audio)
    for i, frame in enumerate(frames):
        audio[i * hop : i * hop + size] += frame
        weight[i * hop : i * hop + size] += window**2
    middle = slice(size // 2, size // 2 + len(frames) * hop)
    return (audio[middle] / np.maximum(weight[middle], 1e-11)).astype(np.float32)
