"""Where a voice's encoder vectors normally lie: for each layer and symbol the region of vectors of ordinary text.

Jeong et al., TASLP 2025, Algorithm 1 (balls per layer and phoneme). Our reading: the cap of vectors a symbol, that
blanks are left out, and the base rate, which is measured on sentences that the regions never saw.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from genmend.manifold import NormalRegion
from genmend.storage.progress import with_progress
from genmend.tts.measures.sound_lengths import measure_lengths
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.voice import Voice

__all__ = ["VoiceReference", "fit_reference", "scores_of", "usual_lengths"]

N_LENGTHS = 800  # sentences that durations are measured on: 20 s of a Piper voice
_AT_ONCE = 64


@dataclass(frozen=True)
class VoiceReference:
    """The normal regions of a voice, and the text they come from.

    Attributes
    ----------
    regions : dict
        layer -> fitted `NormalRegion`; its groups are symbols.
    phonemes : tuple of str
        The reference sentences, as the symbols of their spoken tokens.
    places : ndarray
        (n, 2) of each reference vector: the sentence (index into `phonemes`), and the character in it.
    base_rates : dict
        layer -> share of spoken tokens of held-out ordinary sentences that lie outside.
    counts : dict
        symbol -> how often the reference text has it.
    following : dict
        symbol -> (symbol that comes after it among the phonemes -> how often), for perturbations and PMI.
    ids : dict
        symbol -> its number, of symbols that are one token.
    kinds : dict
        symbol -> its kind, see `genmend.tts.text.tokens.KINDS`.
    k : int
    corpus : str
        SHA-256 of the file of reference sentences; empty where that is not known.
    lengths : dict
        How long each sound lasts, as `measure_lengths` gives it; empty for voices that do not decide durations, and in
        references made before this was measured.
    """

    regions: dict[str, NormalRegion]
    phonemes: tuple[str, ...]
    places: np.ndarray
    base_rates: dict[str, float]
    counts: dict[str, int]
    following: dict[str, dict[str, int]]
    ids: dict[str, int]
    kinds: dict[str, str]
    k: int
    corpus: str = ""
    lengths: dict[str, list[float]] = field(default_factory=dict)

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that have a region, in the voice's order."""
        return tuple(self.regions)

    @property
    def middle(self) -> str:
        """The middle layer, the third of six: the default wherever one decides."""
        return self.layers[(len(self.regions) - 1) // 2]


def fit_reference(
    voice: Voice,
    sentences: Sequence[Tokens],
    *,
    layers: Sequence[str] | None = None,
    k: int = 5,
    most: int = 1500,
    held_out: float = 0.05,
    seed: int = 0,
    progress: Callable[[Iterable[Any]], Iterable[Any]] | None = None,
) -> VoiceReference:
    """Learn the regions from text alone.

    Parameters
    ----------
    voice, sentences
        Ordinary sentences for this voice, best those it was trained on; of lengths like those to be judged. Repeated
        ones are taken once.
    layers
        All but the first by default: the embedding knows nothing of the sounds around.
    k
        Neighbours that a ball reaches to; 5 to 10 told ordinary and rare text apart best on a real voice.
    most
        Vectors kept of each symbol, drawn by `seed`.
    held_out
        Share of the sentences, at least one, kept aside for the base rates.
    progress
        Wraps the batches, e.g. tqdm.

    Raises
    ------
    ValueError
        If there are fewer than 20 different sentences, or no symbol has more than k vectors.
    """
    asked = voice.check_layers(voice.layers[1:] if layers is None else layers)
    unique = list({tokens.ids: tokens for tokens in sentences}.values())
    if len(unique) < 20:
        raise ValueError(
            f"{len(unique)} different sentences are given, but a reference needs 20, better 1,500 or more."
        )
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(unique))
    n_held = max(1, round(held_out * len(unique)))
    held, kept = [unique[i] for i in order[:n_held]], [unique[i] for i in order[n_held:]]
    chosen = _draw_places(kept, most, rng)
    vectors = _collect(voice, kept, chosen, asked, progress)
    groups = [kept[s].symbols[t] for s, t in chosen]
    learnt = with_progress(asked, "normal regions", len(asked), show=False)
    regions = {layer: NormalRegion(k).fit(vectors[layer], groups=groups) for layer in learnt}
    return VoiceReference(
        regions=regions,
        phonemes=tuple(tokens.phonemes for tokens in kept),
        places=np.array([(s, int(kept[s].spoken[:t].sum())) for s, t in chosen], dtype=np.int64),
        base_rates=_base_rates(voice, held, regions),
        counts=_counts(kept),
        following=_following(kept),
        ids={s: i for tokens in kept for s, i in zip(tokens.symbols, tokens.ids, strict=True)},
        kinds={s: kind for tokens in kept for s, kind in zip(tokens.symbols, tokens.kinds, strict=True)},
        k=k,
        lengths=usual_lengths(voice, kept),
    )


