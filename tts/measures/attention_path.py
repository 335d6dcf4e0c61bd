"""Skips, repeats and stalls along the path of an attention matrix: the token of largest weight in each frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from genmend.tts.measures.alignment_result import Alignment, positions, sounding_tokens

__all__ = ["Stretch", "attention_alignment", "repeated_stretches", "repeated_tokens", "stalled_stretches"]

STALL_SECONDS = 1.0
Stretch = tuple[int, int, int]  # a token, and the first frame and the frame after the last one
_JUMP = 3  # tokens: a step forward of more is a jump
_PATIENCE = 2  # frames: a visit that lasts no longer is a flicker of the attention


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
    sounding = sounding_tokens(heard, n)
    if not frame_seconds > 0:
        raise ValueError(f"frame_seconds is {frame_seconds}; give the seconds that a frame lasts, above 0.")
    path = weights.argmax(axis=1)
    reached = np.bincount(path, minlength=n) > 0
    most = weights.max(axis=0)
    return Alignment(
        n=int(sounding.sum()),
        skipped=positions(sounding & ~reached),
        stalled=tuple(token for token, _, _ in _find_stalls(path, stall_seconds / frame_seconds)),
        repeats=len(_returns(path)),
        finished=bool(finished),
        jumps=int((np.diff(path) > _JUMP).sum()),
        focus_rate=float(weights.max(axis=1).mean()),
        align_error=float(1 - most.mean()),
        diagonal_ratio=_diagonal_ratio(weights, max(1.0, n / 10) if band is None else band),
        coverage=_coverage(most, sounding, word_of),
    )


def stalled_stretches(
    attention: np.ndarray, *, frame_seconds: float, stall_seconds: float = STALL_SECONDS
) -> tuple[Stretch, ...]:
    """Find where the path of an attention matrix (frames, n) rests on a token; errors as above."""
    return tuple(_find_stalls(_weights(attention).argmax(axis=1), stall_seconds / frame_seconds))


def _find_stalls(path: np.ndarray, limit: float) -> list[Stretch]:
    starts = np.flatnonzero(np.diff(path, prepend=-1))
    ends = np.array([*starts[1:], len(path)])
    # A hair of tolerance: 1 s of frames of 0.02 s is 50 of them, not 49.99.
    long = np.flatnonzero(ends - starts > limit + 1e-6)
    return [(int(path[starts[i]]), int(starts[i]), int(ends[i])) for i in long]


def repeated_tokens(attention: np.ndarray) -> tuple[int, ...]:
    """Tokens that the path of an attention matrix (frames, n) went back to, one a repeat; errors as above."""
    return tuple(token for token, _, _ in repeated_stretches(attention))


def repeated_stretches(attention: np.ndarray) -> tuple[Stretch, ...]:
    """Tokens that the path went back to, and the frames until it was as far as before, or fell again."""
    return tuple(_returns(_weights(attention).argmax(axis=1)))


def _returns(path: np.ndarray) -> list[Stretch]:
    """Each fall behind what the path had held: where it ends, and how long it takes to come back."""
    if len(path) <= _PATIENCE:
        return []
    furthest, found = int(path[0]), []
    for start, window in enumerate(np.lib.stride_tricks.sliding_window_view(path, _PATIENCE + 1)):
        if window.max() < furthest - 1:
            back = np.flatnonzero(path[start:] >= furthest)
            end = start + int(back[0]) if len(back) else len(path)
            furthest = int(window.max())
            found.append((furthest, start, end))
        else:
            furthest = max(furthest, int(window.min()))
    return found


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
