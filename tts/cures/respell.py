"""Cures that change what is said: a pause before a word or in it, longer vowels, a usual sound for a flagged one.

All change the phonemes that the front end asked for, the last one the most: it is tried only where somebody listens.
Ours: issue reports tell that another word or a comma nearby often cures such failures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from genmend.tts.cures.case import Case
from genmend.tts.cures.way import Way
from genmend.tts.mending.perturb import is_vowel
from genmend.tts.mending.reference import VoiceReference
from genmend.tts.text.token_edits import Symbol, insert_symbol, replace_symbols
from genmend.tts.text.tokens import Tokens

__all__ = ["other_spellings", "troubled_words"]

_LONG = "ː"


def other_spellings(case: Case) -> Iterator[tuple[str, Way]]:
    """A pause before the troubled word, a gap in it, longer vowels in it, usual sounds in place of flagged ones."""
    tokens = case.tokens
    if tokens is None:
        return
    for spell in (_with_pause, _with_gap, _with_long_vowels, _with_usual_sounds):
        if spell is _with_usual_sounds and not case.listens:
            continue  # the voice's own attention can't tell whether it is still the word
        told, spelled = [], tokens
        # From the last word to the first, so that positions before stay.
        for word, places in sorted(troubled_words(case).items(), reverse=True):
            changed = spell(spelled, word, places, case.reference)
            if changed is not None:
                spelled = changed[1]
                told.append(changed[0])
        if told:
            yield "; ".join(reversed(told)), replace(case.way, parts=(spelled,), vectors={})


def troubled_words(case: Case) -> dict[int, list[int]]:
    """Word -> its troubled sounds: those that faults of reading name, else flagged ones, else all its sounds."""
    tokens = case.way.parts[0]
    found: dict[int, set[int]] = {}
    for fault in case.reading.faults:
        if fault.fault != "dropped" and fault.number >= 0:
            own = {i for i in fault.tokens if i < len(tokens) and tokens.word_of[i] == fault.number}
            found.setdefault(fault.number, set()).update(own & set(tokens.sounds))
    sounds = {word: [i for i in tokens.sounds if tokens.word_of[i] == word] for word in found}
    return {
        word: sorted(own) or [i for i in sounds[word] if i in case.flagged] or sounds[word]
        for word, own in found.items()
        if sounds[word]
    }


_Spelled = tuple[str, Tokens] | None


def _with_pause(tokens: Tokens, word: int, places: list[int], reference: VoiceReference) -> _Spelled:
    """A comma after the word before."""
    comma = _symbol(reference, ",")
    first = next(i for i, of in enumerate(tokens.word_of) if of == word)
    before = [i for i in range(first) if tokens.word_of[i] >= 0]
    if comma is None or not before or any(tokens.symbols[i] == "," for i in range(before[-1], first)):
        return None
    after = next(i for i in range(before[-1] + 1, len(tokens)) if tokens.kinds[i] != "blank")
    return f'a pause before "{tokens.words[word]}"', insert_symbol(tokens, after, comma)


def _with_gap(tokens: Tokens, word: int, places: list[int], reference: VoiceReference) -> _Spelled:
    """A space in the word, before the first troubled sound, or before the next one where that begins it."""
    space = _symbol(reference, " ")
    sounds = [i for i in tokens.sounds if tokens.word_of[i] == word]
    at = next((i for i in sounds[1:] if i >= places[0]), None)
    if space is None or at is None or len(sounds) < 3:
        return None
    while at > 0 and tokens.kinds[at - 1] in ("mark", "blank") and tokens.symbols[at - 1] in "ˈˌ":
        at -= 1  # a mark of stress stands before its sound
    before, after = (_sounds_of(tokens, sounds, at, side) for side in (0, 1))
    return f'"{tokens.words[word]}" as {before} {after}', insert_symbol(tokens, at, space)


def _with_long_vowels(tokens: Tokens, word: int, places: list[int], reference: VoiceReference) -> _Spelled:
    """A mark of length after each troubled vowel, or the vowel again where the voice has no such mark."""
    mark = _symbol(reference, _LONG)
    spelled, told = tokens, []
    for place in reversed(places):
        symbol = tokens.symbols[place]
        own = mark or _symbol(reference, symbol)
        behind = next((i for i in range(place + 1, len(tokens)) if tokens.kinds[i] != "blank"), len(tokens))
        long = behind < len(tokens) and tokens.symbols[behind] == _LONG
        if tokens.kinds[place] == "phoneme" and is_vowel(symbol) and own is not None and not long:
            spelled = insert_symbol(spelled, behind, own, word)
            told.append(symbol)
    return (f'a longer {", ".join(reversed(told))} in "{tokens.words[word]}"', spelled) if told else None


def _with_usual_sounds(tokens: Tokens, word: int, places: list[int], reference: VoiceReference) -> _Spelled:
    """For the first troubled phoneme the sound of its class that stands most often between its neighbours."""
    sounds = tokens.sounds
    for place in places:
        at = sounds.index(place)
        old = tokens.symbols[place]
        if tokens.kinds[place] != "phoneme":
            continue
        before = tokens.symbols[sounds[at - 1]] if at else ""
        after = tokens.symbols[sounds[at + 1]] if at + 1 < len(sounds) else ""
        weights = {
            symbol: (1 + reference.following.get(before, {}).get(symbol, 0))
            * (1 + reference.following.get(symbol, {}).get(after, 0))
            for symbol, kind in reference.kinds.items()
            if kind == "phoneme" and symbol != old and is_vowel(symbol) == is_vowel(old) and symbol in reference.ids
        }
        new = _symbol(reference, max(weights, key=lambda symbol: weights[symbol])) if weights else None
        if new is not None:
            return f'{new[0]} for {old} in "{tokens.words[word]}"', replace_symbols(tokens, {place: new})
    return None


def _symbol(reference: VoiceReference, symbol: str) -> Symbol | None:
    """A symbol that the voice has been taught; None for another."""
    number = reference.ids.get(symbol)
    return None if number is None else (symbol, number, reference.kinds[symbol])


def _sounds_of(tokens: Tokens, sounds: list[int], at: int, side: int) -> str:
    return "".join(tokens.symbols[i] for i in sounds if (i >= at) == bool(side))