def usual_lengths(voice: Voice, sentences: Sequence[Tokens]) -> dict[str, list[float]]:
    """Measure how long a voice's sounds last in ordinary sentences; empty where it does not decide that."""
    asked = sentences[:N_LENGTHS]
    frames = voice.durations(asked)
    return {} if frames is None else measure_lengths(asked, frames)


def scores_of(region: NormalRegion, tokens: Tokens, vectors: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """Score spoken tokens (n,): at most 1 inside, NaN without a reference and for tokens that are not spoken."""
    rows = np.flatnonzero(tokens.spoken) if rows is None else rows
    scores = np.full(len(tokens), np.nan)
    if len(rows):
        scores[rows] = region.score_samples(vectors[rows], groups=[tokens.symbols[i] for i in rows])
    return scores


def _draw_places(sentences: Sequence[Tokens], most: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Draw the vectors to keep, `most` of each symbol: their (sentence, position), sentence after sentence."""
    places: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for s, tokens in enumerate(sentences):
        for t in np.flatnonzero(tokens.spoken).tolist():
            places[tokens.symbols[t]].append((s, t))
    drawn = [
        found if len(found) <= most else [found[i] for i in rng.choice(len(found), most, replace=False)]
        for found in places.values()
    ]
    return sorted(place for part in drawn for place in part)


def _collect(
    voice: Voice,
    sentences: Sequence[Tokens],
    chosen: Sequence[tuple[int, int]],
    layers: Sequence[str],
    progress: Callable[[Iterable[Any]], Iterable[Any]] | None,
) -> dict[str, np.ndarray]:
    """Layer -> (n, d) vectors of the chosen places, encoded batch by batch."""
    wanted: dict[int, list[int]] = defaultdict(list)
    for s, t in chosen:
        wanted[s].append(t)
    parts: dict[str, list[np.ndarray]] = {layer: [] for layer in layers}
    starts: Iterable[int] = range(0, len(sentences), _AT_ONCE)
    for start in starts if progress is None else progress(starts):
        for i, found in enumerate(voice.encode(sentences[start : start + _AT_ONCE], layers), start=start):
            for layer in layers:
                parts[layer].append(found[layer][wanted[i]])
    return {layer: np.concatenate(parts[layer]) for layer in layers}


def _base_rates(voice: Voice, held: Sequence[Tokens], regions: dict[str, NormalRegion]) -> dict[str, float]:
    scores: dict[str, list[np.ndarray]] = {layer: [] for layer in regions}
    for tokens, vectors in zip(held, voice.encode(held, tuple(regions)), strict=True):
        for layer, region in regions.items():
            scores[layer].append(scores_of(region, tokens, vectors[layer])[tokens.spoken])
    # Tokens without a reference count as not inside.
    return {layer: float(np.mean(~(np.concatenate(parts) <= 1))) for layer, parts in scores.items()}


def _counts(sentences: Sequence[Tokens]) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for tokens in sentences:
        for symbol in tokens.symbols:
            counts[symbol] += 1
    return dict(counts)


def _following(sentences: Sequence[Tokens]) -> dict[str, dict[str, int]]:
    following: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for tokens in sentences:
        for one, other in pairwise(tokens.sounds):
            following[tokens.symbols[one]][tokens.symbols[other]] += 1
    return {one: dict(others) for one, others in following.items()}
