"""The options of each kind of voice, as `load_voice` passes them on; any other name is an error at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

__all__ = [
    "FastSpeechOptions",
    "OnnxOptions",
    "PiperOptions",
    "SpeechT5Options",
    "TacotronOptions",
    "VitsOptions",
    "VoiceOptions",
    "check_options",
    "check_scales",
]


class PiperOptions(TypedDict, total=False):
    """Options of `PiperVoice`."""

    noise: float
    duration_noise: float
    length: float
    speaker: int | str


class OnnxOptions(TypedDict, total=False):
    """Options of `OnnxVoice`."""

    name: str
    noise: float
    duration_noise: float
    length: float
    speaker: int | str | None
    language: str


class VitsOptions(TypedDict, total=False):
    """Options of `VitsVoice`."""

    name: str
    noise: float
    duration_noise: float
    length: float
    speaker: int


class TacotronOptions(TypedDict, total=False):
    """Options of `TacotronVoice`."""

    reads: str
    name: str
    language: str
    mel_mean: float
    mel_deviation: float
    vocoder: Callable[[Tensor], Any] | None
    attention_window: tuple[int, int] | None


class FastSpeechOptions(TypedDict, total=False):
    """Options of `FastSpeechVoice`, but for its vocoder."""

    name: str
    speaker_ids: Tensor | None
    lang_ids: Tensor | None
    speaker_embedding: Tensor | None


class SpeechT5Options(TypedDict, total=False):
    """Options of `SpeechT5Voice`, but for its vocoder and its speaker."""

    name: str
    head: tuple[int, int] | None


class VoiceOptions(TypedDict, total=False):
    """Options of all kinds of voices together; each kind takes its own and refuses the others."""

    name: str
    noise: float
    duration_noise: float
    length: float
    speaker: int | str | np.ndarray | Tensor | None
    reads: str
    language: str
    mel_mean: float
    mel_deviation: float
    vocoder: str | Path | Callable[[Tensor], Any] | None
    attention_window: tuple[int, int] | None
    head: tuple[int, int] | None
    speaker_ids: Tensor | None
    lang_ids: Tensor | None
    speaker_embedding: Tensor | None


def check_options(voice: str, options: Mapping[str, object], *accepted: type | str) -> None:
    """Refuse options that a kind of voice does not take.

    Parameters
    ----------
    voice
        Which kind, for the message.
    options
        As they were given.
    accepted
        A ``TypedDict`` of options, or the name of one more.

    Raises
    ------
    TypeError
        For an option that is not accepted; the message lists those that are.
    """
    known: list[str] = []
    for one in accepted:
        known += [one] if isinstance(one, str) else one.__annotations__
    for name in options:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            meant = f" Did you mean {near[0]}?" if near else ""
            raise TypeError(f"{voice} has no option {name!r}; accepted are {', '.join(sorted(known))}.{meant}")


def check_scales(noise: float, duration_noise: float, length: float) -> tuple[float, float, float]:
    """Give a voice's noise, its durations' noise and its slowness as floats.

    Raises
    ------
    ValueError
        If one is not finite or below 0, or the slowness is 0.
    """
    for name, value in (("noise", noise), ("duration_noise", duration_noise), ("length", length)):
        if not (math.isfinite(value) and value >= 0) or (name == "length" and value == 0):
            raise ValueError(
                f"{name} is {value}; a number {'above' if name == 'length' else 'of at least'} 0 is needed."
            )
    return float(noise), float(duration_noise), float(length)
