"""The page of ``genmend speak --file``: sentences to rewrite, and what was heard of them; pairs of sounds to record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from genmend.tts import Speech
from genmend.tts.measures.heard_words import pair_words
from genmend.tts.mending.ranking import RiskyPair, SentenceRanking, sentence_columns
from genmend.workbench.pages.page import Answer, Facts, Figure, Number, Paragraph, Section, Table, write_report
from genmend.workbench.pages.speak import heard_table, misheard
from genmend.workbench.pages.speak_mending import audio_block

__all__ = ["N_PLAYED", "ranking_answer", "write_ranking_report"]

SHOWN = 30  # rows of a table
N_PLAYED = 8  # sentences with a player


def write_ranking_report(path: Path, ranking: SentenceRanking, speeches: Sequence[Speech]) -> None:
    """Write the page; `speeches` are those of the first sentences, as they were said, none where nothing was."""
    sections = [Section("All sentences", _sentences(ranking), closed=bool(ranking.heard))]
    for number, speech in enumerate(speeches):
        text, heard = ranking.diagnoses[number].tokens.text, ranking.heard[number]
        blocks: list[Any] = [audio_block(text, speech), *heard_table(pair_words(text, heard.verdict.heard))]
        if heard.faults:
            rows = [[fault.word or "between words", fault.fault] for fault in heard.faults]
            blocks.append(Table("What the attention of the voice did wrong.", ["word", "fault"], rows))
        sections.insert(number, Section(text, blocks, closed=number > 0))
    sections.append(Section("Pairs of sounds to record", _pairs(ranking.pairs), closed=True))
    if ranking.unreadable:
        sections.append(Section("Not readable", [Paragraph(text) for text in ranking.unreadable[:SHOWN]]))
    settings = {key: value for key, value in ranking.settings.items() if value is not None}
    sections.append(Section("Settings", [Facts("What this run used", settings)], closed=True))
    answer = replace(ranking_answer(ranking), pictures=_first(ranking))
    write_report(path, f"genmend speak: {ranking.voice}, {ranking.settings['file']}", answer, sections)


def ranking_answer(ranking: SentenceRanking) -> Answer:
    """How many sentences are heard otherwise than they are meant; by regions where nobody listened."""
    n = len(ranking.diagnoses)
    regions = (
        f"{ranking.n_risky} of {n} sentences have more than twice the usual share of symbols where the voice has not "
        "been"
    )
    usual = f"of ordinary held-out text {ranking.base_rate:.1%}"
    if not ranking.heard:
        because = str(ranking.settings.get("not_heard_because", "")).rstrip(".")
        mean = ranking.to_dict()["mean_outside"]
        return Answer(
            f"{regions}. That foretells little of what is misread: look at the words, or have Whisper listen.",
            Number("Symbols where the voice has not been", f"{mean:.1%}", usual),
            [f"Nobody listened: {because}."] if because else [],
        )
    pairs = [
        pair_words(found.tokens.text, said.verdict.heard)
        for found, said in zip(ranking.diagnoses, ranking.heard, strict=True)
    ]
    wrong, n_words = misheard([pair for words in pairs for pair in words])
    worst = f' The worst: "{ranking.diagnoses[0].tokens.text}"' if ranking.n_misheard else ""
    return Answer(
        f"{ranking.n_misheard} of {n} sentences were heard by Whisper otherwise than they are meant.{worst}",
        Number("Words heard wrongly", f"{wrong} of {n_words}", f"{regions}, {usual}"),
        more="First stand the sentences with the most words heard wrongly, then those in which attention went wrong, "
        "then those with the most symbols where the voice has not been. Whisper knows common words: a rare name is "
        "often heard wrongly however well it is said.",
    )


def _first(ranking: SentenceRanking) -> list[Any]:
    if not ranking.heard:
        return []
    rows = [
        [found.tokens.text, said.verdict.heard, said.verdict.errors, found.outside, found.base_rate]
        for found, said in list(zip(ranking.diagnoses, ranking.heard, strict=True))[:N_PLAYED]
    ]
    header = ["sentence", "heard", "wrong words", "not inside", "usual"]
    return [Table(f"The {len(rows)} riskiest of {len(ranking.diagnoses)}.", header, rows)]


def _sentences(ranking: SentenceRanking) -> list[Any]:
    columns = {name: values[:SHOWN] for name, values in sentence_columns(ranking).items()}
    names = {
        "text": "sentence", "heard": "heard", "wrong_words": "wrong words", "faults": "faults of attention",
        "outside": "not inside", "base_rate": "usual", "worst_word": "worst word", "largest_score": "largest score",
        "never_seen": "never seen", "dropped": "dropped", "mean_npmi": "mean NPMI",
    }  # fmt: skip
    kept = [name for name in names if name in columns]
    rows = [[v.item() for v in row] for row in zip(*(columns[name] for name in kept), strict=True)]
    return [
        Table(
            f"The {len(rows)} riskiest of {len(ranking.diagnoses)}; all in sentences.csv.",
            [names[name] for name in kept],
            rows,
        ),
        Figure("Share of symbols that are not inside, of every sentence.", ranking.plot()),
    ]


def _pairs(pairs: Sequence[RiskyPair]) -> list[Any]:
    if not pairs:
        return [Paragraph("None: the reference holds every pair of sounds of these sentences often.")]
    rows = [[p.pair, p.outside, p.count, p.reference_count, p.npmi, " | ".join(p.examples[:1])] for p in pairs[:SHOWN]]
    header = ["pair", "not inside", "here", "in the reference", "NPMI", "in"]
    caption = f"The {len(rows)} pairs most often outside, of those that the reference hardly holds; all in pairs.csv."
    return [Table(caption, header, rows)]
