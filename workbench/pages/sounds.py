"""Recordings in a page."""

from __future__ import annotations

from genmend.tts import Speech
from genmend.tts.voices.wav import wav_bytes
from genmend.workbench.pages.page import Audio

__all__ = ["audio_block"]


def audio_block(caption: str, speech: Speech) -> Audio:
    """A player of one spoken sentence."""
    return Audio(caption, wav_bytes(speech.audio, speech.sample_rate))
