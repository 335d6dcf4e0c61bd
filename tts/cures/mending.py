"""Try the cures that fit a sentence, keep the best reading that is better than the original, say what each gave."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from genmend.storage.progress import tell
from genmend.tts.cures.case import Case, Reading, is_improvement, read
from genmend.tts.cures.table import CURES, Cure
from genmend.tts.cures.way import Way
from genmend.tts.measures.judges import WhisperJudge
from genmend.tts.measures.reading_faults import ReadingFault
from genmend.tts.mending.acceptance import Verdict

__all__ = ["Attempt", "Mending", "mend_sentence"]


@dataclass(frozen=True)
class Attempt:
    """One reading that was tried.

    Attributes
    ----------
    cure : str
        Name of the cure, one of `CURES`.
    how : str
        Which of its ways.
    n_misread : int
        As `Reading.n_misread`.
    verdict : Verdict or None
        None where nobody listened: no judge, or refused before.
    faults : tuple of ReadingFault
    outcome : str
        "kept", "better, but not the best", or why it was refused.
    seconds : float
        What it took to say it and to judge it.
    changes_phonemes : bool
    """

    cure: str
    how: str
    n_misread: int
    verdict: Verdict | None
    faults: tuple[ReadingFault, ...]
    outcome: str
    seconds: float
    changes_phonemes: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON's view."""
        return {
            "cure": self.cure,
            "how": self.how,
            "faults_of_reading": self.n_misread,
            "misheard_words": None if self.verdict is None else self.verdict.errors,
            "log_probability": None if self.verdict is None else self.verdict.to_dict()["log_probability"],
            "outcome": self.outcome,
            "seconds": round(self.seconds, 3),
            "changes_phonemes": self.changes_phonemes,
            "faults": [fault.to_dict() for fault in self.faults],
        }


@dataclass(frozen=True)
class Mending:
    """What was tried on one sentence, and what is kept.

    Attributes
    ----------
    before, after : Reading
        The same where nothing was better.
    attempts : tuple of Attempt
        In the order they were tried; empty where nothing was wrong or no cure fits.
    """

    before: Reading
    after: Reading
    attempts: tuple[Attempt, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether another reading than the original is kept."""
        return self.after is not self.before

    @property
    def kept(self) -> tuple[Attempt, ...]:
        """The cures in the reading that is kept, one after the other."""
        return tuple(attempt for attempt in self.attempts if attempt.outcome == "kept")

    @property
    def seconds(self) -> float:
        """What all attempts took."""
        return sum(attempt.seconds for attempt in self.attempts)

    @property
    def changes_phonemes(self) -> bool:
        """Whether the reading that is kept says other sounds than the front end asked for."""
        return any(attempt.changes_phonemes for attempt in self.kept)

    def in_words(self) -> str:
        """What was done and why, in a sentence or two."""
        if self.before.is_right:
            return "Nothing was wrong, so it was left alone."
        if not self.attempts:
            return "No cure fits what is wrong with it."
        tried = f"{len(self.attempts)} readings were" if len(self.attempts) > 1 else "1 reading was"
        cost = f"{tried} tried in {self.seconds:.0f} s"
        if not self.changed:
            return f"Nothing was better than the original, which is kept ({cost})."
        cures = ", then ".join(f"{attempt.cure} ({attempt.how})" for attempt in self.kept)
        counts = [f"faults of reading {self.before.n_misread} to {self.after.n_misread}"]
        if self.before.verdict is not None:
            counts.append(f"words heard wrongly {self.before.n_misheard} to {self.after.n_misheard}")
        other = " Other phonemes are said than the front end asked for." if self.changes_phonemes else ""
        return f"Mended by {cures}: {', '.join(counts)} ({cost}).{other}"

    def to_dict(self) -> dict[str, Any]:
        """JSON's view."""
        return {
            "changed": self.changed,
            "cures": [{"cure": attempt.cure, "how": attempt.how} for attempt in self.kept],
            "in_words": self.in_words(),
            "changes_phonemes": self.changes_phonemes,
            "readings": len(self.attempts),
            "seconds": round(self.seconds, 3),
            "faults_before": [fault.to_dict() for fault in self.before.faults],
            "faults_after": [fault.to_dict() for fault in self.after.faults],
            "attempts": [attempt.to_dict() for attempt in self.attempts],
        }


def mend_sentence(
    case: Case,
    *,
    judge: WhisperJudge | None = None,
    text: str = "",
    cures: Sequence[Cure] = CURES,
    try_all: bool = False,
) -> Mending:
    """Try the cures that fit, and keep the best reading that is better than the original.

    A cure is put on top of what was kept before it, as long as something is wrong; with `try_all` every cure is tried
    on the original alone, also when nothing is wrong any more.

    Parameters
    ----------
    case
        The sentence as it was said first; one with nothing wrong is left alone.
    judge, text
        Who listens to every attempt, and what it should hear.
    cures
        In the order in which they are tried.
    """
    first, best = case.reading, case
    attempts: list[Attempt] = []
    steps: list[int] = []  # numbers of the attempts that the best reading is made of
    for cure in () if first.is_right else cures:
        start, before = (case, []) if try_all else (best, list(steps))
        if (best.reading.is_right and not try_all) or not cure.fits(start):
            continue
        for how, way in cure.ways(start):
            tell(f"trying cures: {cure.name}", list(cures).index(cure), len(cures))
            begun = time.perf_counter()
            reading = _try(start, way, best.reading, judge, text)
            better = is_improvement(best.reading, reading, by_probability=bool(steps))
            outcome = "better, but not the best" if better else _refusal(best.reading, reading)
            seconds = time.perf_counter() - begun
            judged = reading.n_misread, reading.verdict, reading.faults
            attempts.append(Attempt(cure.name, how, *judged, outcome, seconds, cure.changes_phonemes))
            if better:
                best, steps = replace(start, way=way, reading=reading), [*before, len(attempts) - 1]
            if not try_all and (best.reading.is_right or not cure.fits(best)):
                break
    for step in steps:
        attempts[step] = replace(attempts[step], outcome="kept")
    return Mending(first, best.reading, tuple(attempts))


def _try(case: Case, way: Way, best: Reading, judge: WhisperJudge | None, text: str) -> Reading:
    tokens, speech = way.say()
    return read(tokens, speech, case.reference, judge=judge, text=text, most_misread=best.n_misread)


def _refusal(best: Reading, reading: Reading) -> str:
    """Why a reading was not taken."""
    if reading.n_misread > best.n_misread:
        return "refused: more faults of reading"
    if reading.n_misheard > best.n_misheard:
        return "refused: more words heard wrongly"
    return "refused: not better"
