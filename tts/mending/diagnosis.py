"""Where in a sentence a voice is on ground it does not know: token by token, word by word.

Jeong et al., TASLP 2025, Algorithm 1, with a graded score (Kynkäänniemi et al. 2019, 1 / realism) of our own reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from genmend.tts.mending.pair_statistics import PairStatistics
from genmend.tts.mending.reference import VoiceReference, scores_of
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.voice import Voice

__all__ = ["STATES", "Diagnosis", "WordFinding", "diagnose", "state_of"]

# From worst to best. dropped: by the front end; never seen: no reference for the symbol.
STATES = ("dropped", "never seen", "outside", "inside")


@dataclass(frozen=True)
class WordFinding:
    """What was found of one word.

    Attributes
    ----------
    word : str
    state : str
        The worst of its tokens, one of `STATES`.
    outside : float
        Share of its tokens that are not inside, in [0, 1].
    score : float
        The largest score of its tokens; NaN where none has a reference.
    tokens : tuple of int
        Positions of its tokens.
    """

    word: str
    state: str
    outside: float
    score: float
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Diagnosis:
    """A sentence, judged.

    Attributes
    ----------
    tokens : Tokens
    layer : str
        The layer whose scores decide.
    scores : dict
        layer -> (n,): smallest distance / radius over the balls of the token's symbol; at most 1 inside, NaN without a
        reference and for blanks, begin and end. Lower is more normal.
    states : tuple of str
        (n,) of the deciding layer: one of `STATES`; "" for blanks, begin and end.
    nearest : tuple
        (n,) for tokens outside the three nearest reference contexts, "phonemes before [symbol] after"; else ().
    base_rate : float
        Share of tokens of ordinary held-out sentences that lie outside in this layer.
    npmi : float
        Mean NPMI of the sentence's pairs of sounds.
    """

    tokens: Tokens
    layer: str
    scores: dict[str, np.ndarray]
    states: tuple[str, ...]
    nearest: tuple[tuple[str, ...], ...]
    base_rate: float
    npmi: float = field(default=float("nan"))

    @property
    def outside(self) -> float:
        """Share of spoken tokens that are not inside, in [0, 1]; compare it with `base_rate`."""
        spoken = [state for state in self.states if state]
        return float(np.mean([state != "inside" for state in spoken]))

    @property
    def flagged(self) -> np.ndarray:
        """Positions of the tokens outside, those that can be repaired."""
        return np.flatnonzero([state == "outside" for state in self.states])

    @property
    def words(self) -> list[WordFinding]:
        """Word by word; words of which the front end dropped a symbol are "dropped"."""
        lost = {dropped.word for dropped in self.tokens.dropped}
        return [self._word(i, label, i in lost) for i, label in enumerate(self.tokens.words)]

    def _word(self, number: int, label: str, lost: bool) -> WordFinding:
        places = [i for i, word in enumerate(self.tokens.word_of) if word == number and self.states[i]]
        found = {self.states[i] for i in places} | ({"dropped"} if lost else set())
        scores = self.scores[self.layer][places]
        return WordFinding(
            word=label,
            state=next((state for state in STATES if state in found), "dropped"),
            outside=float(np.mean([self.states[i] != "inside" for i in places])) if places else 1.0,
            score=float(np.nanmax(scores)) if np.isfinite(scores).any() else float("nan"),
            tokens=tuple(places),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; scores without a reference are None."""
        plain = {
            layer: [None if np.isnan(s) else round(float(s), 4) for s in row] for layer, row in self.scores.items()
        }
        return {
            "text": self.tokens.text,
            "phonemes": self.tokens.phonemes,
            "layer": self.layer,
            "outside": self.outside,
            "base_rate": self.base_rate,
            "npmi": _plain(self.npmi),
            "dropped": [vars(dropped) for dropped in self.tokens.dropped],
            "words": [
                {
                    "word": w.word,
                    "state": w.state,
                    "outside": w.outside,
                    "score": _plain(w.score),
                }
                for w in self.words
            ],
            "symbols": list(self.tokens.symbols),
            "states": list(self.states),
            "scores": plain,
            "nearest": {str(i): list(near) for i, near in enumerate(self.nearest) if near},
        }


def diagnose(
    voice: Voice,
    reference: VoiceReference,
    sentences: Sequence[Tokens],
    *,
    layer: str | None = None,
    layers: Sequence[str] | None = None,
    n_nearest: int = 3,
) -> list[Diagnosis]:
    """Score every token of sentences by how far its vectors lie from those of ordinary text.

    Parameters
    ----------
    layer
        The one that decides; the middle one of the reference by default, which separated best on a real voice.
    layers
        Those to score besides; all of the reference by default, () for the deciding one alone.
    n_nearest
        Contexts shown for a token outside; 0 for none.

    Raises
    ------
    LookupError
        If the reference has no such layer.
    """
    decides = reference.middle if layer is None else layer
    asked = tuple(dict.fromkeys((*(reference.layers if layers is None else layers), decides)))
    for name in asked:
        if name not in reference.regions:
            raise LookupError(f"The reference has no layer {name!r}; it has {', '.join(reference.layers)}.")
    pairs = PairStatistics(reference.following)
    found = voice.encode(sentences, asked)
    return [
        _diagnose_one(reference, pairs, tokens, vectors, asked, decides, n_nearest)
        for tokens, vectors in zip(sentences, found, strict=True)
    ]


def _diagnose_one(
    reference: VoiceReference,
    pairs: PairStatistics,
    tokens: Tokens,
    vectors: dict[str, np.ndarray],
    asked: Sequence[str],
    decides: str,
    n_nearest: int,
) -> Diagnosis:
    scores = {name: scores_of(reference.regions[name], tokens, vectors[name]) for name in asked}
    spoken = tokens.spoken
    states = [state_of(score) if spoken[i] else "" for i, score in enumerate(scores[decides])]
    outside = np.array([i for i, state in enumerate(states) if state == "outside"], dtype=np.int64)
    nearest: list[tuple[str, ...]] = [()] * len(tokens)
    if n_nearest and len(outside):
        groups = [tokens.symbols[i] for i in outside]
        near = reference.regions[decides].nearest(vectors[decides][outside], groups=groups, n=n_nearest)
        for i, rows in zip(outside.tolist(), near.rows, strict=True):
            nearest[i] = tuple(_context(reference, int(row)) for row in rows if row >= 0)
    return Diagnosis(
        tokens=tokens,
        layer=decides,
        scores=scores,
        states=tuple(states),
        nearest=tuple(nearest),
        base_rate=reference.base_rates[decides],
        npmi=pairs.sentence_npmi(tokens),
    )


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)


def state_of(score: float) -> str:
    """One of `STATES` for a score: on the sphere (1) is inside, NaN is a symbol never seen."""
    if np.isnan(score):
        return "never seen"
    return "inside" if score <= 1 else "outside"


def _context(reference: VoiceReference, row: int, reach: int = 8) -> str:
    sentence, place = reference.places[row]
    symbols = reference.phonemes[sentence]
    return f"{symbols[max(0, place - reach) : place]}[{symbols[place]}]{symbols[place + 1 : place + 1 + reach]}"
