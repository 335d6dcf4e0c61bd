"""``genmend speak --file``: rank sentences by how likely they are misread, and pairs of sounds by what to record."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure as Drawing

from tts import Diagnosis, PairStatistics, Voice, VoiceReference, diagnose, read_sentences
from workbench.report import Facts, Figure, Paragraph, Section, Table, need_packages, write_report
from workbench.tables import write_csv, write_json
from workbench.voice_reference import reference_for

if TYPE_CHECKING:
    from workbench.speak import SpeakSettings

__all__ = ["RiskyPair", "SpeakBatch", "risky_pairs", "run_speak_batch"]

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


def run_speak_batch(
    voice: Voice, file: Path, out: Path, settings: SpeakSettings, *, progress: bool = True
) -> SpeakBatch:
    """Rank the sentences of a file; nothing is spoken. Files: ``sentences.csv``, ``pairs.csv``, summary, report.

    Raises
    ------
    ValueError
        If the voice can read none of the sentences.
    """
    from workbench.speak import settings_with

    need_packages()
    tokens, unreadable = [], []
    for text, phonemes in read_sentences(file):
        try:
            tokens.append(voice.tokenize(text, phonemes=phonemes))
        except ValueError as error:
            unreadable.append(f"{text[:80]}: {error}")
    if not tokens:
        raise ValueError(f"{voice.name} can read none of the sentences of {file}: {unreadable[0]}")
    reference = reference_for(
        voice, settings.corpus, settings.k, settings.seed, folder=settings.reference, progress=progress
    )
    found = diagnose(voice, reference, tokens, layer=settings.layer or None, layers=())
    ranked = sorted(found, key=lambda d: (-d.outside, -len(d.tokens.dropped), d.tokens.text))
    batch = SpeakBatch(
        voice=voice.name,
        diagnoses=tuple(ranked),
        unreadable=tuple(unreadable),
        pairs=tuple(risky_pairs(found, reference)),
        settings=settings_with(settings, reference) | {"file": file.name},
    )
    out.mkdir(parents=True, exist_ok=True)
    write_csv(out / "sentences.csv", _sentence_columns(ranked))
    if batch.pairs:
        write_csv(out / "pairs.csv", _pair_columns(batch.pairs))
    write_json(out / "summary.json", batch.to_dict())
    _write_report(out / "report.html", batch)
    return batch


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


def _sentence_columns(ranked: Sequence[Diagnosis]) -> dict[str, Any]:
    # By the number of its symbols, not their share, which is large in every short word next to a strange one.
    worst = [
        max(d.words, key=lambda w: (w.outside * len(w.tokens), np.nan_to_num(w.score)), default=None) for d in ranked
    ]
    return {
        "text": np.array([d.tokens.text for d in ranked]),
        "outside": np.array([d.outside for d in ranked]),
        "base_rate": np.array([d.base_rate for d in ranked]),
        "worst_word": np.array([w.word if w else "" for w in worst]),
        "largest_score": np.array([float(np.nanmax(d.scores[d.layer], initial=0)) for d in ranked]),
        "never_seen": np.array([" ".join(_symbols(d, "never seen")) for d in ranked]),
        "dropped": np.array([" ".join(lost.symbol for lost in d.tokens.dropped) for d in ranked]),
        "mean_npmi": np.array([d.npmi for d in ranked]),
        "n_symbols": np.array([int(d.tokens.spoken.sum()) for d in ranked]),
    }


def _pair_columns(pairs: Sequence[RiskyPair]) -> dict[str, Any]:
    names = ("pair", "count", "reference_count", "pmi", "npmi", "outside")
    columns = {name: np.array([getattr(pair, name) for pair in pairs]) for name in names}
    return columns | {"examples": np.array([" | ".join(pair.examples) for pair in pairs])}


def _symbols(diagnosis: Diagnosis, state: str) -> list[str]:
    found = (s for s, found in zip(diagnosis.tokens.symbols, diagnosis.states, strict=True) if found == state)
    return list(dict.fromkeys(found))


def _write_report(path: Path, batch: SpeakBatch) -> None:
    columns = _sentence_columns(batch.diagnoses[:SHOWN])
    header = ["sentence", "not inside", "worst word", "largest score", "never seen", "dropped", "mean NPMI"]
    names = ("text", "outside", "worst_word", "largest_score", "never_seen", "dropped", "mean_npmi")
    rows = [[v.item() for v in row] for row in zip(*(columns[name] for name in names), strict=True)]
    base = batch.diagnoses[0].base_rate
    sections = [
        Section(
            "Sentences to rewrite or check",
            [
                Figure("Share of symbols that are not inside, of every sentence.", _histogram(batch.diagnoses)),
                Table(f"The {len(rows)} riskiest of {len(batch.diagnoses)}; all in sentences.csv.", header, rows),
            ],
        ),
        Section("Pairs of sounds to record", _pairs(batch.pairs)),
    ]
    if batch.unreadable:
        sections.append(Section("Not readable", [Paragraph(text) for text in batch.unreadable[:SHOWN]]))
    settings = {key: value for key, value in batch.settings.items() if value is not None}
    sections.append(Section("Settings", [Facts("What this run used", settings)], closed=True))
    above = sum(diagnosis.outside > 2 * base for diagnosis in batch.diagnoses)
    summary = (
        f"{len(batch.diagnoses)} sentences; of ordinary held-out text {100 * base:.1f} % of the symbols are not "
        f"inside. {above} sentences have more than twice that share."
    )
    write_report(path, f"genmend speak: {batch.voice}, {batch.settings['file']}", summary, sections)


def _pairs(pairs: Sequence[RiskyPair]) -> list[Any]:
    if not pairs:
        return [Paragraph("The sentences have no two sounds in a row.")]
    rows = [[p.pair, p.outside, p.count, p.reference_count, p.npmi, " | ".join(p.examples[:1])] for p in pairs[:SHOWN]]
    header = ["pair", "not inside", "here", "in the reference", "NPMI", "in"]
    return [Table(f"The {len(rows)} pairs most often outside; all in pairs.csv.", header, rows)]


def _histogram(found: Sequence[Diagnosis]) -> Drawing:
    drawing = Drawing(figsize=(6.0, 2.8), layout="constrained")
    axes = drawing.subplots()
    axes.hist([100 * d.outside for d in found], bins=min(30, max(5, len(found) // 3)), color="#33658a")
    axes.axvline(100 * found[0].base_rate, color="#b2182b", label="ordinary held-out text")
    axes.set_xlabel("symbols not inside, %")
    axes.set_ylabel("sentences")
    axes.legend()
    return drawing
