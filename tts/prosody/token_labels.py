"""How each token of a sentence sounds: how long, how high, how loud, how dark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.voice import Speech

__all__ = ["ATTRIBUTES", "frame_measures", "median_pitch", "pitch_track", "token_labels", "token_spans"]

# duration: natural logarithm of seconds. pitch: natural logarithm of Hz. energy: dB. tilt: dB, how much louder
# 50-1000 Hz is than 1-5 kHz.
ATTRIBUTES = ("duration", "pitch", "energy", "tilt")
_SILENCE = 1e-10  # power at which a frame's level ends, so that silence has one
_LEAST_VOICED = 3  # frames: a median of fewer is no pitch


def pitch_track(speech: Speech, *, lowest: float = 60.0, highest: float = 400.0) -> NDArray[np.float64]:
    """Track the natural logarithm of the pitch in Hz by ``librosa.pyin``; NaN in frames that it calls unvoiced.

    Parameters
    ----------
    lowest, highest
        In Hz. A range that fits the speaker is faster, and has fewer octave errors.

    Returns
    -------
    ndarray
        (frames,), in steps of a tenth of a semitone.

    Raises
    ------
    ModuleNotFoundError
        If librosa is not installed (extra ``tts``).
    """
    import librosa

    pitch, _, _ = librosa.pyin(
        speech.audio.astype(np.float32),
        fmin=lowest,
        fmax=highest,
        sr=speech.sample_rate,
        frame_length=_window(speech.sample_rate),  # longer ones find no period in a creaky voice
        hop_length=speech.hop,
        resolution=0.1,
    )
    return np.asarray(np.log(pitch[: len(speech.audio) // speech.hop]), dtype=np.float64)


def frame_measures(speech: Speech, *, lowest: float = 60.0, highest: float = 400.0) -> dict[str, NDArray[np.float64]]:
    """Measure each frame of `Speech.hop` samples: attribute -> (frames,), all attributes but the duration.

    Parameters
    ----------
    lowest, highest
        Of the pitch, in Hz; see `pitch_track`, also for what is raised.
    """
    import librosa

    window = _window(speech.sample_rate)
    spectrum = librosa.stft(speech.audio.astype(np.float32), n_fft=window, hop_length=speech.hop)
    power = np.abs(spectrum[:, : len(speech.audio) // speech.hop]) ** 2
    hertz = librosa.fft_frequencies(sr=speech.sample_rate, n_fft=window)

    def level(low: float, high: float) -> NDArray[np.float64]:
        band = power[(hertz >= low) & (hertz < high)].sum(axis=0, dtype=np.float64)
        return np.asarray(10 * np.log10(band + _SILENCE))

    return {
        "pitch": pitch_track(speech, lowest=lowest, highest=highest),
        "energy": level(0, np.inf),
        "tilt": level(50, 1_000) - level(1_000, 5_000),
    }


def median_pitch(track: np.ndarray, begin: int = 0, end: int | None = None) -> float:
    """Take the median over the voiced frames of ``track[begin:end]``, in log Hz; NaN where fewer than 3 are voiced."""
    voiced = track[begin:end]
    voiced = voiced[np.isfinite(voiced)]
    return float(np.median(voiced)) if len(voiced) >= _LEAST_VOICED else float("nan")


def token_spans(tokens: Tokens, frames: np.ndarray) -> NDArray[np.int64]:
    """Find where spoken tokens with their blanks begin and end, (n, 2) in frames; empty for other tokens.

    A voice that puts blanks between its symbols lets about half of each sound's time pass on them.
    """
    ends = np.cumsum(frames, dtype=np.int64)
    spans = np.stack([ends - frames, ends], axis=1).astype(np.int64)
    last = None
    for i, kind in enumerate(tokens.kinds):
        if kind == "blank" and last is not None:
            spans[last, 1] = ends[i]
        if tokens.spoken[i]:
            last = i
        else:
            spans[i] = ends[i]
            last = last if kind == "blank" else None
    return spans


def token_labels(
    tokens: Tokens, speech: Speech, measures: Mapping[str, np.ndarray] | None = None
) -> dict[str, NDArray[np.float64]]:
    """Label phonemes, marks and characters together with their blanks: attribute -> (n,), NaN for other tokens.

    Pitch is the median of its voiced frames, energy and tilt the mean of its frames.

    Parameters
    ----------
    measures
        What `frame_measures` gives, where it is already there.

    Raises
    ------
    ValueError
        If the speech does not say how long each token lasts.
    """
    if speech.frames is None:
        raise ValueError("The speech has no frames of its tokens; labels need a voice with durations or attention.")
    measures = frame_measures(speech) if measures is None else measures
    labels: dict[str, Any] = {attribute: np.full(len(tokens), np.nan) for attribute in ATTRIBUTES}
    for i, (begin, end) in enumerate(token_spans(tokens, speech.frames)):
        if end <= begin or tokens.kinds[i] == "punctuation":
            continue
        labels["duration"][i] = np.log((end - begin) * speech.hop / speech.sample_rate)
        labels["pitch"][i] = median_pitch(measures["pitch"], begin, end)
        for attribute in ("energy", "tilt"):
            part = measures[attribute][begin:end]
            labels[attribute][i] = part.mean() if len(part) else np.nan
    return labels


def _window(sample_rate: int) -> int:
    """Samples of about 50 ms, a power of two."""
    return 1 << max(9, round(np.log2(0.05 * sample_rate)))
