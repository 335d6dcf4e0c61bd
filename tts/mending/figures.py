"""Pictures of diagnosed sentences: waveform, mel spectrogram, phonemes coloured by score, attention; many at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from genmend.tts.measures.alignment import alignment_of
from genmend.tts.measures.attention_path import repeated_tokens
from genmend.tts.voices.mel import LogMel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from genmend.tts.mending.diagnosis import Diagnosis
    from genmend.tts.text.tokens import Tokens
    from genmend.tts.voices.voice import Speech

__all__ = [
    "STATE_COLOURS",
    "can_draw",
    "diagnosis_figure",
    "draw_waveform",
    "outside_histogram",
    "score_heat_map",
    "visible_symbol",
    "visible_word",
]

_VISIBLE = {" ": "␣"}  # symbols that would not be seen
FAULT_COLOURS = {"skipped": "#b2182b", "stalled": "#f4a582", "went back to": "#762a83"}
STATE_COLOURS = {"inside": "#d9ead8", "outside": "#f4a582", "never seen": "#b2182b", "dropped": "#7f7f7f"}


def diagnosis_figure(diagnosis: Diagnosis, speech: Speech) -> Figure:
    """Draw a sentence along time: waveform, mel spectrogram, and phonemes coloured by what was found of them.

    Where the model has an attention, it is drawn below with its path and with what it skipped, stayed on for more than
    a second, or went back to. Without durations or attention the lane is spread evenly.
    """
    from matplotlib.figure import Figure

    n_rows = 3 + (speech.attention is not None)
    heights = [1.0, 1.6, 0.9, 2.2][:n_rows]
    width = float(np.clip(2.2 + 2.6 * speech.seconds, 7.0, 22.0))
    figure = Figure(figsize=(width, 1.25 * sum(heights)), layout="constrained")
    axes = figure.subplots(n_rows, 1, sharex=True, height_ratios=heights)
    draw_waveform(axes[0], speech)
    _spectrogram(axes[1], speech)
    _lane(axes[2], diagnosis, speech)
    if speech.attention is not None:
        _attention(axes[3], diagnosis, speech)
    axes[-1].set_xlabel("seconds")
    axes[-1].set_xlim(0, max(speech.seconds, 1e-3))
    return figure


def score_heat_map(diagnosis: Diagnosis) -> Figure:
    """Draw the scores of layers (rows) and spoken tokens (columns); white is the region's border, red is outside."""
    from matplotlib.colors import TwoSlopeNorm
    from matplotlib.figure import Figure

    spoken = np.flatnonzero(diagnosis.tokens.spoken)
    scores = np.array([row[spoken] for row in diagnosis.scores.values()])
    figure = Figure(
        figsize=(float(np.clip(1.6 + 0.19 * len(spoken), 6, 22)), 0.9 + 0.28 * len(scores)), layout="constrained"
    )
    axes = figure.subplots()
    axes.set_facecolor("0.75")  # no reference
    highest = max(1.2, float(np.nanmax(scores, initial=1.2)))
    image = axes.imshow(scores, aspect="auto", cmap="RdBu_r", norm=TwoSlopeNorm(1.0, 0.6, highest))
    axes.set_xticks(range(len(spoken)), [visible_symbol(diagnosis.tokens.symbols[i]) for i in spoken], fontsize=8)
    axes.set_yticks(range(len(scores)), list(diagnosis.scores), fontsize=8)
    figure.colorbar(image, ax=axes, label="score", pad=0.01)
    return figure


