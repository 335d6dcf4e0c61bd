"""How long each sound of a voice usually lasts, and which sounds of a sentence are far from that.

A sound is far too short where it lasts less than `FAR_SHORT` times the 0.1 % quantile of its own in ordinary text, far
too long where it lasts more than `FAR_LONG` times the 99.9 % quantile: ours, so that ordinary text hardly has any.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from genmend.tts.measures.alignment import add_blank_frames
from genmend.tts.measures.reading_faults import ReadingFault
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.voice import Speech

__all__ = ["DURATION_FAULTS", "SoundLengths", "find_duration_faults", "measure_lengths"]

#: Faults that the durations of a voice show.
DURATION_FAULTS = ("too short", "too long")
#: symbol -> how many sounds were measured, and 0.1 % quantile, median and 99.9 % quantile of their frames.
SoundLengths = Mapping[str, Sequence[float]]
FAR_SHORT, FAR_LONG = 0.8, 1.25
_FEWEST = 20  # sounds, below which nothing is known of a symbol


def measure_lengths(sentences: Sequence[Tokens], frames: Sequence[np.ndarray]) -> dict[str, list[float]]:
    """Measure how long each sound lasts in ordinary sentences.

    Parameters
    ----------
    sentences
        What was said.
    frames
        (n,) of each sentence: how many frames each token lasts, as `Speech.frames`.
    """
    found: dict[str, list[float]] = {}
    for tokens, lasting in zip(sentences, frames, strict=True):
        whole = add_blank_frames(lasting, tokens.kinds)
        for i in tokens.sounds:
            found.setdefault(tokens.symbols[i], []).append(float(whole[i]))
    quantiles = (0.001, 0.5, 0.999)
    return {symbol: [len(values), *np.quantile(values, quantiles).tolist()] for symbol, values in found.items()}


def find_duration_faults(tokens: Tokens, speech: Speech, lengths: SoundLengths) -> tuple[ReadingFault, ...]:
    """List the sounds that last far shorter or longer than their like, a fault a word; () for voices that attend."""
    if speech.attention is not None or speech.frames is None or not lengths:
        return ()
    whole, spans = add_blank_frames(speech.frames, tokens.kinds), speech.spans
    step = speech.hop / speech.sample_rate
    found: dict[tuple[int, str], list[int]] = {}
    for i in tokens.sounds:
        n, low, _, high = lengths.get(tokens.symbols[i], (0, 0, 0, 0))
        fault = "too short" if whole[i] < FAR_SHORT * low else "too long" if whole[i] > FAR_LONG * high else ""
        if n >= _FEWEST and fault:
            found.setdefault((tokens.word_of[i], fault), []).append(i)
    faults = []
    for (word, fault), own in found.items():
        told = ", ".join(
            f"{tokens.symbols[i]} {whole[i] * step:.2f} s, usually {lengths[tokens.symbols[i]][2] * step:.2f} s"
            for i in own
        )
        assert spans is not None
        seconds = float(spans[own[0], 0]), float(spans[own[-1], 0] + whole[own[-1]] * step)
        faults.append(ReadingFault(tokens.words[word] if word >= 0 else "", word, fault, seconds, tuple(own), told))
    return tuple(sorted(faults, key=lambda fault: fault.number))
