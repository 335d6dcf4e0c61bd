"""A picture of one reading: its words along time, the path of its attention, and what is wrong marked in both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from genmend.tts.cures.case import Reading
from genmend.tts.measures.reading_faults import seconds_of
from genmend.tts.measures.sentence_faults import HEARD_FAULTS
from genmend.tts.mending.figures import can_draw, draw_waveform, visible_symbol, visible_word

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FAULT_COLOURS", "reading_figure"]

FAULT_COLOURS = {
    "skipped": "#b2182b",
    "partly skipped": "#d6604d",
    "end cut": "#b2182b",
    "stalled": "#e08214",
    "did not end": "#e08214",
    "repeated": "#762a83",
    "too short": "#d6604d",
    "too long": "#e08214",
    "dropped": "#7f7f7f",
    "not heard": "#2166ac",
    "heard otherwise": "#4393c3",
    "added": "#4393c3",
}
_INSTANT = 0.06  # seconds that something left out is drawn wide


def reading_figure(reading: Reading, *, seconds: float | None = None) -> Figure:
    """Draw waveform and words along time, faults in colour, and the attention with its path where the voice attends.

    Parameters
    ----------
    seconds
        How far the axis of time goes, so that two readings can be laid beside each other; the speech's own if None.
    """
    from matplotlib.figure import Figure

    tokens, speech = reading.tokens, reading.speech
    attends = speech.attention is not None
    heights = [0.7, 1.1, 2.6] if attends else [0.7, 1.1]
    width = float(np.clip(2.2 + 2.2 * (seconds or speech.seconds), 6.0, 16.0))
    figure = Figure(figsize=(width, 1.25 * sum(heights)), layout="constrained")
    axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    draw_waveform(axes[0], speech)
    _draw_words(axes[1], reading)
    if attends:
        _draw_attention(axes[2], reading)
        axes[2].set_yticks(range(len(tokens)), [visible_symbol(symbol) for symbol in tokens.symbols], fontsize=5)
    axes[-1].set_xlabel("seconds")
    axes[-1].set_xlim(0, max(seconds or speech.seconds, 1e-3))
    return figure


def _draw_words(axes: Any, reading: Reading) -> None:
    """A lane of words where they are said; what is wrong below in its colour: what was read, then what was heard."""
    for number in range(len(reading.tokens.words)):
        place = seconds_of(reading.tokens, reading.speech, number)
        if place is not None:
            axes.axvline(place[0], 2 / 3, 1, color="0.75", linewidth=0.8)
            word = visible_word(reading.tokens, number)
            axes.text(sum(place) / 2, 5 / 6, word, ha="center", va="center", fontsize=8, clip_on=True)
    seen = set()
    for fault in reading.faults:
        if fault.seconds is None:
            continue
        begin, end = fault.seconds
        low = 0.0 if fault.fault in HEARD_FAULTS else 1 / 3
        label = None if fault.fault in seen else fault.fault
        seen.add(fault.fault)
        axes.axvspan(begin - _INSTANT / 2, max(end, begin + _INSTANT / 2), low, low + 1 / 3, lw=0, alpha=0.85,
                     color=FAULT_COLOURS[fault.fault], label=label)  # fmt: skip
        told = fault.detail if fault.fault in HEARD_FAULTS else fault.word
        if not can_draw(told):
            told = visible_word(reading.tokens, fault.number) if fault.number >= 0 else ""
        axes.text((begin + end) / 2, low + 1 / 6, told, ha="center", va="center", fontsize=7, clip_on=True)
    if seen:
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, fontsize=7, frameon=False)
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.set_ylabel("words")


def _draw_attention(axes: Any, reading: Reading) -> None:
    speech = reading.speech
    assert speech.attention is not None
    step = speech.hop / speech.sample_rate
    n_frames, n = speech.attention.shape
    extent = (0.0, n_frames * step, -0.5, n - 0.5)
    axes.imshow(speech.attention.T, origin="lower", aspect="auto", cmap="Greys", vmin=0, vmax=1, extent=extent)
    axes.step((np.arange(n_frames) + 0.5) * step, speech.attention.argmax(axis=1), linewidth=0.9, color="#33658a")
    for fault in reading.faults:
        if fault.seconds is None or not fault.tokens:
            continue
        colour = FAULT_COLOURS[fault.fault]
        for token in fault.tokens:
            axes.axhspan(token - 0.5, token + 0.5, color=colour, alpha=0.3, lw=0)
        begin, end = fault.seconds
        axes.axvspan(begin - _INSTANT / 2, max(end, begin + _INSTANT / 2), color=colour, alpha=0.25, lw=0)
    axes.set_ylim(-0.5, n - 0.5)
    axes.set_ylabel("attention")
