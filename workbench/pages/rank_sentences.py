"""The page of ``genmend speak --file``: sentences to rewrite, pairs of sounds to record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genmend.tts.mending.ranking import RiskyPair, SentenceRanking, sentence_columns
from genmend.workbench.pages.page import Facts, Figure, Paragraph, Section, Table, write_report

__all__ = ["write_ranking_report"]

SHOWN = 30  # rows of a table


def write_ranking_report(path: Path, ranking: SentenceRanking) -> None:
    """Write the page."""
    sections = [
        Section("Sentences to rewrite or check", _sentences(ranking)),
        Section("Pairs of sounds to record", _pairs(ranking.pairs)),
    ]
    if ranking.unreadable:
        sections.append(Section("Not readable", [Paragraph(text) for text in ranking.unreadable[:SHOWN]]))
    settings = {key: value for key, value in ranking.settings.items() if value is not None}
    sections.append(Section("Settings", [Facts("What this run used", settings)], closed=True))
    summary = (
        f"{len(ranking.diagnoses)} sentences; of ordinary held-out text {100 * ranking.base_rate:.1f} % of the symbols "
        f"are not inside. {ranking.n_risky} sentences have more than twice that share."
    )
    write_report(path, f"genmend speak: {ranking.voice}, {ranking.settings['file']}", summary, sections)


def _sentences(ranking: SentenceRanking) -> list[Any]:
    columns = sentence_columns(ranking.diagnoses[:SHOWN])
    header = ["sentence", "not inside", "worst word", "largest score", "never seen", "dropped", "mean NPMI"]
    names = ("text", "outside", "worst_word", "largest_score", "never_seen", "dropped", "mean_npmi")
    rows = [[v.item() for v in row] for row in zip(*(columns[name] for name in names), strict=True)]
    return [
        Figure("Share of symbols that are not inside, of every sentence.", ranking.plot()),
        Table(f"The {len(rows)} riskiest of {len(ranking.diagnoses)}; all in sentences.csv.", header, rows),
    ]


def _pairs(pairs: Sequence[RiskyPair]) -> list[Any]:
    if not pairs:
        return [Paragraph("The sentences have no two sounds in a row.")]
    rows = [[p.pair, p.outside, p.count, p.reference_count, p.npmi, " | ".join(p.examples[:1])] for p in pairs[:SHOWN]]
    header = ["pair", "not inside", "here", "in the reference", "NPMI", "in"]
    return [Table(f"The {len(rows)} pairs most often outside; all in pairs.csv.", header, rows)]
