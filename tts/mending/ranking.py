"""Which sentences a voice misreads, by what Whisper hears of them; which pairs of sounds it hardly knows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genmend.storage.notebook import NotebookResult
from genmend.storage.progress import with_progress
from genmend.tts.measures.reading_faults import ReadingFault, find_reading_faults
from genmend.tts.mending.acceptance import Verdict, judge_by_whisper
from genmend.tts.mending.cached_reference import reference_for
from genmend.tts.mending.diagnosis import Diagnosis, diagnose
from genmend.tts.mending.figures import outside_histogram
from genmend.tts.mending.mend import load_listener
from genmend.tts.mending.pair_statistics import PairStatistics
from genmend.tts.mending.reference import VoiceReference
from genmend.tts.mending.settings import SpeakSettings
from genmend.tts.text.corpus import read_sentences
from genmend.tts.voices.voice import Voice

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from genmend.tts.measures.judges import WhisperJudge

__all__ = [
    "N_RISKIEST",
    "Heard",
    "RiskyPair",
    "SentenceRanking",
    "rank_sentences",
    "risky_pairs",
    "sentence_columns",
]

N_RISKIEST = 30  # sentences in the summary
KNOWN = 20  # times in the reference, from which a pair of sounds needs no more recordings
_SECONDS = 2.0  # to say a sentence and to hear it
_DIAGNOSE = SpeakSettings()


@dataclass(frozen=True)
class RiskyPair:
    """Two sounds in a row: how often in these sentences and in the reference, and how often outside.

    Attributes
    ----------
    pair : str
    count, reference_count : int
    pmi : float
        In bits.
    npmi : float
        In [-1, 1].
    outside : float
        Share of the two sounds' tokens, where they stand together, that are not inside, in [0, 1].
    examples : tuple of str
        Up to three of the sentences.
    """

    pair: str
    count: int
    reference_count: int
    pmi: float
    npmi: float
    outside: float
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Heard:
    """One sentence, said and heard.

    Attributes
    ----------
    verdict : Verdict
        Of Whisper; ``verdict.errors`` words were heard wrongly.
    faults : tuple of ReadingFault
        Of the voice's attention; empty for voices with durations.
    """

    verdict: Verdict
    faults: tuple[ReadingFault, ...] = ()


@dataclass(frozen=True, repr=False)
class SentenceRanking(NotebookResult):
    """Sentences, the riskiest first; pairs of sounds, those to record first.

    Attributes
    ----------
    voice : str
    diagnoses : tuple of Diagnosis
        Those with the most words heard wrongly first, then those whose attention went wrong, then by regions.
    heard : tuple of Heard
        In the order of `diagnoses`; empty where nobody listened.
    unreadable : tuple of str
        The sentences that the voice cannot read, each with the reason.
    pairs : tuple of RiskyPair
    settings : dict
        As JSON's view, and what the reference was made of.
    """

    voice: str
    diagnoses: tuple[Diagnosis, ...]
    unreadable: tuple[str, ...]
    pairs: tuple[RiskyPair, ...]
    settings: dict[str, Any]
    heard: tuple[Heard, ...] = ()

    @property
    def n_misheard(self) -> int:
        """How many sentences had a word heard wrongly."""
        return sum(one.verdict.errors > 0 for one in self.heard)

    @property
    def base_rate(self) -> float:
        """Share of the tokens of ordinary held-out sentences that are not inside, in [0, 1]."""
        return self.diagnoses[0].base_rate

    @property
    def n_risky(self) -> int:
        """How many sentences have more than twice the base rate outside."""
        return sum(diagnosis.outside > 2 * self.base_rate for diagnosis in self.diagnoses)

    def to_dict(self) -> dict[str, Any]:
        """JSON's view, as in ``summary.json``."""
        return {
            "voice": self.voice,
            "n_sentences": len(self.diagnoses),
            "unreadable": list(self.unreadable),
            "mean_outside": float(np.mean([diagnosis.outside for diagnosis in self.diagnoses])),
            "base_rate": self.base_rate,
            "n_misheard": self.n_misheard if self.heard else None,
            "riskiest": [self._row(number) for number in range(min(N_RISKIEST, len(self.diagnoses)))],
            "settings": self.settings,
        }

    def _row(self, number: int) -> dict[str, Any]:
        found = self.diagnoses[number]
        row = {"text": found.tokens.text, "outside": found.outside}
        if not self.heard:
            return row
        one = self.heard[number]
        return row | {"wrong_words": one.verdict.errors, "heard": one.verdict.heard, "faults": len(one.faults)}

    def plot(self) -> Figure:
        """Draw a histogram of the share of each sentence that is not inside."""
        return outside_histogram(self.diagnoses)

    def columns(self) -> dict[str, np.ndarray]:
        """One row for each sentence: `sentence_columns`."""
        return sentence_columns(self)

    def pair_columns(self) -> dict[str, np.ndarray]:
        """Make one row for each pair, as in ``pairs.csv``: name of the column -> (rows,)."""
        names = ("pair", "count", "reference_count", "pmi", "npmi", "outside")
        columns = {name: np.array([getattr(pair, name) for pair in self.pairs]) for name in names}
        return columns | {"examples": np.array([" | ".join(pair.examples) for pair in self.pairs])}


