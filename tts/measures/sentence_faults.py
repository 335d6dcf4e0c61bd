"""All that is wrong with a spoken sentence, word by word: what it was not given, not read, and not heard to say."""

from __future__ import annotations

from collections.abc import Sequence

from genmend.tts.measures.heard_words import WordPair
from genmend.tts.measures.reading_faults import ATTENTION_FAULTS, ReadingFault, find_reading_faults, seconds_of
from genmend.tts.measures.sound_lengths import DURATION_FAULTS, SoundLengths, find_duration_faults
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.voice import Speech

__all__ = ["HEARD_FAULTS", "READ_FAULTS", "faults_in_words", "find_faults"]

#: Faults of reading, which the voice's own attention or durations show.
READ_FAULTS = (*ATTENTION_FAULTS, *DURATION_FAULTS)
#: Faults that a listener finds.
HEARD_FAULTS = ("not heard", "heard otherwise", "added")
_DONE = {
    "skipped": "skipped {}",
    "partly skipped": "skipped a part of {}",
    "stalled": "stayed for more than a second on {}",
    "repeated": "went back to {}",
    "end cut": "stopped before the end of {}",
    "did not end": "did not find the end and was stopped at {}",
    "too short": "hurried {}",
    "too long": "drew out {}",
    "dropped": "was not given all symbols of {}",
}


def find_faults(
    tokens: Tokens, speech: Speech, *, lengths: SoundLengths | None = None, heard: Sequence[WordPair] = ()
) -> tuple[ReadingFault, ...]:
    """List what is wrong with a spoken sentence, in the order of its words.

    Beside those of `find_reading_faults`: "too short" and "too long" (sounds of a voice with durations, far from their
    own in ordinary text), "dropped" (symbols that the front end left out), and what a listener found: "not heard",
    "heard otherwise", "added" (words that the text does not have).

    Parameters
    ----------
    lengths
        How long the voice's sounds usually last (`measure_lengths`); without it no durations are judged.
    heard
        What was heard beside what was meant (`pair_words`); empty where nobody listened.
    """
    found = [*find_reading_faults(tokens, speech), *find_duration_faults(tokens, speech, lengths or {})]
    for lost in tokens.dropped:
        word = tokens.words[lost.word] if lost.word >= 0 else ""
        told = f"{lost.symbol}: {lost.reason}"
        found.append(ReadingFault(word, lost.word, "dropped", seconds_of(tokens, speech, lost.word), (), told))
    found += _misheard(tokens, speech, heard)
    return tuple(sorted(found, key=lambda fault: fault.number))


def faults_in_words(faults: Sequence[ReadingFault], most: int = 6) -> str:
    """What the voice did wrong as a sentence, without what was heard; "" where there is nothing.

    >>> faults_in_words([ReadingFault("left", 1, "skipped"), ReadingFault("home", 2, "skipped")])
    'The voice skipped left, home.'
    """
    by_fault: dict[str, list[str]] = {}
    for fault in faults:
        if fault.fault in _DONE:
            by_fault.setdefault(fault.fault, []).append(fault.word or "a pause")
    said = [_DONE[fault].format(", ".join(words[:most])) for fault, words in by_fault.items()]
    return f"The voice {'; '.join(said)}." if said else ""


def _misheard(tokens: Tokens, speech: Speech, pairs: Sequence[WordPair]) -> list[ReadingFault]:
    owners = _owners([word for pair in pairs for word in pair.meant.split()], tokens.words)
    faults, at = [], 0
    for pair in pairs:
        n = len(pair.meant.split())
        own = [number for number in owners[at : at + n] if number >= 0]
        # Where a word was added, the fault stands at the word before it.
        word = own[0] if own else (owners[at - 1] if at and not n else -1)
        at += n
        if pair.same:
            continue
        fault = "heard otherwise" if pair.meant and pair.heard else "not heard" if pair.meant else "added"
        places = [seconds_of(tokens, speech, number) for number in own or [word]]
        known = [place for place in places if place is not None]
        seconds = (min(begin for begin, _ in known), max(end for _, end in known)) if known else None
        if fault == "added" and seconds is not None:
            seconds = seconds[1], seconds[1]
        faults.append(ReadingFault(pair.meant, word, fault, seconds, (), pair.heard))
    return faults


def _owners(written: Sequence[str], labels: Sequence[str]) -> list[int]:
    """Which label each written word belongs to, as both run along; -1 where they part."""
    found, at = [], 0
    parts = [[_plain(word) for word in label.split()] for label in labels]
    flat = [(number, word) for number, part in enumerate(parts) for word in part]
    for word in map(_plain, written):
        # Labels may say a word several times (1984), or miss one: look a few ahead.
        number = next((i for i in range(at, min(at + 6, len(flat))) if flat[i][1] == word), None)
        found.append(-1 if number is None else flat[number][0])
        at = at if number is None else number + 1
    return found


def _plain(word: str) -> str:
    return word.strip(".,;:!?\"'()[]").casefold()
