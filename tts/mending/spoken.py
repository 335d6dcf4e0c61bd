"""What came of a text: each sentence as it was said, diagnosed, mended or repaired, and heard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from genmend.storage.notebook import NotebookResult
from genmend.tts.cures.mending import Mending
from genmend.tts.measures.heard_words import WordPair, pair_words
from genmend.tts.measures.reading_faults import ReadingFault
from genmend.tts.measures.sentence_faults import READ_FAULTS
from genmend.tts.mending.acceptance import Verdict
from genmend.tts.mending.diagnosis import Diagnosis
from genmend.tts.mending.kept_repairs import KeptRepair
from genmend.tts.mending.repair import Repair
from genmend.tts.voices.voice import Speech

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["SpeakRun", "SpokenSentence"]


@dataclass(frozen=True)
class SpokenSentence:
    """One sentence: said, diagnosed and judged, and mended or repaired where that was asked for.

    Attributes
    ----------
    diagnosis : Diagnosis
    speech : Speech
        As the voice says it.
    repair : Repair or None
        None where no repair was asked for.
    repaired : Speech or None
        With the repaired vectors; None where nothing was moved.
    verdicts : tuple of Verdict or None
        On `speech` and on `repaired`; None where no judge was asked.
    heard : Verdict or None
        On `speech`; None where nobody listened.
    accepted : bool or None
        None where no judge was asked, or nothing was repaired.
    kept : tuple of KeptRepair
        Its moves, tried in other sentences; empty where they were neither to be saved nor to be written.
    faults : tuple of ReadingFault
        All that is wrong with `speech`, word by word.
    mending : Mending or None
        What was tried; None where no cures were asked for.
    """

    diagnosis: Diagnosis
    speech: Speech
    repair: Repair | None = None
    repaired: Speech | None = None
    verdicts: tuple[Verdict, Verdict] | None = None
    accepted: bool | None = None
    kept: tuple[KeptRepair, ...] = ()
    heard: Verdict | None = None
    faults: tuple[ReadingFault, ...] = ()
    mending: Mending | None = None

    @property
    def heard_words(self) -> list[WordPair]:
        """What was heard of `speech` beside what was meant, word by word; empty where nobody listened."""
        return self._pairs(self.heard)

    @property
    def final_words(self) -> list[WordPair]:
        """The same of `final`."""
        if self.mending is not None:
            return self._pairs(self.mending.after.verdict)
        return self._pairs(self.verdicts[1] if self.accepted and self.verdicts else self.heard)

    def _pairs(self, verdict: Verdict | None) -> list[WordPair]:
        return [] if verdict is None else pair_words(self.diagnosis.tokens.text, verdict.heard, verdict.language)

    @property
    def reading_faults(self) -> tuple[ReadingFault, ...]:
        """What the voice did wrong as its own attention or durations show, word by word."""
        return tuple(fault for fault in self.faults if fault.fault in READ_FAULTS)

    @property
    def final(self) -> Speech:
        """What a listener should get: the best reading, the repaired one if it was accepted or nobody judged it."""
        if self.mending is not None:
            return self.mending.after.speech
        return self.speech if self.repaired is None or self.accepted is False else self.repaired

    def to_dict(self) -> dict[str, Any]:
        """JSON's view."""
        return {
            **self.diagnosis.to_dict(),
            "seconds": self.speech.seconds,
            "finished": self.speech.finished,
            "reading_faults": [fault.to_dict() for fault in self.reading_faults],
            "attention_path": _path(self.speech),
            "repair": None if self.repair is None else self.repair.to_dict(),
            "mending": None if self.mending is None else self._mending(self.mending),
            "accepted": self.accepted,
            "heard": [verdict.to_dict() for verdict in self.verdicts or ((self.heard,) if self.heard else ())] or None,
            "misheard": [[pair.meant, pair.heard] for pair in self.heard_words if not pair.same],
        }

    def _mending(self, mending: Mending) -> dict[str, Any]:
        after = mending.after
        of_it = {"seconds": after.speech.seconds, "finished": after.speech.finished} if mending.changed else {}
        path = {"phonemes": after.tokens.phonemes, "attention_path": _path(after.speech)} if mending.changed else {}
        return {**mending.to_dict(), "mended": {**of_it, **path} or None}


@dataclass(frozen=True, repr=False)
class SpeakRun(NotebookResult, Sequence[SpokenSentence]):
    """What `mend` did to a text: a sequence of its sentences, with the settings they were made by.

    Attributes
    ----------
    voice : str
    sentences : tuple of SpokenSentence
    settings : dict
        As JSON's view, and what the reference was made of.
    """

    voice: str
    sentences: tuple[SpokenSentence, ...]
    settings: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.sentences)

    @overload
    def __getitem__(self, index: int) -> SpokenSentence: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[SpokenSentence]: ...

    def __getitem__(self, index: int | slice) -> SpokenSentence | Sequence[SpokenSentence]:
        return self.sentences[index]

    def __iter__(self) -> Iterator[SpokenSentence]:
        return iter(self.sentences)

    @property
    def kept(self) -> tuple[KeptRepair, ...]:
        """The moves of all sentences that were tried in others."""
        return tuple(one for sentence in self.sentences for one in sentence.kept)

    def to_dict(self) -> dict[str, Any]:
        """JSON's view, as in ``summary.json``."""
        found = [sentence.to_dict() for sentence in self.sentences]
        kept = [one.to_dict() for one in self.kept]
        return {"voice": self.voice, "sentences": found, "combinations": kept, "settings": self.settings}

    def columns(self) -> dict[str, np.ndarray]:
        """One row for each spoken token: `token_columns`."""
        return self.token_columns()

    def plot(self) -> Figure:
        """Draw the first sentence along time, each symbol coloured by where the voice is lost."""
        from genmend.tts.mending.figures import diagnosis_figure

        return diagnosis_figure(self[0].diagnosis, self[0].speech)

    def token_columns(self) -> dict[str, np.ndarray]:
        """Make one row for each spoken token, as in ``tokens.csv``: name of the column -> (rows,)."""
        rows: list[dict[str, Any]] = []
        for number, sentence in enumerate(self.sentences):
            diagnosis, tokens = sentence.diagnosis, sentence.diagnosis.tokens
            spans = sentence.speech.spans
            for i in np.flatnonzero(tokens.spoken).tolist():
                word = tokens.word_of[i]
                rows.append(
                    {
                        "sentence": number,
                        "position": i,
                        "symbol": tokens.symbols[i],
                        "word": tokens.words[word] if word >= 0 else "",
                        "state": diagnosis.states[i],
                        "begin_s": np.nan if spans is None else float(spans[i, 0]),
                        "end_s": np.nan if spans is None else float(spans[i, 1]),
                        **{f"score_{layer}": float(row[i]) for layer, row in diagnosis.scores.items()},
                        "nearest": " | ".join(diagnosis.nearest[i]),
                    }
                )
        return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _path(speech: Speech) -> dict[str, Any] | None:
    """The token that the attention is on in each frame; None for voices without."""
    if speech.attention is None:
        return None
    return {"frame_seconds": speech.hop / speech.sample_rate, "tokens": speech.attention.argmax(axis=1).tolist()}
