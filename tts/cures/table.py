"""The cures, cheapest first, with what each is for: another one is a line of `CURES`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from genmend.tts.cures.case import Case
from genmend.tts.cures.repair_layers import repaired_layers
from genmend.tts.cures.respell import other_spellings
from genmend.tts.cures.say_again import has_seeds, has_window, other_seeds, other_windows
from genmend.tts.cures.split import split_at_clauses, split_at_marks
from genmend.tts.cures.stretch import can_stretch, usual_durations
from genmend.tts.cures.way import Way
from genmend.tts.measures.reading_faults import ATTENTION_FAULTS
from genmend.tts.measures.sentence_faults import HEARD_FAULTS, READ_FAULTS
from genmend.tts.measures.sound_lengths import DURATION_FAULTS
from genmend.tts.voices.voice import Voice

__all__ = ["CURES", "Cure"]


def _any_voice(voice: Voice) -> bool:
    return True


@dataclass(frozen=True)
class Cure:
    """One thing to try.

    Attributes
    ----------
    name : str
    does : str
        What it does, for a reader.
    faults : tuple of str
        Which faults it may help (`ReadingFault.fault`).
    ways : callable
        Case -> the ways to say the sentence, each with its name; the next one is made when it is asked for.
    suits : callable
        Voice -> whether the voice can be treated so.
    changes_phonemes : bool
        Whether other sounds are said than the front end asked for.
    """

    name: str
    does: str
    faults: tuple[str, ...]
    ways: Callable[[Case], Iterator[tuple[str, Way]]]
    suits: Callable[[Voice], bool] = _any_voice
    changes_phonemes: bool = False

    def fits(self, case: Case) -> bool:
        """Whether it may help here."""
        return self.suits(case.way.voice) and any(fault.fault in self.faults for fault in case.reading.faults)


_ALL = (*READ_FAULTS, *HEARD_FAULTS)
CURES = (
    # It costs one or two readings, and a pause is asked for there anyway.
    Cure("split at marks", "says a sentence in parts, cut at its commas", ATTENTION_FAULTS, split_at_marks),
    Cure("attention window", "holds the attention near where it was", ATTENTION_FAULTS, other_windows, has_window),
    Cure("other seed", "says the sentence with another seed", _ALL, other_seeds, has_seeds),
    Cure("local repair", "moves flagged vectors back to where the voice has been", _ALL, repaired_layers),
    Cure("duration", "makes sounds as long as they usually are", DURATION_FAULTS, usual_durations, can_stretch),
    Cure("split at clauses", "says a long sentence in parts, cut at clauses", _ALL, split_at_clauses),
    # Not for what was only heard otherwise: a recogniser may like wrong sounds better than a rare name.
    Cure("respelling", "asks for other sounds or a pause", READ_FAULTS, other_spellings, changes_phonemes=True),
)