def rank_sentences(
    voice: Voice,
    sentences: Path | Sequence[tuple[str, str | None]],
    *,
    reference: VoiceReference | None = None,
    settings: SpeakSettings = _DIAGNOSE,
    progress: bool = False,
) -> SentenceRanking:
    """Rank sentences by how many words Whisper hears wrongly of them, then by faults of attention, then by regions.

    Each is said and heard, about 2 CPU seconds a sentence. Where Whisper is not there, or with ``judge="none"``,
    nothing is said and the regions alone decide, which foretell little (docs/results/voices-detection.md). Whisper's
    language model knows common words: a rare name is often heard wrongly however well it is said.

    Parameters
    ----------
    sentences
        A file as `read_sentences` takes it, or what that gives: (text, its phonemes or None).
    reference, settings, progress
        As `genmend.tts.mend` takes them.

    Raises
    ------
    ValueError
        If the voice can read none of the sentences.
    """
    given = read_sentences(sentences) if isinstance(sentences, Path) else sentences
    source = str(sentences) if isinstance(sentences, Path) else "the list"
    tokens, unreadable = [], []
    for text, phonemes in given:
        try:
            tokens.append(voice.tokenize(text, phonemes=phonemes))
        except ValueError as error:
            unreadable.append(f"{text[:80]}: {error}")
    listener = load_listener(voice, settings)
    if not tokens:
        first = unreadable[0] if unreadable else "there is none"
        raise ValueError(f"{voice.name} can read none of the sentences of {source}: {first}")
    if reference is None:
        reference = reference_for(
            voice, settings.corpus, k=settings.k, seed=settings.seed, folder=settings.reference, progress=progress
        )
    found = diagnose(voice, reference, tokens, layer=settings.layer or None, layers=())
    file = {"file": sentences.name} if isinstance(sentences, Path) else {}
    unheard = {"not_heard_because": listener} if isinstance(listener, str) else {}
    heard = [] if isinstance(listener, str) else _listen(voice, found, listener, settings.seed, progress)

    def risk(number: int) -> tuple[Any, ...]:
        d, said = found[number], heard[number] if heard else None
        wrong = (said.verdict.errors, len(said.faults)) if said else (0, 0)
        return (-wrong[0], -wrong[1], -d.outside, -len(d.tokens.dropped), d.tokens.text)

    order = sorted(range(len(found)), key=risk)
    return SentenceRanking(
        voice=voice.name,
        diagnoses=tuple(found[number] for number in order),
        heard=tuple(heard[number] for number in order) if heard else (),
        unreadable=tuple(unreadable),
        pairs=tuple(risky_pairs(found, reference)),
        settings=settings.to_dict(reference) | file | unheard,
    )


def _listen(voice: Voice, found: Sequence[Diagnosis], judge: WhisperJudge, seed: int, progress: bool) -> list[Heard]:
    heard = []
    costs = [_SECONDS] * len(found)
    for diagnosis in with_progress(found, "listening", len(found), costs=costs, show=progress):
        speech = voice.speak(diagnosis.tokens, seed=seed)
        verdict = judge_by_whisper(judge, speech, diagnosis.tokens.text)
        heard.append(Heard(verdict, find_reading_faults(diagnosis.tokens, speech)))
    return heard


def risky_pairs(found: Sequence[Diagnosis], reference: VoiceReference) -> list[RiskyPair]:
    """List pairs of neighbouring sounds that the reference hardly holds: those most often outside first."""
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
        if statistics.count(*pair) < KNOWN  # more recordings of what the voice has heard often teach it nothing
    ]
    return sorted(made, key=lambda pair: (-pair.outside, pair.reference_count, pair.pair))


def sentence_columns(ranking: SentenceRanking) -> dict[str, np.ndarray]:
    """Make one row for each sentence, as in ``sentences.csv``: name of the column -> (rows,)."""
    ranked = ranking.diagnoses
    # By the number of its symbols, not their share, which is large in every short word next to a strange one.
    worst = [
        max(d.words, key=lambda w: (w.outside * len(w.tokens), np.nan_to_num(w.score)), default=None) for d in ranked
    ]
    heard: dict[str, np.ndarray] = {}
    if ranking.heard:
        heard = {
            "wrong_words": np.array([one.verdict.errors for one in ranking.heard]),
            "heard": np.array([one.verdict.heard for one in ranking.heard]),
            "faults": np.array([len(one.faults) for one in ranking.heard]),
        }
    return {
        "text": np.array([d.tokens.text for d in ranked]),
        **heard,
        "outside": np.array([d.outside for d in ranked]),
        "base_rate": np.array([d.base_rate for d in ranked]),
        "worst_word": np.array([w.word if w else "" for w in worst]),
        "largest_score": np.array([float(np.nanmax(d.scores[d.layer], initial=0)) for d in ranked]),
        "never_seen": np.array([" ".join(_symbols(d, "never seen")) for d in ranked]),
        "dropped": np.array([" ".join(lost.symbol for lost in d.tokens.dropped) for d in ranked]),
        "mean_npmi": np.array([d.npmi for d in ranked]),
        "n_symbols": np.array([int(d.tokens.spoken.sum()) for d in ranked]),
    }


def _symbols(diagnosis: Diagnosis, state: str) -> list[str]:
    """The symbols in that state, each once, in the order of the sentence."""
    found = (s for s, found in zip(diagnosis.tokens.symbols, diagnosis.states, strict=True) if found == state)
    return list(dict.fromkeys(found))
