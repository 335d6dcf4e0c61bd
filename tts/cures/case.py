"""A sentence as it was read and heard, what is wrong with it, and when another reading of it is better."""

from __future__ import annotations

from dataclasses import dataclass

from genmend.tts.cures.way import Way
from genmend.tts.measures.alignment import alignment_of
from genmend.tts.measures.heard_words import pair_words
from genmend.tts.measures.judges import WhisperJudge
from genmend.tts.measures.reading_faults import ReadingFault
from genmend.tts.measures.sentence_faults import find_faults
from genmend.tts.measures.sound_lengths import DURATION_FAULTS
from genmend.tts.mending.acceptance import Verdict, is_better, judge_by_whisper
from genmend.tts.mending.reference import VoiceReference
from genmend.tts.mending.settings import SpeakSettings
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.voice import Speech

__all__ = ["Case", "Reading", "is_improvement", "read"]


@dataclass(frozen=True)
class Reading:
    """One reading of a sentence, judged.

    Attributes
    ----------
    tokens : Tokens
    speech : Speech
    faults : tuple of ReadingFault
        What is wrong, word by word.
    n_misread : int
        Faults that the voice's own attention or durations show: tokens skipped, stalled on, far too short or long,
        times that it went back, and one more where it did not end. Lower is better.
    verdict : Verdict or None
        None where nobody listened.
    """

    tokens: Tokens
    speech: Speech
    faults: tuple[ReadingFault, ...]
    n_misread: int
    verdict: Verdict | None = None

    @property
    def n_misheard(self) -> int:
        """Words heard wrongly; 0 where nobody listened."""
        return 0 if self.verdict is None else self.verdict.errors

    @property
    def is_right(self) -> bool:
        """Whether neither the voice itself nor a listener shows anything wrong."""
        return not self.n_misread and not self.n_misheard


@dataclass(frozen=True)
class Case:
    """A sentence with something wrong, as the cures see it.

    Attributes
    ----------
    way : Way
        How it was said.
    reading : Reading
        What came of that.
    reference : VoiceReference
    settings : SpeakSettings
    flagged : frozenset of int
        Positions of the sentence's tokens whose vectors lie outside the normal region.
    listens : bool
        Whether somebody listens to every attempt.
    """

    way: Way
    reading: Reading
    reference: VoiceReference
    settings: SpeakSettings
    flagged: frozenset[int] = frozenset()
    listens: bool = False

    @property
    def tokens(self) -> Tokens | None:
        """The sentence in one part; None where it is said in several."""
        return self.way.parts[0] if len(self.way.parts) == 1 else None


def read(
    tokens: Tokens,
    speech: Speech,
    reference: VoiceReference | None = None,
    *,
    judge: WhisperJudge | None = None,
    text: str = "",
    most_misread: int | None = None,
) -> Reading:
    """Judge a reading: by the voice's own attention or durations first, then by a listener.

    Parameters
    ----------
    text
        What should have been said, for the judge.
    most_misread
        Where the reading has more faults of its own than these, it is refused anyway and nobody listens.
    """
    lengths = None if reference is None else reference.lengths
    own = find_faults(tokens, speech, lengths=lengths)
    n_misread = _count_misread(tokens, speech, own)
    if judge is None or (most_misread is not None and n_misread > most_misread):
        return Reading(tokens, speech, own, n_misread)
    verdict = judge_by_whisper(judge, speech, text)
    heard = pair_words(text, verdict.heard, verdict.language)
    faults = find_faults(tokens, speech, lengths=lengths, heard=heard)
    return Reading(tokens, speech, faults, n_misread, verdict)


def is_improvement(before: Reading, after: Reading, *, by_probability: bool = False) -> bool:
    """Whether a reading is better than another: fewer faults of one kind, and not more of the other.

    A reading with fewer faults of its own and more words heard wrongly is refused, and so is the opposite; of equals
    the first is kept, also of two equally wrong hearings, which nobody can decide between.

    Parameters
    ----------
    by_probability
        Whether, of two in which no word is heard wrongly, the one whose words are more probable is better: between
        two attempts, never against the original.
    """
    if after.n_misread > before.n_misread or after.n_misheard > before.n_misheard:
        return False
    if after.n_misread < before.n_misread or after.n_misheard < before.n_misheard:
        return after.verdict is not None or before.verdict is None
    heard = before.verdict, after.verdict
    return by_probability and heard[0] is not None and heard[1] is not None and is_better(heard[0], heard[1])


def _count_misread(tokens: Tokens, speech: Speech, faults: tuple[ReadingFault, ...]) -> int:
    unfinished = int(not speech.finished)
    if speech.attention is None:
        return unfinished + sum(len(fault.tokens) for fault in faults if fault.fault in DURATION_FAULTS)
    if not tokens.sounds:
        return unfinished
    found = alignment_of(tokens, speech)
    return unfinished + len(found.skipped) + len(found.stalled) + found.repeats
