"""Say a sentence, diagnose it, repair it, and let a judge decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genmend.tts.mending.acceptance import Verdict, better, heard_by_whisper
from genmend.tts.mending.best_of import best_seed
from genmend.tts.mending.combination import CombinationRepair, apply_repairs
from genmend.tts.mending.diagnosis import Diagnosis
from genmend.tts.mending.reference import VoiceReference
from genmend.tts.mending.repair import Repair, repair
from genmend.tts.text.phonemes import split_sentences
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.voice import Speech, Voice

__all__ = ["JUDGES", "SpeakSettings", "SpokenSentence", "tokens_of"]

JUDGES = ("whisper", "none")


@dataclass(frozen=True)
class SpeakSettings:
    """What to do with the text, and how.

    `phonemes`: in place of the text's own. `layer`: "" for the middle one. `psi`, `copies`, `window`: of the repair.
    `judge`: who accepts or refuses a repair. `best_of`: times that each sentence is said, the best one is taken.
    `corpus`: of the reference, genmend's own if None. `reference`: folder to keep it in, the user's cache if None.
    `save_repairs`: a file for the accepted repairs that hold in other sentences. `use_repairs`: such a file, in place
    of repairs found anew. `write_voice`: a new Piper voice with the same repairs in it.
    """

    phonemes: str | None = None
    repair: bool = False
    layer: str = ""
    k: int = 5
    psi: float = 0.3
    copies: int = 24
    window: int = 2
    judge: str = "whisper"
    corpus: Path | None = None
    best_of: int = 1
    reference: Path | None = None
    save_repairs: Path | None = None
    use_repairs: Path | None = None
    write_voice: Path | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.judge not in JUDGES:
            raise ValueError(f"--judge is {self.judge!r}; accepted are {', '.join(JUDGES)}.")
        for option in ("write_voice", "save_repairs"):
            if getattr(self, option) is not None and not self.repair:
                name = option.replace("_", "-")
                raise ValueError(f"--{name} needs --repair: there is nothing to write without a repair.")
        if self.use_repairs is not None and self.repair:
            raise ValueError("--use-repairs and --repair are two ways to repair: give one of them.")
        if self.best_of > 1 and self.judge == "none":
            raise ValueError("--best-of needs a judge to say which is best; leave --judge at whisper.")

    @property
    def repairs(self) -> bool:
        """Whether sentences are repaired, in either way."""
        return self.repair or self.use_repairs is not None


@dataclass(frozen=True)
class SpokenSentence:
    """One sentence: said, judged, and repaired where asked for.

    `accepted` is None where no judge was asked, or where there was nothing to repair.
    """

    diagnosis: Diagnosis
    speech: Speech
    repair: Repair | None = None
    repaired: Speech | None = None
    verdicts: tuple[Verdict, Verdict] | None = None
    accepted: bool | None = None

    @property
    def final(self) -> Speech:
        """What a listener should get: the repaired one if it was accepted, or nobody judged it."""
        return self.speech if self.repaired is None or self.accepted is False else self.repaired

    def to_dict(self) -> dict[str, Any]:
        """JSON's view."""
        return {
            **self.diagnosis.to_dict(),
            "seconds": self.speech.seconds,
            "finished": self.speech.finished,
            "repair": None if self.repair is None else self.repair.to_dict(),
            "accepted": self.accepted,
            "heard": None if self.verdicts is None else [verdict.to_dict() for verdict in self.verdicts],
        }


def tokens_of(voice: Voice, text: str, phonemes: str | None = None) -> list[Tokens]:
    """Sentence by sentence; phonemes are one sentence."""
    if phonemes is not None:
        return [voice.tokenize(text, phonemes=phonemes)]
    return [voice.tokenize(sentence) for sentence in split_sentences(text) or [text]]


def _spoken(
    voice: Voice,
    reference: VoiceReference,
    diagnosis: Diagnosis,
    settings: SpeakSettings,
    known: Sequence[CombinationRepair] | None,
    judge: Any,
) -> SpokenSentence:
    tokens = diagnosis.tokens
    seed, speech = _said(voice, tokens, settings, judge)
    if not settings.repairs:
        return SpokenSentence(diagnosis, speech)
    done = (
        apply_repairs(voice, reference, tokens, known)
        if known is not None
        else repair(
            voice,
            reference,
            tokens,
            layer=diagnosis.layer,
            psi=settings.psi,
            copies=settings.copies,
            window=settings.window,
            seed=settings.seed,
        )
    )
    if not done.changed:
        return SpokenSentence(diagnosis, speech, done)
    repaired = voice.speak(tokens, {done.layer: done.vectors}, seed=seed)
    if judge is None:
        return SpokenSentence(diagnosis, speech, done, repaired)
    before, after = (heard_by_whisper(judge, said, tokens.text) for said in (speech, repaired))
    return SpokenSentence(diagnosis, speech, done, repaired, (before, after), better(before, after))


def _said(voice: Voice, tokens: Tokens, settings: SpeakSettings, judge: Any) -> tuple[int, Speech]:
    """A seed, and the sentence said with it; of several tries the one that Whisper heard best."""
    if settings.best_of == 1:
        return settings.seed, voice.speak(tokens, seed=settings.seed)

    def errors(tokens: Tokens, speech: Speech) -> tuple[int, float]:
        verdict = heard_by_whisper(judge, speech, tokens.text)
        return verdict.errors, -verdict.log_probability

    return best_seed(voice, tokens, errors, range(settings.seed, settings.seed + settings.best_of))


def _judge(settings: SpeakSettings) -> Any:
    if settings.judge == "none":
        return None
    from genmend.tts.measures.judges import WhisperJudge

    return WhisperJudge()
