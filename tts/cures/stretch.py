"""Cure of voices with durations: make the sounds that are far too short or long as long as they usually are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from genmend.tts.cures.case import Case
from genmend.tts.cures.way import Way
from genmend.tts.measures.alignment import add_blank_frames
from genmend.tts.measures.sound_lengths import DURATION_FAULTS
from genmend.tts.voices.voice import Voice

__all__ = ["can_stretch", "usual_durations"]

_LARGEST = 4.0  # as edits of a word's duration


def can_stretch(voice: Voice) -> bool:
    """Whether the durations of the voice can be edited: those of Piper, VITS and ONNX voices."""
    return hasattr(voice, "duration_noise")


def usual_durations(case: Case) -> Iterator[tuple[str, Way]]:
    """Stretch or shorten each such sound to the median of its own: set, or by gradient through the predictor."""
    from genmend.tts.prosody.prosody import lengthen, stretch
    from genmend.tts.prosody.sentence_edits import load_editable
    from genmend.tts.voices.onnx.onnx_voice import OnnxVoice

    tokens, frames = case.tokens, case.reading.speech.frames
    faults = [fault for fault in case.reading.faults if fault.fault in DURATION_FAULTS]
    if tokens is None or frames is None or not faults:
        return
    voice, model = load_editable(case.way.voice, True)
    vectors = dict(case.way.vectors)
    layer = voice.layers[-1] if voice.layers else ""
    whole = add_blank_frames(frames, tokens.kinds)
    told = []
    for place in (place for fault in faults for place in fault.tokens):
        where = np.zeros(len(tokens), dtype=bool)
        where[place] = True
        where[place + 1 : place + 2] = [kind == "blank" for kind in tokens.kinds[place + 1 : place + 2]]
        usual = case.reference.lengths[tokens.symbols[place]][2]
        factor = float(np.clip(usual / max(whole[place], 1.0), 1 / _LARGEST, _LARGEST))
        if isinstance(voice, OnnxVoice):
            if whole[place]:
                frames = lengthen(frames, where, factor)[0]
            else:
                frames = np.where(np.arange(len(tokens)) == place, round(usual), frames)
            vectors["frames"] = frames[:, None].astype(np.float32)
        else:
            given = vectors[layer] if layer in vectors else voice.encode([tokens], [layer])[0][layer]
            speaker = voice.speaker if model.config.num_speakers > 1 else None
            length = voice.length / model.speaking_rate
            vectors[layer] = stretch(model, given, where, factor, frames, length=length, speaker=speaker)[0]
        told.append(f"{tokens.symbols[place]} ×{factor:.2f}")
    yield ", ".join(told), replace(case.way, vectors=vectors)
