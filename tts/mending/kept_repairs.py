"""Which moves of a repaired sentence are worth keeping: those that serve other sentences and do not harm their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genmend.tts.mending.acceptance import judge_by_whisper
from genmend.tts.mending.combination import CombinationRepair, apply_repairs, combination_repairs
from genmend.tts.mending.generalisation import Generalisation, average_repair, measure_generalisation
from genmend.tts.mending.reference import VoiceReference
from genmend.tts.mending.repair import Repair
from genmend.tts.text.corpus import corpus_for, read_sentences, tokenize_corpus
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.voice import Voice

if TYPE_CHECKING:
    from genmend.tts.measures.judges import WhisperJudge

__all__ = ["KeptRepair", "read_carriers", "select_repairs"]

N_CARRIERS = 200  # ordinary sentences, of which those with room for a combination are drawn


@dataclass(frozen=True)
class KeptRepair:
    """One accepted move, tried on its combination in other sentences.

    Attributes
    ----------
    generalisation : Generalisation
        What the move does there.
    learnt_from : str
        "several sentences", or "its own" where only that holds, or neither does.
    written : bool
        Whether it holds, and its own sentence is heard no worse with all that was kept of it.
    """

    generalisation: Generalisation
    learnt_from: str
    written: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON's view."""
        return {**self.generalisation.to_dict(), "learnt_from": self.learnt_from, "written": self.written}


def read_carriers(voice: Voice, corpus: Path | None = None) -> list[Tokens]:
    """Read about 200 ordinary sentences, evenly taken from a corpus, to put combinations into.

    Parameters
    ----------
    corpus
        The voice's own transcripts, or genmend's English text, if None.
    """
    text = read_sentences(corpus_for(voice, corpus))
    return tokenize_corpus(voice, text[:: max(1, len(text) // N_CARRIERS)])


def select_repairs(
    voice: Voice,
    reference: VoiceReference,
    repair: Repair,
    carriers: Sequence[Tokens],
    *,
    psi: float = 0.3,
    seed: int = 0,
    judge: WhisperJudge | None = None,
    most_errors: int = 0,
) -> tuple[KeptRepair, ...]:
    """Try each move of a repair in other sentences, and say which are worth keeping.

    Of each combination the vector that is learnt from several sentences is taken if it holds, else that of its own
    sentence. Where the judge hears the sentence with its kept vectors worse than without, none is kept.

    Parameters
    ----------
    repair
        As `genmend.tts.mending.repair.repair` gives it, with something moved.
    carriers
        Ordinary sentences: every second is learnt from, the others are tested on.
    psi
        In [0, 1], of the repairs that are learnt from.
    judge
        None keeps what holds unheard.
    most_errors
        Word errors that the judge heard in the sentence as it was.
    """
    found = [_try_elsewhere(voice, reference, one, carriers, psi, seed) for one in combination_repairs(voice, repair)]
    holding = [one.generalisation.repair for one in found if one.generalisation.holds]
    if not holding:
        return tuple(found)
    if judge is not None:
        tokens = repair.tokens
        done = apply_repairs(voice, reference, tokens, holding)
        heard = judge_by_whisper(judge, voice.speak(tokens, {done.layer: done.vectors}, seed=seed), tokens.text)
        if heard.errors > most_errors:
            return tuple(found)
    return tuple(replace(one, written=one.generalisation.holds) for one in found)


def _try_elsewhere(
    voice: Voice,
    reference: VoiceReference,
    one: CombinationRepair,
    carriers: Sequence[Tokens],
    psi: float,
    seed: int,
) -> KeptRepair:
    """The vector of several sentences if it holds, else its own; both on sentences that neither was learnt from."""
    learning, testing = carriers[::2], carriers[1::2]
    general = average_repair(voice, reference, one, learning, psi=psi, seed=seed)
    if general is not None:
        test = measure_generalisation(voice, reference, general, testing, seed=seed)
        if test.holds:
            return KeptRepair(test, "several sentences")
    return KeptRepair(measure_generalisation(voice, reference, one, testing, seed=seed), "its own")
