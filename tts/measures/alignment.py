"""Did the voice read every token once and in order: by its attention where it has one, else by its durations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from genmend.tts.measures.alignment_result import Alignment, positions, sounding_tokens
from genmend.tts.measures.attention_path import attention_alignment
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.voice import Speech

__all__ = ["add_blank_frames", "alignment_of", "duration_alignment", "duration_limits"]


def alignment_of(tokens: Tokens, speech: Speech, longest: Mapping[str, float] | None = None) -> Alignment:
    """Read how a voice went through its tokens: by its attention where it has one, else by its durations.

    Phonemes and characters are to be heard, marks, punctuation and blanks are not.

    Parameters
    ----------
    longest
        For durations, as `duration_alignment` takes it; without it no token counts as a stall.

    Raises
    ------
    ValueError
        If the speech has neither, or they are not of these tokens.
    """
    heard = [kind in ("phoneme", "character") for kind in tokens.kinds]
    if speech.attention is not None:
        seconds = speech.hop / speech.sample_rate
        return attention_alignment(
            speech.attention, frame_seconds=seconds, heard=heard, word_of=tokens.word_of, finished=speech.finished
        )
    if speech.frames is None:
        raise ValueError("The speech has neither attention nor frames, so its alignment is unknown; use a judge.")
    frames = add_blank_frames(speech.frames, tokens.kinds)
    return duration_alignment(frames, tokens.symbols, longest or {}, heard=heard, finished=speech.finished)


def duration_alignment(
    frames: np.ndarray,
    symbols: Sequence[str],
    longest: Mapping[str, float],
    *,
    heard: Sequence[bool] | np.ndarray | None = None,
    shortest: int = 2,
    finished: bool = True,
) -> Alignment:
    """Find skips and stalls of a voice that decides durations; such a voice cannot go back.

    Parameters
    ----------
    frames
        (n,) how many frames each token lasts; with blanks between them, as `add_blank_frames` counts.
    symbols
        (n,) what each token stands for.
    longest
        The most frames that are usual for a symbol (`duration_limits`); a symbol that is not in it cannot stall.
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
    sounding = sounding_tokens(heard, len(lasting))
    limits = np.array([longest.get(symbol, np.inf) for symbol in symbols])
    return Alignment(
        n=int(sounding.sum()),
        skipped=positions(sounding & (lasting < shortest)),
        stalled=positions(sounding & (lasting > limits)),
        finished=bool(finished),
    )


def duration_limits(
    frames: Sequence[np.ndarray], symbols: Sequence[Sequence[str]], quantile: float = 0.999
) -> dict[str, float]:
    """Measure how long each symbol may last: a quantile over many ordinary sentences, symbol -> frames.

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


def add_blank_frames(frames: np.ndarray, kinds: Sequence[str]) -> np.ndarray:
    """Add the frames of blanks to the token before them, (n,), 0 for blanks: a voice spreads a sound over both."""
    lasting = _durations(frames, kinds)
    blank = np.array([kind == "blank" for kind in kinds])
    owner = np.maximum.accumulate(np.where(blank, 0, np.arange(len(kinds))))
    return np.bincount(owner, weights=lasting, minlength=len(kinds)) * ~blank


def _durations(frames: np.ndarray, symbols: Sequence[str]) -> np.ndarray:
    lasting = np.asarray(frames, dtype=np.float64)
    if lasting.shape != (len(symbols),):
        raise ValueError(f"frames has shape {lasting.shape}, but there are {len(symbols)} tokens; give one for each.")
    if not (np.isfinite(lasting).all() and (lasting >= 0).all()):
        raise ValueError("frames holds negative or no finite numbers; give how many frames each token lasts.")
    return lasting
