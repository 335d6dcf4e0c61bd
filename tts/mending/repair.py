"""Move encoder vectors that left the normal region back to where the voice knows its way.

Jeong et al., TASLP 2025, Algorithm 2: perturb the neighbours of a flagged token, encode, keep vectors that are inside,
average them, and move towards the average: new = mean + psi (old - mean). Our reading: the defaults, the fallbacks, and
what the baselines "Global" and "Random" mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genmend.manifold.regions.normal_region import RegionState
from genmend.tts.mending.perturb import perturb
from genmend.tts.mending.reference import VoiceReference, scores_of
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.voice import Voice

__all__ = ["CENTERS", "MovedToken", "Repair", "repair"]

# local: Algorithm 2. global: the mean of all reference vectors of the symbol (truncation trick). random direction: as
# far as local goes, anywhere. random vector: some reference vector of the symbol, in place of the mean.
CENTERS = ("local", "global", "random direction", "random vector")
_WIDEST = 4


@dataclass(frozen=True)
class MovedToken:
    """What was done to one flagged token.

    Attributes
    ----------
    position : int
    symbol : str
    score, score_after : float
        Smallest distance / radius; at most 1 inside.
    distance : float
        How far the vector moved; 0 where it was left.
    normal_copies : float
        Share of its perturbed copies that were inside, in [0, 1]: how lost the token is. NaN for other centers.
    center : str
        "perturbed", "perturbed, window W", "nearest" (mean of the nearest reference vectors: no copy was inside), one
        of `CENTERS` for the baselines, or "left": nothing was inside, nothing was changed.
    """

    position: int
    symbol: str
    score: float
    score_after: float
    distance: float
    normal_copies: float
    center: str


@dataclass(frozen=True)
class Repair:
    """Vectors of one layer after the repair, to be given to `Voice.speak`.

    Attributes
    ----------
    tokens : Tokens
    layer : str
    vectors : ndarray
        (n, d); rows of tokens that were not moved are bit for bit what the voice encodes.
    moved : tuple of MovedToken
        One for each flagged token.
    psi : float
    """

    tokens: Tokens
    layer: str
    vectors: np.ndarray
    moved: tuple[MovedToken, ...]
    psi: float

    @property
    def changed(self) -> bool:
        """Whether any vector was moved."""
        return any(token.distance > 0 for token in self.moved)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the vectors."""
        moved = [
            {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in vars(m).items()} for m in self.moved
        ]
        return {"layer": self.layer, "psi": self.psi, "changed": self.changed, "moved": moved}


def repair(
    voice: Voice,
    reference: VoiceReference,
    tokens: Tokens,
    *,
    layer: str | None = None,
    psi: float = 0.3,
    center: str = "local",
    positions: Sequence[int] | None = None,
    neighbours: int = 0,
    copies: int = 24,
    window: int = 2,
    substitutes: str = "pairs",
    seed: int = 0,
) -> Repair:
    """Repair the flagged tokens of a sentence in one layer.

    Parameters
    ----------
    layer
        The middle one of the reference by default: deeper ones made a voice with durations worse.
    psi
        In [0, 1]: 1 changes nothing, 0 moves to the center.
    center
        One of `CENTERS`.
    positions
        Tokens to move; all that are outside by default. Tokens inside, or without a reference, are not moved.
    neighbours
        How many spoken tokens on each side of these are moved too, although they are inside.
    copies, window, substitutes
        See `genmend.tts.mending.perturb.perturb`. Where none of the copies is inside, the window grows by 1 up to 4;
        then there are twice as many copies; then the nearest reference vectors take their place.

    Raises
    ------
    ValueError
        For a psi outside [0, 1] or an unknown center.
    LookupError
        For a layer that the reference does not have.
    """
    if not 0 <= psi <= 1:
        raise ValueError(f"psi is {psi}, but a number in [0, 1] is needed; 1 changes nothing, 0 moves to the center.")
    if center not in CENTERS:
        raise ValueError(f"center is {center!r}; accepted are {', '.join(map(repr, CENTERS))}.")
    layer = reference.middle if layer is None else layer
    if layer not in reference.regions:
        raise LookupError(f"The reference has no layer {layer!r}; it has {', '.join(reference.layers)}.")
    vectors = voice.encode([tokens], [layer])[0][layer]
    scores = scores_of(reference.regions[layer], tokens, vectors)
    flagged = [i for i in np.flatnonzero(scores > 1).tolist() if positions is None or i in set(positions)]
    if neighbours:
        known = np.flatnonzero(np.isfinite(scores)).tolist()
        around = {at + step for at in map(known.index, flagged) for step in range(-neighbours, neighbours + 1)}
        flagged = [known[at] for at in sorted(around) if 0 <= at < len(known)]
    rng = np.random.default_rng(seed)
    job = _Job(voice, reference, tokens, layer, vectors, rng, copies, window, substitutes)
    centers = job.local_centers(flagged)
    if center != "local":
        centers = [job.baseline(center, i, found) for i, found in zip(flagged, centers, strict=True)]
    repaired = vectors.copy()
    for i, (middle, _, _) in zip(flagged, centers, strict=True):
        if middle is not None:
            repaired[i] = middle + np.float32(psi) * (vectors[i] - middle)
    after = scores_of(reference.regions[layer], tokens, repaired, np.array(flagged, dtype=np.int64))
    moved = [
        MovedToken(
            position=i,
            symbol=tokens.symbols[i],
            score=float(scores[i]),
            score_after=float(after[i]),
            distance=float(np.linalg.norm(repaired[i].astype(np.float64) - vectors[i])),
            normal_copies=share,
            center=name,
        )
        for i, (_, share, name) in zip(flagged, centers, strict=True)
    ]
    return Repair(tokens, layer, repaired, tuple(moved), float(psi))


