"""What a repair did to one combination of sounds, taken out of its sentence, to be used wherever the combination is.

Ours: the papers repair a sentence and keep nothing. `genmend.tts.mending.generalisation` says how far it serves other
sentences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from genmend.tts.mending.reference import VoiceReference, scores_of
from genmend.tts.mending.repair import MovedToken, Repair
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.voice import Voice

__all__ = ["CombinationRepair", "apply_repairs", "combination_repairs"]


@dataclass(frozen=True)
class CombinationRepair:
    """One vector to add, and where.

    Attributes
    ----------
    layer : str
    ids, symbols, kinds : tuple
        The tokens of the combination, blanks between included; see `genmend.tts.text.tokens.Tokens`.
    place : int
        Which of them gets the vector, from 0.
    vector : ndarray
        (d,) float32, added to the layer's output there.
    """

    layer: str
    ids: tuple[int, ...]
    symbols: tuple[str, ...]
    kinds: tuple[str, ...]
    place: int
    vector: np.ndarray

    @property
    def shown(self) -> str:
        """The symbols of the combination, without blanks."""
        return "".join(s for s, kind in zip(self.symbols, self.kinds, strict=True) if kind != "blank")

    def positions(self, tokens: Tokens) -> list[int]:
        """Find where in a sentence the vector is to be added."""
        n = len(self.ids)
        return [i + self.place for i in range(len(tokens) - n + 1) if tokens.ids[i : i + n] == self.ids]


def combination_repairs(voice: Voice, repair: Repair, reach: int = 2) -> list[CombinationRepair]:
    """Take from a repair one vector for each moved token, with the `reach` tokens on each side (blanks not counted).

    The vector is that of this sentence: `measure_generalisation` says how far it serves others.
    """
    tokens = repair.tokens
    before = voice.encode([tokens], [repair.layer])[0][repair.layer]
    found = []
    for moved in repair.moved:
        if not moved.distance:
            continue
        start, stop = _around(tokens.kinds, moved.position, reach)
        part = slice(start, stop)
        vector = (repair.vectors[moved.position] - before[moved.position]).astype(np.float32)
        tuples = tokens.ids[part], tokens.symbols[part], tokens.kinds[part]
        found.append(CombinationRepair(repair.layer, *tuples, moved.position - start, vector))
    return found


def apply_repairs(
    voice: Voice, reference: VoiceReference, tokens: Tokens, repairs: Sequence[CombinationRepair]
) -> Repair:
    """Repair a sentence by what earlier repairs found, wherever it has their combinations.

    Raises
    ------
    ValueError
        If there are no repairs, or they are of several layers: vectors of the deeper one would undo the other.
    LookupError
        For a layer that the voice or its reference does not have.
    """
    layers = sorted({found.layer for found in repairs})
    if len(layers) != 1:
        raise ValueError(f"The repairs are of {len(layers)} layers ({', '.join(layers)}); give those of one layer.")
    (layer,) = voice.check_layers(layers)
    if layer not in reference.regions:
        raise LookupError(f"The reference has no layer {layer!r}; it has {', '.join(reference.layers)}.")
    before = voice.encode([tokens], [layer])[0][layer]
    vectors = before.copy()
    for found in repairs:
        for position in found.positions(tokens):
            vectors[position] += found.vector
    distances = np.linalg.norm(vectors.astype(np.float64) - before, axis=1)
    rows = np.flatnonzero(distances)
    scores = (scores_of(reference.regions[layer], tokens, values, rows) for values in (before, vectors))
    old, new = scores
    moved = [
        MovedToken(i, tokens.symbols[i], float(old[i]), float(new[i]), float(distances[i]), float("nan"), "kept repair")
        for i in rows.tolist()
    ]
    return Repair(tokens, layer, vectors, tuple(moved), 0.0)


def _around(kinds: Sequence[str], position: int, reach: int) -> tuple[int, int]:
    """Begin and end of the combination: `reach` tokens that are not blanks on each side."""
    others = [i for i, kind in enumerate(kinds) if kind != "blank"]
    at = others.index(position)
    return others[max(0, at - reach)], others[min(len(others) - 1, at + reach)] + 1
