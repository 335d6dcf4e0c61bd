"""Which of several speakers a voice is: by name, by number, or by the style vectors of a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genmend.tts.voices.onnx.description import Description
from genmend.tts.voices.onnx.styles import read_style, style_names

__all__ = ["choose_number", "choose_style"]


def choose_style(known: Description, speaker: int | str | None, size: int) -> tuple[str, NDArray[np.float32]]:
    """The name and the style vectors (rows, size) of a speaker, the first if None; a path is a file of one.

    Raises
    ------
    ValueError
        If there is no such speaker.
    VoiceFileError
        If the file cannot be read.
    """
    assert known.styles is not None  # `describe` refuses a graph that takes a style where there is none
    source, held = known.styles, known.style_names
    if isinstance(speaker, str) and speaker not in style_names(source, held) and Path(speaker).is_file():
        source, held, speaker = Path(speaker), (), None
    name = _chosen(known.name, style_names(source, held), speaker)
    return name, read_style(source, name, size, held)


def choose_number(known: Description, speaker: int | str | None) -> int:
    """The number of a speaker; refused where it would have no effect.

    Raises
    ------
    ValueError
        If there is no such speaker, or the graph takes none.
    """
    if known.input_of("speaker") is None:
        if speaker not in (None, 0, "0"):
            raise ValueError(
                f"speaker is {speaker!r}, but the graph of {known.name} takes no speaker, so it would have no effect; "
                "leave it out."
            )
        return 0
    speakers = dict(known.speakers or {})
    number = str(speaker) if speaker not in speakers and str(speaker).isdecimal() else ""
    if number and int(number) in speakers.values():
        return int(number)
    return speakers[_chosen(known.name, list(speakers), speaker)]


def _chosen(voice: str, names: Sequence[str], speaker: int | str | None) -> str:
    if speaker is None:
        return names[0]
    if speaker not in names and str(speaker).isdecimal() and int(speaker) < len(names):
        return names[int(speaker)]
    if speaker not in names:
        shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
        raise ValueError(f"speaker is {speaker!r}, but {voice} has {shown}; give one of these, or its number from 0.")
    return str(speaker)
