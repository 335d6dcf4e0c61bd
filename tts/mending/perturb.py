"""The same sentence with other sounds near one token: the neighbours of Jeong et al., TASLP 2025, Algorithm 2.

Our reading throughout: the paper says "perturb the nearby phonemes" and no more. Only sounds are changed, one for one,
so every position stays; the token itself, marks, spaces, blanks, begin and end are never touched.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from genmend.tts.mending.reference import VoiceReference
from genmend.tts.text.tokens import Tokens

__all__ = ["SUBSTITUTES", "is_vowel", "perturb"]

# by pairs: next to the token as often as ordinary text has that pair, further out as often as the sound itself;
# same class: vowels for vowels; uniform: any sound.
SUBSTITUTES = ("pairs", "same class", "uniform")
_VOWELS = set("aeiouyæɐɑɒɔəɚɛɜɝɞɤɨɪɯɵøœɶʉʊʌʏᵻ")
_SOUNDS = ("phoneme", "character")


def perturb(
    tokens: Tokens,
    position: int,
    reference: VoiceReference,
    rng: np.random.Generator,
    *,
    copies: int = 24,
    window: int = 2,
    most_changes: int = 2,
    substitutes: str = "pairs",
) -> list[Tokens]:
    """Copy a sentence with 1 to `most_changes` sounds near `position` replaced by others.

    Parameters
    ----------
    window
        How many sounds on each side may change.
    substitutes
        One of `SUBSTITUTES`: how the new sounds are drawn.

    Returns
    -------
    list of Tokens
        `copies` of them, or none where there is no sound to change.
    """
    if substitutes not in SUBSTITUTES:
        raise ValueError(f"substitutes is {substitutes!r}; accepted are {', '.join(map(repr, SUBSTITUTES))}.")
    before, after = _sounds_around(tokens, position, window)
    places = [*before, *after]
    if not places:
        return []
    adjacent = {"before": before[:1], "after": after[:1]}
    made = []
    for _ in range(copies):
        n = int(rng.integers(1, min(most_changes, len(places)) + 1))
        changed = {}
        for place in rng.choice(places, n, replace=False).tolist():
            side = next((name for name, near in adjacent.items() if place in near), "")
            new = _substitute(tokens, place, position, side, substitutes, reference, rng)
            if new is not None:
                changed[place] = new
        made.append(_with_symbols(tokens, changed, reference))
    return made


def is_vowel(symbol: str) -> bool:
    """Whether a sound is a vowel of the IPA."""
    return symbol in _VOWELS


def _sounds_around(tokens: Tokens, position: int, window: int) -> tuple[list[int], list[int]]:
    """Positions of the nearest sounds before and after, nearest first."""
    before = [i for i in reversed(tokens.sounds) if i < position][:window]
    return before, [i for i in tokens.sounds if i > position][:window]


def _substitute(
    tokens: Tokens,
    place: int,
    position: int,
    side: str,
    substitutes: str,
    reference: VoiceReference,
    rng: np.random.Generator,
) -> str | None:
    """Another sound for a place; None where ordinary text has no other."""
    weights = _weights(tokens.symbols[place], tokens.symbols[position], side, substitutes, reference)
    weights.pop(tokens.symbols[place], None)
    if not weights:
        return None
    shares = np.array(list(weights.values()), dtype=np.float64)
    return str(rng.choice(list(weights), p=shares / shares.sum()))


def _weights(old: str, center: str, side: str, substitutes: str, reference: VoiceReference) -> dict[str, float]:
    sounds = {s: n for s, n in reference.counts.items() if reference.kinds.get(s) in _SOUNDS}
    if substitutes == "uniform":
        return dict.fromkeys(sounds, 1.0)
    if substitutes == "same class":
        return {s: float(n) for s, n in sounds.items() if is_vowel(s) == is_vowel(old)}
    if side == "after" and reference.following.get(center):
        return {s: float(n) for s, n in reference.following[center].items()}
    if side == "before":
        known = {s: float(others[center]) for s, others in reference.following.items() if center in others}
        if known:
            return known
    return {s: float(n) for s, n in sounds.items()}


def _with_symbols(tokens: Tokens, changed: dict[int, str], reference: VoiceReference) -> Tokens:
    ids, symbols = list(tokens.ids), list(tokens.symbols)
    for place, symbol in changed.items():
        ids[place], symbols[place] = reference.ids[symbol], symbol
    return replace(tokens, ids=tuple(ids), symbols=tuple(symbols))
