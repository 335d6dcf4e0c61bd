"""Did the voice read every token once and in order: skips, repeats and stalls, from its attention or its durations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Alignment", "attention_alignment", "duration_alignment", "longest_usual", "with_their_blanks"]

STALL_SECONDS = 1.0
_JUMP = 3  # tokens: a step forward of more is a jump
_PATIENCE = 2  # frames: a visit that lasts no longer is a flicker of the attention


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


def attention_alignment(
    attention: np.ndarray,
    *,
    frame_seconds: float,
    heard: Sequence[bool] | np.ndarray | None = None,
    word_of: Sequence[int] | None = None,
    finished: bool = True,
    stall_seconds: float = STALL_SECONDS,
    band: float | None = None,
) -> Alignment:
    """Read an attention matrix along its path, the token of largest weight in each frame.

    A token that the path never reaches is skipped. A repeat is a fall, for more than 2 frames, by more than one token
    behind what the path had held for more than 2 frames: shorter visits are flickers of the attention. A token on
    which the path rests for more than `stall_seconds` at a stretch is a stall.

    Parameters
    ----------
    attention
        (frames, n) weights, at least 0; each row adds up to 1.
    frame_seconds
        How long a frame (a step of the decoder) lasts.
    heard
        (n,) which tokens have a sound of their own; only they can be skipped, and they are the `n` of all rates. All
        by default; for a `Tokens`, those of kind "phoneme" or "character".
    word_of
        (n,) word of each token, -1 for none; `coverage` is then the least over words.
    finished
        As `Speech.finished`.
    band
        How far from the diagonal, in tokens, `diagonal_ratio` looks; a tenth of the tokens by default, at least 1.

    Raises
    ------
    ValueError
        For a matrix of another shape, without frames or tokens, with numbers that are no weights, or if no token is to
        be heard.
    """
    weights = _weights(attention)
    n = weights.shape[1]
    sounding = _heard(heard, n)
    if not frame_seconds > 0:
        raise ValueError(f"frame_seconds is {frame_seconds}; give the seconds that a frame lasts, above 0.")
    path = weights.argmax(axis=1)
    reached = np.bincount(path, minlength=n) > 0
    most = weights.max(axis=0)
    return Alignment(
        n=int(sounding.sum()),
        skipped=_positions(sounding & ~reached),
        stalled=_stalled(path, stall_seconds / frame_seconds),
        repeats=_repeats(path),
        finished=bool(finished),
        jumps=int((np.diff(path) > _JUMP).sum()),
        focus_rate=float(weights.max(axis=1).mean()),
        align_error=float(1 - most.mean()),
        diagonal_ratio=_diagonal_ratio(weights, max(1.0, n / 10) if band is None else band),
        coverage=_coverage(most, sounding, word_of),
    )


def duration_alignment(
    frames: np.ndarray,
    symbols: Sequence[str],
    longest: Mapping[str, float],
    *,
    heard: Sequence[bool] | np.ndarray | None = None,
    shortest: int = 2,
    finished: bool = True,
) -> Alignment:
    """Skips and stalls of a voice that decides durations; it cannot go back.

    Parameters
    ----------
    frames
        (n,) how many frames each token lasts; with blanks between them, as `with_their_blanks` counts.
    symbols
        (n,) what each token stands for.
    longest
        The most frames that are usual for a symbol (`longest_usual`); a symbol that is not in it cannot stall.
    heard
        As in `attention_alignment`.
    shortest
        A token that lasts fewer frames is a skip candidate.

    Raises
    ------
    ValueError
        If the lengths differ, a duration is negative or not finite, or no token is to be heard.
    """
    lasting = _durations(frames, symbols)
    sounding = _heard(heard, len(lasting))
    limits = np.array([longest.get(symbol, np.inf) for symbol in symbols])
    return Alignment(
        n=int(sounding.sum()),
        skipped=_positions(sounding & (lasting < shortest)),
        stalled=_positions(sounding & (lasting > limits)),
        finished=bool(finished),
    )


def longest_usual(
    frames: Sequence[np.ndarray], symbols: Sequence[Sequence[str]], quantile: float = 0.999
) -> dict[str, float]:
    """The quantile of each symbol's durations over many ordinary sentences: symbol -> frames.

    Parameters
    ----------
    frames, symbols
        Of each sentence, as `duration_alignment` takes them.
    """
    found: dict[str, list[float]] = {}
    for lasting, names in zip(frames, symbols, strict=True):
        for symbol, frame in zip(names, _durations(lasting, names), strict=True):
            found.setdefault(symbol, []).append(float(frame))
    # "higher": of fewer than a thousand values, the largest, so that none of them is called unusual.
    return {symbol: float(np.quantile(values, quantile, method="higher")) for symbol, values in found.items()}


def with_their_blanks(frames: np.ndarray, kinds: Sequence[str]) -> np.ndarray:
    """(n,) frames of each token and the blanks after it, 0 for blanks: a voice spreads one sound over both."""
    lasting = _durations(frames, kinds)
    blank = np.array([kind == "blank" for kind in kinds])
    owner = np.maximum.accumulate(np.where(blank, 0, np.arange(len(kinds))))
    return np.bincount(owner, weights=lasting, minlength=len(kinds)) * ~blank


def _stalled(path: np.ndarray, limit: float) -> tuple[int, ...]:
    starts = np.flatnonzero(np.diff(path, prepend=-1))
    lasting = np.diff([*starts, len(path)])
    # A hair of tolerance: 1 s of frames of 0.02 s is 50 of them, not 49.99.
    return tuple(int(token) for token in path[starts[lasting > limit + 1e-6]])


def _repeats(path: np.ndarray) -> int:
    if len(path) <= _PATIENCE:
        return 0
    furthest, repeats = int(path[0]), 0
    for window in np.lib.stride_tricks.sliding_window_view(path, _PATIENCE + 1):
        if window.max() < furthest - 1:
            repeats += 1
            furthest = int(window.max())
        else:
            furthest = max(furthest, int(window.min()))
    return repeats


def _diagonal_ratio(weights: np.ndarray, band: float) -> float:
    n_frames, n = weights.shape
    # Centres of frames and tokens, so that a matrix turned round has the same ratio.
    diagonal = (np.arange(n_frames) + 0.5) * (n / n_frames) - 0.5
    near = np.abs(np.arange(n) - diagonal[:, None]) <= band
    return float(weights[near].sum() / weights.sum())


def _coverage(most: np.ndarray, sounding: np.ndarray, word_of: Sequence[int] | None) -> float:
    if word_of is None:
        return float(most[sounding].min())
    words = np.asarray(word_of)
    if words.shape != most.shape:
        raise ValueError(f"word_of has shape {words.shape}, but there are {len(most)} tokens; give one word for each.")
    return float(min(most[sounding & (words == word)].max() for word in np.unique(words[sounding])))


def _weights(attention: np.ndarray) -> np.ndarray:
    weights = np.asarray(attention, dtype=np.float64)
    if weights.ndim != 2 or 0 in weights.shape:
        raise ValueError(f"attention has shape {weights.shape}; give (frames, n) with at least one frame and token.")
    if not np.isfinite(weights).all() or weights.min() < 0 or np.abs(weights.sum(axis=1) - 1).max() > 0.02:
        raise ValueError("attention holds numbers that are no weights; each row has to be at least 0 and add up to 1.")
    return weights


def _durations(frames: np.ndarray, symbols: Sequence[str]) -> np.ndarray:
    lasting = np.asarray(frames, dtype=np.float64)
    if lasting.shape != (len(symbols),):
        raise ValueError(f"frames has shape {lasting.shape}, but there are {len(symbols)} tokens; give one for each.")
    if not (np.isfinite(lasting).all() and (lasting >= 0).all()):
        raise ValueError("frames holds negative or no finite numbers; give how many frames each token lasts.")
    return lasting


def _heard(heard: Sequence[bool] | np.ndarray | None, n: int) -> np.ndarray:
    sounding = np.ones(n, dtype=bool) if heard is None else np.asarray(heard, dtype=bool)
    if sounding.shape != (n,):
        raise ValueError(f"heard has shape {sounding.shape}, but there are {n} tokens; give one bool for each.")
    if not sounding.any():
        raise ValueError("No token is to be heard, so there is nothing to align; mark those that have a sound.")
    return sounding


def _positions(mask: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.flatnonzero(mask))