# Center, share of normal copies, and how it was found.
_Center = tuple[np.ndarray | None, float, str]


@dataclass(frozen=True)
class _Job:
    """One sentence in one layer."""

    voice: Voice
    reference: VoiceReference
    tokens: Tokens
    layer: str
    vectors: np.ndarray
    rng: np.random.Generator
    copies: int
    window: int
    substitutes: str

    def local_centers(self, positions: Sequence[int]) -> list[_Center]:
        """Means of the normal vectors of perturbed copies; all positions' copies are encoded together."""
        first = self._normal_means(positions, self.window, self.copies)
        return [found if found[0] is not None else self._fallback(i) for i, found in zip(positions, first, strict=True)]

    def baseline(self, center: str, position: int, local: _Center) -> _Center:
        """Where the baselines move the same token to."""
        region, old = self.reference.regions[self.layer], self.vectors[position]
        members = region.vectors_[region.groups_[self.tokens.symbols[position]]]
        if center == "global":
            return members.mean(axis=0), float("nan"), center
        if center == "random vector":
            return members[self.rng.integers(len(members))], float("nan"), center
        direction = self.rng.standard_normal(len(old)).astype(np.float32)
        length = 0.0 if local[0] is None else float(np.linalg.norm(local[0] - old))
        return old + direction * np.float32(length / np.linalg.norm(direction)), float("nan"), center

    def _normal_means(self, positions: Sequence[int], window: int, copies: int) -> list[_Center]:
        made = [
            perturb(
                self.tokens,
                i,
                self.reference,
                self.rng,
                copies=copies,
                window=window,
                substitutes=self.substitutes,
            )
            for i in positions
        ]
        encoded = iter(self.voice.encode([copy for part in made for copy in part], [self.layer]))
        parts = zip(positions, made, strict=True)
        name = "perturbed" if window == self.window else f"perturbed, window {window}"
        return [self._mean(i, [next(encoded)[self.layer][i] for _ in part], name) for i, part in parts]

    def _mean(self, position: int, found: list[np.ndarray], name: str) -> _Center:
        if not found:
            return None, 0.0, name
        states = self.reference.regions[self.layer].contains(
            np.stack(found), groups=[self.tokens.symbols[position]] * len(found)
        )
        inside = states == RegionState.INSIDE
        return (np.stack(found)[inside].mean(axis=0) if inside.any() else None), float(inside.mean()), name

    def _fallback(self, position: int) -> _Center:
        """Wider windows, then more copies, then the nearest reference vectors; never the mean of all."""
        for window in range(self.window + 1, _WIDEST + 1):
            found = self._normal_means([position], window, self.copies)[0]
            if found[0] is not None:
                return found
        found = self._normal_means([position], _WIDEST, 2 * self.copies)[0]
        if found[0] is not None:
            return found
        region = self.reference.regions[self.layer]
        near = region.nearest(self.vectors[[position]], groups=[self.tokens.symbols[position]], n=self.reference.k)
        known = near.vectors[0][near.rows[0] >= 0]
        return (known.mean(axis=0), 0.0, "nearest") if len(known) else (None, 0.0, "left")
