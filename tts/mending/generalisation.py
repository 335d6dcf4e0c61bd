"""Whether a repair serves other sentences as it served its own, and one that is learnt from several sentences.

Ours, as `genmend.tts.mending.combination` is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from genmend.tts.mending.combination import CombinationRepair, combination_repairs
from genmend.tts.mending.reference import VoiceReference
from genmend.tts.mending.repair import repair
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.voice import Voice

__all__ = ["Generalisation", "average_repair", "measure_generalisation"]


@dataclass(frozen=True)
class Generalisation:
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


def measure_generalisation(
    voice: Voice,
    reference: VoiceReference,
    combination: CombinationRepair,
    sentences: Sequence[Tokens],
    *,
    n: int = 24,
    seed: int = 0,
) -> Generalisation:
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
    made = _with_combination(sentences, combination, n, seed)
    region, symbol = reference.regions[combination.layer], combination.symbols[combination.place]
    encoded = voice.encode([tokens for tokens, _ in made], [combination.layer])
    old = np.stack([vectors[combination.layer][at] for vectors, (_, at) in zip(encoded, made, strict=True)])
    before, after = (region.score_samples(v, groups=[symbol] * len(made)) for v in (old, old + combination.vector))
    outside = before > 1
    nearer = float((after < before)[outside].mean()) if outside.any() else float("nan")
    return Generalisation(combination, len(made), float(outside.mean()), float((after > 1).mean()), nearer)


def average_repair(
    voice: Voice,
    reference: VoiceReference,
    combination: CombinationRepair,
    sentences: Sequence[Tokens],
    *,
    psi: float = 0.0,
    n: int = 12,
    seed: int = 0,
) -> CombinationRepair | None:
    """Average what the local repair does to the combination in several sentences; None where it is inside in all.

    Parameters
    ----------
    sentences, n
        As `measure_generalisation` takes them; test the result there on other sentences, or with another seed.
    psi
        In [0, 1], of each repair: 0 moves all the way.
    """
    moves = []
    for tokens, at in _with_combination(sentences, combination, n, seed):
        done = repair(voice, reference, tokens, layer=combination.layer, psi=psi, positions=[at], seed=seed)
        if done.changed:
            moves += [one.vector for one in combination_repairs(voice, done)]
    return replace(combination, vector=np.stack(moves).mean(axis=0)) if moves else None


def _with_combination(
    sentences: Sequence[Tokens], combination: CombinationRepair, n: int, seed: int
) -> list[tuple[Tokens, int]]:
    """Up to n sentences with the combination put into them, and where its repaired token is."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(sentences))
    spliced = (_splice(sentences[i], combination, rng) for i in order)
    made = list(islice((copy for copy in spliced if copy is not None), n))
    if not made:
        raise ValueError(
            f"None of the {len(sentences)} sentences has room for {combination.shown!r}; "
            "give longer ones of this voice."
        )
    return made


def _splice(tokens: Tokens, combination: CombinationRepair, rng: np.random.Generator) -> tuple[Tokens, int] | None:
    """The sentence with the combination in it, and where its repaired token is; None where it has no room."""
    n, room = len(combination.ids), len(tokens) - len(combination.ids)
    if room < 0:
        return None
    starts: Sequence[int] = range(room + 1)
    if combination.kinds[0] == "special":  # what begins or ends a sentence does so there too
        starts = [0]
    elif combination.kinds[-1] == "special":
        starts = [room]
    starts = [i for i in starts if _alike(tokens.kinds[i : i + n], combination.kinds)]
    if not starts:
        return None
    start = int(rng.choice(starts))
    end = start + n
    changed = replace(
        tokens,
        ids=(*tokens.ids[:start], *combination.ids, *tokens.ids[end:]),
        symbols=(*tokens.symbols[:start], *combination.symbols, *tokens.symbols[end:]),
        kinds=(*tokens.kinds[:start], *combination.kinds, *tokens.kinds[end:]),
    )
    return changed, start + combination.place


def _alike(kinds: Sequence[str], others: Sequence[str]) -> bool:
    """Whether blanks, begin and end are at the same places: no voice was given two sounds without its blank between."""
    fixed = ("blank", "special")
    return all(a == b or (a not in fixed and b not in fixed) for a, b in zip(kinds, others, strict=True))
