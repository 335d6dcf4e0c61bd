"""``genmend speak --file``: rank sentences by how likely they are misread, and pairs of sounds by what to record."""

from __future__ import annotations

from pathlib import Path

from genmend.storage.tables import write_csv, write_json
from genmend.tts import Voice
from genmend.tts.mending.ranking import SentenceRanking, rank_sentences, sentence_columns
from genmend.tts.mending.settings import SpeakSettings
from genmend.workbench.pages.page import need_packages
from genmend.workbench.pages.rank_sentences import N_PLAYED, write_ranking_report

__all__ = ["run_speak_batch"]


def run_speak_batch(
    voice: Voice, file: Path, out: Path, settings: SpeakSettings, *, progress: bool = True
) -> SentenceRanking:
    """Rank the sentences of a file by what is heard of them. Files: ``sentences.csv``, ``pairs.csv``, summary, report.

    Raises
    ------
    ValueError
        If the voice can read none of the sentences.
    """
    need_packages()
    ranking = rank_sentences(voice, file, settings=settings, progress=progress)
    out.mkdir(parents=True, exist_ok=True)
    write_csv(out / "sentences.csv", sentence_columns(ranking))
    if ranking.pairs:
        write_csv(out / "pairs.csv", ranking.pair_columns())
    else:  # of an earlier run
        (out / "pairs.csv").unlink(missing_ok=True)
    write_json(out / "summary.json", ranking.to_dict())
    played = ranking.diagnoses[:N_PLAYED] if ranking.heard else ()
    speeches = [voice.speak(diagnosis.tokens, seed=settings.seed) for diagnosis in played]
    write_ranking_report(out / "report.html", ranking, speeches)
    return ranking
