"""Whether a repair does in other sentences what it did in its own, and one that is learnt from several sentences.

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
from genmend.tts.mending.repair import repair as repaired
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.voice import Voice

__all__ = ["Holding", "holds_elsewhere", "learnt_from_several"]


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
    made = _with_combination(sentences, repair, n, seed)
    region, symbol = reference.regions[repair.layer], repair.symbols[repair.place]
    encoded = voice.encode([tokens for tokens, _ in made], [repair.layer])
    old = np.stack([vectors[repair.layer][at] for vectors, (_, at) in zip(encoded, made, strict=True)])
    before, after = (region.score_samples(v, groups=[symbol] * len(made)) for v in (old, old + repair.vector))
    outside = before > 1
    nearer = float((after < before)[outside].mean()) if outside.any() else float("nan")
    return Holding(repair, len(made), float(outside.mean()), float((after > 1).mean()), nearer)


def learnt_from_several(
    voice: Voice,
    reference: VoiceReference,
    repair: CombinationRepair,
    sentences: Sequence[Tokens],
    *,
    psi: float = 0.0,
    n: int = 12,
    seed: int = 0,
) -> CombinationRepair | None:
    """The mean of what the local repair does to the combination in several sentences; None where it is inside in all.

    Parameters
    ----------
    sentences, n
        As `holds_elsewhere` takes them; test the result there on other sentences, or with another seed.
    psi
        Of each repair: 0 moves all the way.
    """
    moves = []
    for tokens, at in _with_combination(sentences, repair, n, seed):
        done = repaired(voice, reference, tokens, layer=repair.layer, psi=psi, positions=[at], seed=seed)
        if done.changed:
            moves += [one.vector for one in combination_repairs(voice, done)]
    return replace(repair, vector=np.stack(moves).mean(axis=0)) if moves else None


def _with_combination(
    sentences: Sequence[Tokens], repair: CombinationRepair, n: int, seed: int
) -> list[tuple[Tokens, int]]:
    """So many sentences with the combination put into them, and where its repaired token is."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(sentences))
    spliced = (_spliced(sentences[i], repair, rng) for i in order)
    made = list(islice((copy for copy in spliced if copy is not None), n))
    if not made:
        raise ValueError(
            f"None of the {len(sentences)} sentences has room for {repair.shown!r}; give longer ones of this voice."
        )
    return made


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
