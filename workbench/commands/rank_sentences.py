"""``genmend speak --file``: rank sentences by how likely they are misread, and pairs of sounds by what to record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genmend.storage.tables import write_csv, write_json
from genmend.tts import Voice, diagnose
from genmend.tts.mending.cached_reference import reference_for
from genmend.tts.mending.risk import RiskyPair, SpeakBatch, risky_pairs
from genmend.tts.text.corpus import read_sentences
from genmend.workbench.pages.page import need_packages
from genmend.workbench.pages.rank_sentences import _sentence_columns, _write_report

if TYPE_CHECKING:
    from genmend.tts.mending.mend import SpeakSettings

__all__ = ["run_speak_batch"]


def run_speak_batch(
    voice: Voice, file: Path, out: Path, settings: SpeakSettings, *, progress: bool = True
) -> SpeakBatch:
    """Rank the sentences of a file; nothing is spoken. Files: ``sentences.csv``, ``pairs.csv``, summary, report.

    Raises
    ------
    ValueError
        If the voice can read none of the sentences.
    """
    from genmend.workbench.commands.speak import settings_with

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


def _pair_columns(pairs: Sequence[RiskyPair]) -> dict[str, Any]:
    names = ("pair", "count", "reference_count", "pmi", "npmi", "outside")
    columns = {name: np.array([getattr(pair, name) for pair in pairs]) for name in names}
    return columns | {"examples": np.array([" | ".join(pair.examples) for pair in pairs])}
