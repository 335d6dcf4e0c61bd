"""Keep what ``genmend speak --repair`` found: the repairs that hold in other sentences, as a file or in a voice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from genmend.tts.mending.acceptance import heard_by_whisper
from genmend.tts.mending.combination import CombinationRepair, apply_repairs, combination_repairs
from genmend.tts.mending.combination_file import save_repairs
from genmend.tts.mending.generalisation import Holding, holds_elsewhere, learnt_from_several
from genmend.tts.mending.mend import SpeakSettings, SpokenSentence
from genmend.tts.mending.reference import VoiceReference
from genmend.tts.text.corpus import ENGLISH, read_sentences, tokenized
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.voice import Voice

__all__ = ["KeptRepair", "SpeakRun", "check_targets", "kept_repairs"]

N_CARRIERS = 200  # ordinary sentences, of which those with room for a combination are drawn


@dataclass(frozen=True)
class KeptRepair:
    """One accepted move, tried on its combination in other sentences.

    `learnt_from`: "several sentences", or "its own" where that alone holds, or neither does. `written`: it holds, and
    its own sentence is heard no worse with all that was kept of it.
    """

    holding: Holding
    learnt_from: str
    written: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON's view."""
        return {**self.holding.to_dict(), "learnt_from": self.learnt_from, "written": self.written}


def check_targets(voice: Voice, settings: SpeakSettings) -> None:
    """Refuse a voice that cannot be written before anything is said.

    Raises
    ------
    ValueError
        If the voice to write is no Piper voice, or would overwrite the one that is read.
    """
    from genmend.tts.voices.piper import PiperVoice

    if settings.write_voice is None:
        return
    if not isinstance(voice, PiperVoice):
        raise ValueError(f"--write-voice writes Piper voices, but {voice.name} is none; use --save-repairs.")
    if settings.write_voice.resolve() == voice.path.resolve():
        raise ValueError(f"{settings.write_voice} is the voice itself, which is never overwritten; give another name.")


def kept_repairs(
    voice: Voice,
    reference: VoiceReference,
    spoken: Sequence[SpokenSentence],
    settings: SpeakSettings,
    judge: Any,
) -> tuple[KeptRepair, ...]:
    """Test every repair that was not refused in other sentences, and write those that hold where asked for.

    Of each combination the vector learnt from several sentences is taken if it holds, else that of its own sentence.
    Where the judge hears a sentence with its kept vectors worse than without, they are not written. Nothing is written
    if nothing is left; the page says so.
    """
    if settings.save_repairs is None and settings.write_voice is None:
        return ()
    text = read_sentences(settings.corpus or voice.transcripts or ENGLISH)
    carriers = tokenized(voice, text[:: max(1, len(text) // N_CARRIERS)])
    tested: list[KeptRepair] = []
    for sentence in spoken:
        done = sentence.repair
        if done is None or not done.changed or sentence.accepted is False:
            continue
        found = [_tested(voice, reference, one, carriers, settings) for one in combination_repairs(voice, done)]
        holding = [one.holding.repair for one in found if one.holding.holds]
        if holding and _as_good(voice, reference, sentence, holding, settings.seed, judge):
            found = [replace(one, written=one.holding.holds) for one in found]
        tested += found
    kept = [one.holding.repair for one in tested if one.written]
    if kept and settings.save_repairs is not None:
        save_repairs(settings.save_repairs, voice, kept)
    if kept and settings.write_voice is not None:
        from genmend.tts.voices.piper_patch import write_into_piper

        write_into_piper(voice, kept, settings.write_voice)  # type: ignore[arg-type]  # see check_targets
    return tuple(tested)


def _tested(
    voice: Voice,
    reference: VoiceReference,
    one: CombinationRepair,
    carriers: Sequence[Tokens],
    settings: SpeakSettings,
) -> KeptRepair:
    """The vector of several sentences if it holds, else its own; both on sentences that neither was learnt from."""
    learning, testing = carriers[::2], carriers[1::2]
    general = learnt_from_several(voice, reference, one, learning, psi=settings.psi, seed=settings.seed)
    if general is not None:
        test = holds_elsewhere(voice, reference, general, testing, seed=settings.seed)
        if test.holds:
            return KeptRepair(test, "several sentences")
    return KeptRepair(holds_elsewhere(voice, reference, one, testing, seed=settings.seed), "its own")


def _as_good(
    voice: Voice,
    reference: VoiceReference,
    sentence: SpokenSentence,
    repairs: Sequence[CombinationRepair],
    seed: int,
    judge: Any,
) -> bool:
    """Whether the sentence with the kept vectors has no more word errors than without; True where nobody judges."""
    if judge is None or sentence.verdicts is None:
        return True
    tokens = sentence.diagnosis.tokens
    done = apply_repairs(voice, reference, tokens, repairs)
    heard = heard_by_whisper(judge, voice.speak(tokens, {done.layer: done.vectors}, seed=seed), tokens.text)
    return heard.errors <= sentence.verdicts[0].errors


@dataclass(frozen=True)
class SpeakRun:
    """Result of ``genmend speak``."""

    voice: str
    sentences: tuple[SpokenSentence, ...]
    settings: dict[str, Any]
    kept: tuple[KeptRepair, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON's view, as in ``summary.json``."""
        found = [sentence.to_dict() for sentence in self.sentences]
        kept = [one.to_dict() for one in self.kept]
        return {"voice": self.voice, "sentences": found, "combinations": kept, "settings": self.settings}
