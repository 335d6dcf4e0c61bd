"""Recordings in a page."""

from __future__ import annotations

import io

import numpy as np
import soundfile

from genmend.tts import Speech
from genmend.workbench.pages.page import Audio

__all__ = ["audio_block", "wav_bytes"]


def wav_bytes(audio: np.ndarray, sample_rate: int) -> bytes:
    """A 16-bit WAV file in memory; louder than full scale is made quieter."""
    buffer = io.BytesIO()
    loudest = max(1.0, float(np.abs(audio).max(initial=0.0)))
    soundfile.write(buffer, audio / loudest, sample_rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def audio_block(caption: str, speech: Speech) -> Audio:
    """A player of one spoken sentence."""
    return Audio(caption, wav_bytes(speech.audio, speech.sample_rate))
