"""How two recordings of the same sentence differ: mel cepstra and pitch, compared along dynamic time warping.

Meant to prove that a repair left the rest of a sentence alone, so every measure can leave out the spans that were to
change. Both recordings are compared at 16 kHz, in frames of 10 ms.

    tokens = voice.tokenize("Nguyen left.")
    done = repair(voice, reference, tokens)
    before, after = voice.speak(tokens), voice.speak(tokens, {done.layer: done.vectors})
    moved = before.spans[[token.position for token in done.moved]]
    mel_cepstral_distortion(before.audio, after.audio, voice.sample_rate)                    # in all
    mel_cepstral_distortion(before.audio, after.audio, voice.sample_rate, leave_out=moved)   # in what was not moved
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genmend.tts.measures.audio_input import RATE, missing_package, resample_to

__all__ = ["PitchError", "cents", "mel_cepstral_distortion", "pitch_error"]

HOP = 160
WINDOW = 1024
N_MELS = 80
N_COEFFICIENTS = 13
_DYNAMIC_RANGE = 80.0  # decibels below the loudest that count; below it is the noise floor of the arithmetic
_PITCH = (50.0, 500.0)  # Hertz

Spans = Iterable[tuple[float, float]]


@dataclass(frozen=True)
class PitchError:
    """How far the pitch of two recordings differs.

    Attributes
    ----------
    rmse : float
        Root mean square over frames voiced in both, in cents (100 are a semitone); lower is better, NaN without such
        frames.
    voicing : float
        Share of frames that are voiced in one only, in [0, 1]; lower is better.
    n_frames, n_voiced : int
        Pairs of frames compared, and how many of them are voiced in both.
    """

    rmse: float
    voicing: float
    n_frames: int
    n_voiced: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON; None where no frame is voiced in both."""
        return {**asdict(self), "rmse": self.rmse if self.n_voiced else None}


def mel_cepstral_distortion(before: np.ndarray, after: np.ndarray, sample_rate: int, *, leave_out: Spans = ()) -> float:
    """Measure (10 / ln 10) sqrt(2 sum_d (c_d - c'_d)^2), in decibels, the mean along the path of least distance.

    c_1 to c_13 of the logarithm of the power in 80 mel bands, without c_0: loudness alone does not count. So it is the
    distance of smoothed spectra, root mean square over the bands. 0 if equal, lower is better; not comparable with
    figures of other cepstra.

    Source: Kubichek, "Mel-cepstral distance measure for objective speech quality assessment", 1993.

    Parameters
    ----------
    before, after
        (samples,) mono, full scale 1; at least 64 ms each.
    sample_rate
        Of both, in Hertz.
    leave_out
        (begin, end) in seconds of `before`: frames whose window touches one are left out, with their partners.

    Raises
    ------
    ValueError
        If a recording is too short, silent or not finite, a span is turned round, or the spans leave nothing.
    ModuleNotFoundError
        If the package librosa is not installed.
    """
    first, second = _recordings(before, after, sample_rate)
    was, now = _cepstra(first), _cepstra(second)
    path = _leave_out_spans(_path(was, now), leave_out)
    differences = was[path[:, 0]] - now[path[:, 1]]
    return float(np.sqrt(2 * (differences**2).sum(axis=1)).mean())


def pitch_error(before: np.ndarray, after: np.ndarray, sample_rate: int, *, leave_out: Spans = ()) -> PitchError:
    """Measure how far the pitch differs along the path of the cepstra; pyin finds it between 50 and 500 Hz.

    Parameters, errors: as `mel_cepstral_distortion`.

    Source of pyin: Mauch and Dixon, ICASSP 2014; librosa's.
    """
    first, second = _recordings(before, after, sample_rate)
    path = _leave_out_spans(_path(_cepstra(first), _cepstra(second)), leave_out)
    was, now = _pitch(first)[path[:, 0]], _pitch(second)[path[:, 1]]
    both = np.isfinite(was) & np.isfinite(now)
    errors = cents(was[both], now[both])
    return PitchError(
        rmse=float(np.sqrt((errors**2).mean())) if both.any() else float("nan"),
        voicing=float((np.isfinite(was) != np.isfinite(now)).mean()),
        n_frames=len(path),
        n_voiced=int(both.sum()),
    )


def cents(before: NDArray[np.floating], after: NDArray[np.floating]) -> NDArray[np.float64]:
    """1200 log2(after / before): 1200 are an octave up, 100 a semitone."""
    return 1200 * np.log2(np.asarray(after, dtype=np.float64) / before)


def _recordings(before: np.ndarray, after: np.ndarray, sample_rate: int) -> list[NDArray[np.float32]]:
    waves = [resample_to(audio, sample_rate) for audio in (before, after)]
    for name, wave in zip(("before", "after"), waves, strict=True):
        if len(wave) < WINDOW or not wave.any():
            raise ValueError(
                f"{name} {'is silent' if len(wave) >= WINDOW else f'lasts {len(wave) / RATE:.3f} s'}, and at least "
                f"{WINDOW / RATE} s of sound are needed; give the whole sentence."
            )
    return waves


def _cepstra(wave: NDArray[np.float32]) -> NDArray[np.float64]:
    """(frames, 13) in decibels: (10 / ln 10) c_d, with ln P_m = c_0 + 2 sum_d c_d cos(pi d (m + 1/2) / 80)."""
    mel = _librosa().feature.melspectrogram(y=wave, sr=RATE, n_fft=WINDOW, hop_length=HOP, n_mels=N_MELS)
    decibels = _librosa().power_to_db(mel, ref=np.max, top_db=_DYNAMIC_RANGE)
    order = np.arange(1, N_COEFFICIENTS + 1)[:, None]
    cosines = np.cos(np.pi * order * (np.arange(N_MELS) + 0.5) / N_MELS)
    cepstra: NDArray[np.float64] = decibels.T.astype(np.float64) @ cosines.T / N_MELS
    return cepstra


def _pitch(wave: NDArray[np.float32]) -> NDArray[np.float64]:
    """(frames,) Hertz, NaN where unvoiced."""
    low, high = _PITCH
    pitch, _, _ = _librosa().pyin(wave, fmin=low, fmax=high, sr=RATE, frame_length=WINDOW, hop_length=HOP)
    return np.asarray(pitch, dtype=np.float64)


def _path(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.int64]:
    """(length, 2) pairs of frames, from the first to the last."""
    _, path = _librosa().sequence.dtw(first.T, second.T, metric="euclidean")
    return np.asarray(path, dtype=np.int64)[::-1]


def _leave_out_spans(path: NDArray[np.int64], leave_out: Spans) -> NDArray[np.int64]:
    centres = path[:, 0] * (HOP / RATE)
    reach = WINDOW / RATE / 2
    kept = np.ones(len(path), dtype=bool)
    for begin, end in leave_out:
        if not 0 <= begin <= end:
            raise ValueError(f"leave_out holds ({begin}, {end}); give (begin, end) in seconds, 0 <= begin <= end.")
        kept &= (centres + reach <= begin) | (centres - reach >= end)
    if not kept.any():
        raise ValueError("leave_out covers the whole recording, so nothing is left to compare; give shorter spans.")
    return path[kept]


def _librosa() -> Any:
    try:
        import librosa
    except ModuleNotFoundError as error:
        raise missing_package("librosa", "Spectral measures need") from error
    return librosa
