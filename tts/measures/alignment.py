"""Did the voice read every token once and in order: by its attention where it has one, else by its durations."""

from __future__ import annotations

from collections.abc import Mapping

from genmend.tts.measures.alignment_result import Alignment, add_blank_frames, duration_alignment, duration_limits
from genmend.tts.measures.attention_path import attention_alignment
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.voice import Speech

__all__ = [
    "Alignment",
    "add_blank_frames",
    "alignment_of",
    "attention_alignment",
    "duration_alignment",
    "duration_limits",
]


def alignment_of(tokens: Tokens, speech: Speech, longest: Mapping[str, float] | None = None) -> Alignment:
    """How a voice read its tokens: by its attention where it has one, else by its durations.

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
