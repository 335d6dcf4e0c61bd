"""One way to say a sentence: by which voice, in how many parts, with which vectors and seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np

from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.voice import Speech, Voice

__all__ = ["Way", "join_speech", "join_tokens"]

_SILENCE = 0.15  # seconds between two parts


@dataclass(frozen=True)
class Way:
    """How a sentence is said.

    Attributes
    ----------
    voice : Voice
    parts : tuple of Tokens
        Said one after the other, with a short silence between; `words` of each are those of the whole sentence.
    seed : int
    vectors : dict
        layer -> (n, d), as `Voice.speak` takes them; of a sentence in one part.
    """

    voice: Voice
    parts: tuple[Tokens, ...]
    seed: int = 0
    vectors: Mapping[str, np.ndarray] = field(default_factory=dict)

    def say(self) -> tuple[Tokens, Speech]:
        """Say it: the parts as one row of tokens, and as one speech."""
        said = [self.voice.speak(part, self.vectors, seed=self.seed) for part in self.parts]
        return join_tokens(self.parts), join_speech(said)


def join_tokens(parts: Sequence[Tokens]) -> Tokens:
    """Put parts of one sentence, all with the words of the whole, into one row."""
    if len(parts) == 1:
        return parts[0]

    joined: dict[str, Any] = {
        name: tuple(chain.from_iterable(getattr(part, name) for part in parts))
        for name in ("ids", "symbols", "kinds", "word_of")
    }
    return replace(parts[0], **joined)


def join_speech(said: Sequence[Speech], silence: float = _SILENCE) -> Speech:
    """Put spoken parts together; the silence between two belongs to the last token of the first."""
    if len(said) == 1:
        return said[0]
    first = said[0]
    pause = round(silence * first.sample_rate / first.hop)
    pauses = [pause] * (len(said) - 1) + [0]
    quiet = [np.zeros(n * first.hop, dtype=np.float32) for n in pauses]
    audio = np.concatenate(list(chain.from_iterable((one.audio, rest) for one, rest in zip(said, quiet, strict=True))))
    frames = [None if one.frames is None else _add_to_last(one.frames, n) for one, n in zip(said, pauses, strict=True)]
    attention = [
        None if one.attention is None else _rest_on_last(one.attention, n) for one, n in zip(said, pauses, strict=True)
    ]
    mel = [None if one.mel is None else _fill_up(one.mel, n) for one, n in zip(said, pauses, strict=True)]
    return Speech(
        audio,
        first.sample_rate,
        first.hop,
        frames=None if any(f is None for f in frames) else np.concatenate([f for f in frames if f is not None]),
        attention=None if any(a is None for a in attention) else _diagonal([a for a in attention if a is not None]),
        mel=None if any(m is None for m in mel) else np.concatenate([m for m in mel if m is not None], axis=1),
        finished=all(one.finished for one in said),
    )


def _add_to_last(frames: np.ndarray, n: int) -> np.ndarray:
    lasting = frames.copy()
    lasting[-1] += n
    return lasting


def _rest_on_last(attention: np.ndarray, n: int) -> np.ndarray:
    last = np.zeros((n, attention.shape[1]), attention.dtype)
    last[:, -1] = 1
    return np.concatenate([attention, last])


def _fill_up(mel: np.ndarray, n: int) -> np.ndarray:
    return np.pad(mel, ((0, 0), (0, n)), constant_values=mel.min())


def _diagonal(blocks: Sequence[np.ndarray]) -> np.ndarray:
    """Matrices along the diagonal of one."""
    whole = np.zeros(tuple(np.sum([block.shape for block in blocks], axis=0)), blocks[0].dtype)
    row = column = 0
    for block in blocks:
        whole[row : row + block.shape[0], column : column + block.shape[1]] = block
        row, column = row + block.shape[0], column + block.shape[1]
    return whole
