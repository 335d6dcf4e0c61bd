"""What to change in how a word is said, as it is written on a command line: ``"word:duration=1.5,pitch=+2st"``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from genmend.tts.text.tokens import Tokens
from genmend.tts.text.word_labels import is_spelled

__all__ = ["UNITS", "EditRequest", "parse_edit", "request_of_word", "select_tokens"]

# duration is a factor; the others are added.
UNITS: Mapping[str, str] = {"duration": "", "pitch": "st", "energy": "dB", "tilt": "dB"}
_LARGEST = {"duration": 4.0, "pitch": 12.0, "energy": 20.0, "tilt": 20.0}
_VALUE = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))\s*(x|st|dB)?", re.IGNORECASE)


@dataclass(frozen=True)
class EditRequest:
    """What to change in how a word is said.

    Attributes
    ----------
    word : str
        As the sentence has it; "*" for the whole sentence.
    changes : dict
        attribute -> what is asked for: duration as a factor (1 changes nothing), pitch in semitones, energy and
        spectral tilt in dB (0 changes nothing).
    occurrence : int
        Which of several like words, from 1; 0 for all of them.
    """

    word: str
    changes: Mapping[str, float]
    occurrence: int = 0

    @property
    def description(self) -> str:
        """The changes as a reader wants them, e.g. "duration ×1.5, pitch +2 st"."""
        return ", ".join(
            f"{name} ×{value:g}" if name == "duration" else f"{name} {value:+g} {UNITS[name]}"
            for name, value in self.changes.items()
        )


def parse_edit(text: str) -> EditRequest:
    """Read ``WORD:ATTRIBUTE=VALUE,...``; WORD may be ``*``, or ``word#2`` for its second occurrence.

    >>> parse_edit("home#2:duration=1.5,pitch=+2st")
    EditRequest(word='home', changes={'duration': 1.5, 'pitch': 2.0}, occurrence=2)

    Raises
    ------
    ValueError
        If it is not of that form, or asks for more than 4 times the duration, 12 semitones or 20 dB.
    """
    word, colon, rest = text.rpartition(":")
    name, _, number = word.strip().partition("#")
    if not colon or not name or (number and not number.isdecimal()) or number == "0":
        raise ValueError(f'The edit {text!r} names no word; write one as "word:duration=1.5,pitch=+2st".')
    changes: dict[str, float] = {}
    for part in rest.split(","):
        attribute, _, value = (side.strip() for side in part.partition("="))
        match = _VALUE.fullmatch(value)
        if attribute not in UNITS or match is None:
            raise ValueError(
                f"{part.strip()!r} of the edit {text!r} cannot be read; accepted are duration=FACTOR, "
                f"pitch=SEMITONESst, energy=DECIBELdB and tilt=DECIBELdB, separated by commas."
            )
        unit = (match[2] or "").lower()
        if unit and unit != (UNITS[attribute].lower() or "x"):
            wanted = f"in {UNITS[attribute]}" if UNITS[attribute] else "a factor"
            raise ValueError(f"{part.strip()!r} of the edit {text!r} has another unit; {attribute} is {wanted}.")
        if attribute in changes:
            raise ValueError(f"The edit {text!r} gives {attribute} twice; give it once.")
        changes[attribute] = _check_value(attribute, float(match[1]))
    return EditRequest(name, changes, int(number or 0))


def request_of_word(tokens: Tokens, number: int, changes: Mapping[str, float]) -> EditRequest:
    """Request changes of one word of a sentence, given by its place among `Tokens.words`, from 0.

    Raises
    ------
    ValueError
        As `parse_edit`, for changes that are too large.
    IndexError
        If there is no such word.
    """
    plain = [_plain(word) for word in tokens.words]
    said = _occurrences([i for i, word in enumerate(plain) if word == plain[number]], is_spelled(plain[number]))
    occurrence = 1 + next(i for i, numbers in enumerate(said) if number in numbers)
    checked = {name: _check_value(name, float(value)) for name, value in changes.items()}
    return EditRequest(tokens.words[number], checked, occurrence)


def select_tokens(tokens: Tokens, request: EditRequest) -> NDArray[np.bool_]:
    """Select the tokens (n,) of the word, each with the blanks after it; for "*" all but begin and end.

    Raises
    ------
    LookupError
        If the sentence has no such word, or not so often (the message names the words it has), or it can't be told for
        sure which sounds are the word.
    """
    if request.word == "*":
        owners = np.where([kind == "special" for kind in tokens.kinds], -1, 0)
        numbers = [0]
    else:
        owners = np.array(tokens.word_of)
        plain = [_plain(word) for word in tokens.words]
        numbers = [i for i, word in enumerate(plain) if word == _plain(request.word)]
        if request.occurrence:
            said = _occurrences(numbers, is_spelled(request.word))
            numbers = next(iter(said[request.occurrence - 1 : request.occurrence]), [])
        if not numbers:
            near = get_close_matches(_plain(request.word), plain, n=3, cutoff=0.0)
            which = f"occurrence {request.occurrence} of " if request.occurrence else ""
            raise LookupError(
                f"The sentence has no {which}word {request.word!r}; it has {', '.join(near)}; choose one."
            )
        if set(numbers) & set(tokens.unsure):
            raise LookupError(
                f"Which sounds are the word {request.word!r} can't be told for sure, for a number or sign near it is "
                "read as words: write that as it is spoken, or leave it out."
            )
    chosen = np.isin(owners, numbers)
    # A blank belongs to the sound before it, with which it shares its time.
    for i, kind in enumerate(tokens.kinds):
        if kind == "blank":
            chosen[i] = i > 0 and chosen[i - 1]
    return chosen


def _occurrences(numbers: list[int], spelled: bool) -> list[list[int]]:
    """Each time that the word is said; 1984 and the like are read as several words, which stand side by side."""
    found: list[list[int]] = []
    for number in numbers:
        if not spelled and found and found[-1][-1] == number - 1:
            found[-1].append(number)
        else:
            found.append([number])
    return found


def _plain(word: str) -> str:
    return word.strip(".,;:!?\"'").casefold()


def _check_value(attribute: str, value: float) -> float:
    largest = _LARGEST[attribute]
    if attribute == "duration" and not 1 / largest <= value <= largest:
        raise ValueError(f"duration={value:g} is asked for; give a factor from {1 / largest:g} to {largest:g}.")
    if attribute != "duration" and abs(value) > largest:
        raise ValueError(f"{attribute}={value:g} is asked for; give -{largest:g} to {largest:g} {UNITS[attribute]}.")
    return value
