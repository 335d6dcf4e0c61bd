"""What went wrong with a word when a voice read it, as its attention says: skipped, stalled on, repeated, no end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from genmend.tts.measures.attention_path import attention_alignment, repeated_stretches, stalled_stretches
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.voice import Speech

__all__ = ["ATTENTION_FAULTS", "ReadingFault", "find_reading_faults", "seconds_of"]

#: Faults that the attention of a voice shows.
ATTENTION_FAULTS = ("skipped", "partly skipped", "stalled", "repeated", "end cut", "did not end")


@dataclass(frozen=True)
class ReadingFault:
    """What went wrong with a word.

    Attributes
    ----------
    word : str
        "" for a place between words.
    number : int
        Of the word, from 0; -1 for none.
    fault : str
        Of the attention: "skipped" (no sound of the word was attended to), "partly skipped", "stalled" (more than a
        second on one token), "repeated" (the attention went back to it), "end cut" (skipped at the end of the
        sentence, where the voice stopped too early), "did not end" (the voice came to its limit of frames). The others
        stand in `genmend.tts.measures.sentence_faults`.
    seconds : (float, float) or None
        Begin and end in the audio; of what was left out, both are where it should have been. None where that is not
        known.
    tokens : tuple of int
        Positions of the tokens that it concerns.
    detail : str
        More of it, in words.
    """

    word: str
    number: int
    fault: str
    seconds: tuple[float, float] | None = None
    tokens: tuple[int, ...] = ()
    detail: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, the seconds to the millisecond."""
        seconds = None if self.seconds is None else [round(end, 3) for end in self.seconds]
        return {**vars(self), "tokens": list(self.tokens), "seconds": seconds}


def find_reading_faults(tokens: Tokens, speech: Speech) -> tuple[ReadingFault, ...]:
    """List the faults of the attention in the order of the words; () for voices that have none.

    Raises
    ------
    ValueError
        If the attention does not have one column for each token.
    """
    if speech.attention is None or not len(speech.attention) or not tokens.sounds:
        return ()
    step = speech.hop / speech.sample_rate
    sounding = np.isin(np.arange(len(tokens)), tokens.sounds)
    path = speech.attention.argmax(axis=1)
    skipped = list(attention_alignment(speech.attention, frame_seconds=step, heard=sounding).skipped)
    # What lies behind all that was read, of a voice that stopped by itself.
    cut = [i for i in skipped if speech.finished and i > path.max()]
    faults = [_left_out(tokens, path, step, word, cut, "end cut") for word in _words(tokens, cut)]
    for word in _words(tokens, [i for i in skipped if i not in cut]):
        whole = {i for i in tokens.sounds if tokens.word_of[i] == word} <= set(skipped)
        inner = [i for i in skipped if i not in cut]
        faults.append(_left_out(tokens, path, step, word, inner, "skipped" if whole else "partly skipped"))
    for fault, stretches in (
        ("stalled", stalled_stretches(speech.attention, frame_seconds=step)),
        ("repeated", [(_word_from(tokens, at), *frames) for at, *frames in repeated_stretches(speech.attention)]),
    ):
        for word in _words(tokens, [token for token, _, _ in stretches]):
            own = [stretch for stretch in stretches if tokens.word_of[stretch[0]] == word]
            seconds = own[0][1] * step, own[0][2] * step
            faults.append(_named(tokens, word, fault, seconds, sorted({token for token, _, _ in own})))
    if not speech.finished:
        last = int(path[-1])
        begin = int(np.flatnonzero(path != last)[-1]) + 1 if (path != last).any() else 0
        faults.append(_named(tokens, tokens.word_of[last], "did not end", (begin * step, len(path) * step), [last]))
    return tuple(sorted(faults, key=lambda fault: fault.number))


def seconds_of(tokens: Tokens, speech: Speech, word: int) -> tuple[float, float] | None:
    """Begin and end of a word in the audio; None where it was not read, or the speech does not say."""
    places = [i for i, of in enumerate(tokens.word_of) if of == word]
    if speech.attention is not None:
        frames = np.flatnonzero(np.isin(speech.attention.argmax(axis=1), places))
        step = speech.hop / speech.sample_rate
        return (float(frames[0] * step), float((frames[-1] + 1) * step)) if len(frames) else None
    spans = speech.spans
    if spans is None or not places:
        return None
    return float(spans[places, 0].min()), float(spans[places, 1].max())


def _word_from(tokens: Tokens, position: int) -> int:
    """The token where the next word begins, for one that is of no word: what was gone back to is that word."""
    return next((i for i in range(position, len(tokens)) if tokens.word_of[i] >= 0), position)


def _words(tokens: Tokens, positions: list[int]) -> list[int]:
    """The words of some tokens, each once."""
    return list(dict.fromkeys(tokens.word_of[i] for i in positions))


def _left_out(
    tokens: Tokens, path: np.ndarray, step: float, word: int, positions: list[int], fault: str
) -> ReadingFault:
    """What was never attended to lies where the path first gets beyond it."""
    own = [i for i in positions if tokens.word_of[i] == word]
    beyond = np.flatnonzero(path > own[0])
    at = float(beyond[0] if len(beyond) else len(path)) * step
    return _named(tokens, word, fault, (at, at), own)


def _named(tokens: Tokens, word: int, fault: str, seconds: tuple[float, float], own: list[int]) -> ReadingFault:
    sounds = "".join(tokens.symbols[i] for i in own)
    return ReadingFault(tokens.words[word] if word >= 0 else "", word, fault, seconds, tuple(own), sounds)
