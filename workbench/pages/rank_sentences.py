"""The page of ``genmend speak --file``: sentences to rewrite, pairs of sounds to record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Drawing

from genmend.tts import Diagnosis
from genmend.tts.mending.risk import SHOWN, RiskyPair, SpeakBatch
from genmend.workbench.pages.page import Facts, Figure, Paragraph, Section, Table, write_report

__all__ = []


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
