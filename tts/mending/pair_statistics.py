"""How much more often than by chance two sounds follow each other in ordinary text.

Our reading of Jeong et al., TASLP 2025, whose formula is not available: PMI(a, b) = log2(p(a, b) / (p(a) p(b))) over
neighbouring phonemes, with add-alpha smoothing; NPMI divides it by -log2 p(a, b), so that it lies in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from math import log2

import numpy as np

from genmend.tts.text.tokens import Tokens

__all__ = ["PairStatistics"]


class PairStatistics:
    """PMI of pairs of neighbouring sounds.

    Parameters
    ----------
    following
        symbol -> (next symbol -> count), as `VoiceReference.following`.
    alpha
        Added to the count of every pair, above 0, so that pairs never seen have a finite PMI.
    """

    def __init__(self, following: Mapping[str, Mapping[str, int]], alpha: float = 0.5) -> None:
        if not alpha > 0:
            raise ValueError(f"alpha is {alpha}, but a number above 0 is needed; 0.5 is usual.")
        self.following, self.alpha = following, alpha
        symbols = sorted(set(following) | {other for others in following.values() for other in others})
        if not symbols:
            raise ValueError("No pair of sounds was counted; give the statistics of at least one sentence.")
        self._n = len(symbols)
        self._total = sum(sum(others.values()) for others in following.values()) + alpha * self._n**2
        self._first = {s: sum(following.get(s, {}).values()) + alpha * self._n for s in symbols}
        self._second = dict.fromkeys(symbols, alpha * self._n)
        for others in following.values():
            for symbol, count in others.items():
                self._second[symbol] += count

    def count(self, first: str, second: str) -> int:
        """Count how often the pair was seen."""
        return self.following.get(first, {}).get(second, 0)

    def pmi(self, first: str, second: str) -> float:
        """Estimate the PMI in bits: below 0 where the pair is rarer than chance, NaN where a sound was never seen."""
        if first not in self._first or second not in self._second:
            return float("nan")
        both = self.count(first, second) + self.alpha
        return log2(both * self._total / (self._first[first] * self._second[second]))

    def npmi(self, first: str, second: str) -> float:
        """Divide `pmi` by its largest value, to [-1, 1]."""
        return self.pmi(first, second) / -log2((self.count(first, second) + self.alpha) / self._total)

    def pairs(self, tokens: Tokens) -> list[tuple[int, int]]:
        """Find positions of neighbouring sounds of a sentence; marks, spaces and blanks between them do not count."""
        return list(pairwise(tokens.sounds))

    def sentence_npmi(self, tokens: Tokens) -> float:
        """Average the NPMI of a sentence's pairs, without sounds never seen; NaN where there is none."""
        values = [self.npmi(tokens.symbols[i], tokens.symbols[j]) for i, j in self.pairs(tokens)]
        finite = [value for value in values if np.isfinite(value)]
        return float(np.mean(finite)) if finite else float("nan")
