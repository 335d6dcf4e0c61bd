"""What a repair did to one combination of sounds: take it out of its sentence, see if it holds in others, use it there.

Ours: the papers repair a sentence and keep nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tts.reference import VoiceReference, scores_of
from tts.repair import MovedToken, Repair
from tts.tokens import Tokens
from tts.voice import Voice

__all__ = ["CombinationRepair", "Holding", "apply_repairs", "combination_repairs", "holds_elsewhere"]


@dataclass(frozen=True)
class CombinationRepair:
    """One vector to add, and where.

    Attributes
    ----------
    layer : str
    ids, symbols, kinds : tuple
        The tokens of the combination, blanks between included; see `tts.tokens.Tokens`.
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
        """The combination as one reads it."""
        return "".join(s for s, kind in zip(self.symbols, self.kinds, strict=True) if kind != "blank")

    def positions(self, tokens: Tokens) -> list[int]:
        """Where in a sentence the vector is added."""
        n = len(self.ids)
        return [i + self.place for i in range(len(tokens) - n + 1) if tokens.ids[i : i + n] == self.ids]


@dataclass(frozen=True)
class Holding:
    """Whether a repair does in other sentences what it did in its own.

    Attributes
    ----------
    repair : CombinationRepair
    n : int
        Other sentences that the combination was put into.
    outside_before, outside_after : float
        Share of them in which the symbol is outside its normal region, without and with the vector.
    nearer : float
        Share of those outside in which the vector makes the score smaller; NaN where none was outside.
    """

    repair: CombinationRepair
    n: int
    outside_before: float
    outside_after: float
    nearer: float

    @property
    def holds(self) -> bool:
        """Whether fewer are outside than before, and most of those outside came nearer."""
        return self.outside_after < self.outside_before and self.nearer > 0.5

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the vector."""
        return {
            "combination": self.repair.shown,
            "symbol": self.repair.symbols[self.repair.place],
            "n": self.n,
            "outside_before": self.outside_before,
            "outside_after": self.outside_after,
            "nearer": None if np.isnan(self.nearer) else self.nearer,
            "holds": self.holds,
        }


def combination_repairs(voice: Voice, repair: Repair, reach: int = 2) -> list[CombinationRepair]:
    """What a repair did, as one vector for each moved token and the `reach` tokens that are not blanks on each side.

    The vector is that of this sentence: `holds_elsewhere` says how far it serves others.
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


def holds_elsewhere(
    voice: Voice,
    reference: VoiceReference,
    repair: CombinationRepair,
    sentences: Sequence[Tokens],
    *,
    n: int = 24,
    seed: int = 0,
) -> Holding:
    """Put the combination into other sentences, in place of as many tokens of theirs, and score it there.

    Parameters
    ----------
    sentences
        Ordinary ones of the same voice; those too short for the combination are passed over.
    n
        How many to take, drawn by `seed`.

    Raises
    ------
    ValueError
        If no sentence is long enough.
    """
    rng = np.random.default_rng(seed)
    made = [copy for i in rng.permutation(len(sentences)) if (copy := _spliced(sentences[i], repair, rng)) is not None]
    made = made[:n]
    if not made:
        raise ValueError(
            f"None of the {len(sentences)} sentences has room for {repair.shown!r}; give longer ones of this voice."
        )
    region, symbol = reference.regions[repair.layer], repair.symbols[repair.place]
    encoded = voice.encode([tokens for tokens, _ in made], [repair.layer])
    old = np.stack([vectors[repair.layer][at] for vectors, (_, at) in zip(encoded, made, strict=True)])
    before, after = (region.score_samples(v, groups=[symbol] * len(made)) for v in (old, old + repair.vector))
    outside = before > 1
    nearer = float((after < before)[outside].mean()) if outside.any() else float("nan")
    return Holding(repair, len(made), float(outside.mean()), float((after > 1).mean()), nearer)


def _spliced(tokens: Tokens, repair: CombinationRepair, rng: np.random.Generator) -> tuple[Tokens, int] | None:
    """The sentence with the combination in it, and where its repaired token is; None where it has no room."""
    n, room = len(repair.ids), len(tokens) - len(repair.ids)
    if room < 0:
        return None
    starts: Sequence[int] = range(room + 1)
    if repair.kinds[0] == "special":  # what begins or ends a sentence does so there too
        starts = [0]
    elif repair.kinds[-1] == "special":
        starts = [room]
    starts = [i for i in starts if _alike(tokens.kinds[i : i + n], repair.kinds)]
    if not starts:
        return None
    start = int(rng.choice(starts))
    end = start + n
    changed = replace(
        tokens,
        ids=(*tokens.ids[:start], *repair.ids, *tokens.ids[end:]),
        symbols=(*tokens.symbols[:start], *repair.symbols, *tokens.symbols[end:]),
        kinds=(*tokens.kinds[:start], *repair.kinds, *tokens.kinds[end:]),
    )
    return changed, start + repair.place


def _alike(kinds: Sequence[str], others: Sequence[str]) -> bool:
    """Whether blanks, begin and end are at the same places: no voice was given two sounds without its blank between."""
    fixed = ("blank", "special")
    return all(a == b or (a not in fixed and b not in fixed) for a, b in zip(kinds, others, strict=True))


def _around(kinds: Sequence[str], position: int, reach: int) -> tuple[int, int]:
    """Begin and end of the combination: so many tokens that are not blanks on each side."""
    others = [i for i, kind in enumerate(kinds) if kind != "blank"]
    at = others.index(position)
    return others[max(0, at - reach)], others[min(len(others) - 1, at + reach)] + 1
