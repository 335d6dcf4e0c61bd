"""Spoken sentences as WAV files."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence

import numpy as np

from genmend.storage.atomic import whole_file
from genmend.tts.voices.voice import Speech

__all__ = ["wav_bytes", "write_wav"]

PAUSE = 0.25  # seconds between two sentences of one text


def wav_bytes(audio: np.ndarray, sample_rate: int) -> bytes:
    """Make a 16-bit WAV file in memory; audio louder than full scale is made quieter.

    Parameters
    ----------
    audio
        (samples,) mono, full scale 1.
    sample_rate
        In Hz.
    """
    import soundfile

    buffer = io.BytesIO()
    loudest = max(1.0, float(np.abs(audio).max(initial=0.0)))
    soundfile.write(buffer, audio / loudest, sample_rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def write_wav(path: str | os.PathLike[str], speeches: Speech | Sequence[Speech]) -> None:
    """Write one sentence, or several of one voice with a pause of 0.25 s between them, as a 16-bit WAV file.

    Raises
    ------
    ValueError
        If there is no sentence.
    OSError
        If the file cannot be written; an older one stays as it was.
    """
    given = [speeches] if isinstance(speeches, Speech) else list(speeches)
    if not given:
        raise ValueError("There is no speech to write; give at least one sentence that a voice has spoken.")
    rate = given[0].sample_rate
    pause = np.zeros(round(PAUSE * rate), dtype=np.float32)
    parts = [part for speech in given for part in (pause, speech.audio.astype(np.float32))][1:]
    with whole_file(path) as temporary:
        temporary.write_bytes(wav_bytes(np.concatenate(parts), rate))
