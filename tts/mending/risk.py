"""Which sentences and which pairs of sounds a voice is most likely to stumble over."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genmend.tts.mending.diagnosis import Diagnosis
from genmend.tts.mending.pair_statistics import PairStatistics
from genmend.tts.mending.reference import VoiceReference

__all__ = ["SHOWN", "RiskyPair", "SpeakBatch", "risky_pairs"]

SHOWN = 30


@dataclass(frozen=True)
class RiskyPair:
    """Two sounds in a row: how often in these sentences and in the reference, and how often outside.

    `outside` is the share of the two sounds' tokens, where they stand together, that are not inside.
    """

    pair: str
    count: int
    reference_count: int
    pmi: float
    npmi: float
    outside: float
    examples: tuple[str, ...]


@dataclass(frozen=True)
class SpeakBatch:
    """Result of ``genmend speak --file``: sentences, the riskiest first; pairs, those to record first."""

    voice: str
    diagnoses: tuple[Diagnosis, ...]
    unreadable: tuple[str, ...]
    pairs: tuple[RiskyPair, ...]
    settings: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """JSON's view, as in ``summary.json``."""
        outside = [diagnosis.outside for diagnosis in self.diagnoses]
        return {
            "voice": self.voice,
            "n_sentences": len(self.diagnoses),
            "unreadable": list(self.unreadable),
            "mean_outside": float(np.mean(outside)) if outside else None,
            "base_rate": self.diagnoses[0].base_rate if self.diagnoses else None,
            "riskiest": [{"text": d.tokens.text, "outside": d.outside} for d in self.diagnoses[:SHOWN]],
            "settings": self.settings,
        }


def risky_pairs(found: Sequence[Diagnosis], reference: VoiceReference) -> list[RiskyPair]:
    """Pairs of neighbouring sounds: those most often outside first, then the rarer ones."""
    statistics = PairStatistics(reference.following)
    outside: dict[tuple[str, str], list[float]] = defaultdict(list)
    texts: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for diagnosis in found:
        for i, j in statistics.pairs(diagnosis.tokens):
            pair = diagnosis.tokens.symbols[i], diagnosis.tokens.symbols[j]
            outside[pair].append(sum(diagnosis.states[place] != "inside" for place in (i, j)) / 2)
            texts[pair][diagnosis.tokens.text] = None
    made = [
        RiskyPair(
            pair="".join(pair),
            count=len(shares),
            reference_count=statistics.count(*pair),
            pmi=statistics.pmi(*pair),
            npmi=statistics.npmi(*pair),
            outside=float(np.mean(shares)),
            examples=tuple(texts[pair])[:3],
        )
        for pair, shares in outside.items()
    ]
    return sorted(made, key=lambda pair: (-pair.outside, pair.reference_count, pair.pair))