def outside_histogram(diagnoses: Sequence[Diagnosis]) -> Figure:
    """Draw how many sentences have which share of their symbols not inside; a line marks ordinary text."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 2.8), layout="constrained")
    axes = figure.subplots()
    axes.hist([100 * d.outside for d in diagnoses], bins=min(30, max(5, len(diagnoses) // 3)), color="#33658a")
    axes.axvline(100 * diagnoses[0].base_rate, color="#b2182b", label="ordinary held-out text")
    axes.set_xlabel("symbols not inside, %")
    axes.set_ylabel("sentences")
    axes.legend()
    return figure


def visible_symbol(symbol: str) -> str:
    """Make a symbol visible: a space gets a mark of its own."""
    return _VISIBLE.get(symbol, symbol)


def can_draw(text: str) -> bool:
    """Whether the font of pictures has a sign for each character."""
    from matplotlib.font_manager import findfont, get_font

    font = get_font(findfont("sans"))
    return all(font.get_char_index(ord(sign)) for sign in text)


def visible_word(tokens: Tokens, number: int) -> str:
    """A word as pictures write it: by its phonemes where their font has no signs for it, as for kana."""
    word = tokens.words[number]
    if can_draw(word):
        return word
    return "".join(tokens.symbols[i] for i, of in enumerate(tokens.word_of) if of == number).strip()


def draw_waveform(axes: Any, speech: Speech) -> None:
    """Draw the waveform along time into some axes."""
    from genmend.manifold.features.audio_extractor import resample

    # Peaks of short pieces: a line through every sample would be one block of ink.
    wave = resample(speech.audio.astype(np.float32), speech.sample_rate, 8_000)
    pieces = wave[: len(wave) // 16 * 16].reshape(-1, 16)
    seconds = (np.arange(len(pieces)) + 0.5) * 16 / 8_000
    axes.fill_between(seconds, pieces.min(axis=1), pieces.max(axis=1), color="#33658a", linewidth=0)
    axes.set_yticks([])
    axes.set_ylabel("wave")


def _spectrogram(axes: Any, speech: Speech) -> None:
    if speech.mel is not None:
        mel, step, highest = speech.mel, speech.hop / speech.sample_rate, speech.sample_rate / 2
    else:
        import torch

        shape = LogMel(sample_rate=speech.sample_rate, hop=256, highest=min(8_000.0, speech.sample_rate / 2))
        mel = shape(torch.from_numpy(np.ascontiguousarray(speech.audio))).numpy()
        step, highest = shape.hop / shape.sample_rate, shape.highest
    extent = (0.0, mel.shape[1] * step, 0.0, float(len(mel)))
    axes.imshow(mel, origin="lower", aspect="auto", cmap="magma", extent=extent)
    axes.set_yticks([])
    axes.set_ylabel(f"mel bins\nto {highest / 1000:.0f} kHz")


def _lane(axes: Any, diagnosis: Diagnosis, speech: Speech) -> None:
    from matplotlib.patches import Patch

    spans = _spans(diagnosis, speech)
    owner = _token_owning(diagnosis)
    for i in np.flatnonzero(diagnosis.tokens.spoken).tolist():
        start, stop = spans[owner == i, 0].min(), spans[owner == i, 1].max()
        axes.axvspan(start, stop, 0.42, 1.0, color=STATE_COLOURS[diagnosis.states[i]], linewidth=0)
        axes.text(
            (start + stop) / 2, 0.71, visible_symbol(diagnosis.tokens.symbols[i]), ha="center", va="center", fontsize=8
        )
    for number in range(len(diagnosis.tokens.words)):
        places = [i for i, w in enumerate(diagnosis.tokens.word_of) if w == number]
        if places:
            start, stop = spans[places, 0].min(), spans[np.isin(owner, places), 1].max()
            axes.axvline(start, 0, 0.42, color="0.7", linewidth=0.8)
            word = visible_word(diagnosis.tokens, number)
            axes.text((start + stop) / 2, 0.2, word, ha="center", va="center", fontsize=8)
    shown = [state for state in STATE_COLOURS if state in diagnosis.states]
    patches = [Patch(color=STATE_COLOURS[state], label=state) for state in shown]
    axes.legend(handles=patches, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, fontsize=7, frameon=False)
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.set_ylabel(diagnosis.layer, fontsize=8)


def _attention(axes: Any, diagnosis: Diagnosis, speech: Speech) -> None:
    assert speech.attention is not None
    step = speech.hop / speech.sample_rate
    extent = (0.0, len(speech.attention) * step, -0.5, speech.attention.shape[1] - 0.5)
    axes.imshow(speech.attention.T, origin="lower", aspect="auto", cmap="Greys", vmin=0, vmax=1, extent=extent)
    axes.step((np.arange(len(speech.attention)) + 0.5) * step, speech.attention.argmax(axis=1), linewidth=0.8)
    for fault, tokens in _attention_faults(diagnosis, speech).items():
        for number, token in enumerate(tokens):
            label = fault if number == 0 else None
            axes.axhspan(token - 0.5, token + 0.5, color=FAULT_COLOURS[fault], alpha=0.4, linewidth=0, label=label)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="upper left", fontsize=7)
    axes.set_yticks(range(len(diagnosis.tokens)), [visible_symbol(s) for s in diagnosis.tokens.symbols], fontsize=5)
    axes.set_ylabel("attention")


def _attention_faults(diagnosis: Diagnosis, speech: Speech) -> dict[str, tuple[int, ...]]:
    """Fault -> the tokens that it is marked at."""
    assert speech.attention is not None
    if not diagnosis.tokens.sounds:
        return {}
    found = alignment_of(diagnosis.tokens, speech)
    return {"skipped": found.skipped, "stalled": found.stalled, "went back to": repeated_tokens(speech.attention)}


def _spans(diagnosis: Diagnosis, speech: Speech) -> np.ndarray:
    if speech.spans is not None:
        return speech.spans
    edges = np.linspace(0, speech.seconds, len(diagnosis.tokens) + 1)
    return np.stack([edges[:-1], edges[1:]], axis=1)


def _token_owning(diagnosis: Diagnosis) -> np.ndarray:
    """(n,) to which token each belongs: a blank to the one before it."""
    places = np.arange(len(diagnosis.tokens))
    blank = np.array([kind == "blank" for kind in diagnosis.tokens.kinds])
    return np.maximum.accumulate(np.where(blank, 0, places))
