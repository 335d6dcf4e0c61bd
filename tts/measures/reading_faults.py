"""Which words a voice with attention skipped, stalled on or went back to, as its attention says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from genmend.tts.measures.attention_path import attention_alignment, repeated_tokens
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.voice import Speech

__all__ = ["ReadingFault", "find_reading_faults"]


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
        "skipped": no sound of the word was attended to; "partly skipped"; "stalled": more than a second on one token;
        "repeated": the attention went back to it.
    """

    word: str
    number: int
    fault: str


def find_reading_faults(tokens: Tokens, speech: Speech) -> tuple[ReadingFault, ...]:
    """List the faults in the order of the words; () for voices that have no attention.

    Raises
    ------
    ValueError
        If the attention does not have one column for each token.
    """
    if speech.attention is None or not len(speech.attention) or not tokens.sounds:
        return ()
    sounding = np.isin(np.arange(len(tokens)), tokens.sounds)
    found = attention_alignment(speech.attention, frame_seconds=speech.hop / speech.sample_rate, heard=sounding)
    words = np.array(tokens.word_of)
    faults = []
    for word in dict.fromkeys(words[list(found.skipped)].tolist()):
        whole = set(np.flatnonzero(sounding & (words == word)).tolist()) <= set(found.skipped)
        faults.append((word, "skipped" if whole else "partly skipped"))
    faults += [(word, "stalled") for word in dict.fromkeys(words[list(found.stalled)].tolist())]
    repeated = dict.fromkeys(words[list(repeated_tokens(speech.attention))].tolist())
    faults += [(word, "repeated") for word in repeated]
    named = [ReadingFault(tokens.words[word] if word >= 0 else "", word, fault) for word, fault in faults]
    return tuple(sorted(named, key=lambda fault: fault.number))
