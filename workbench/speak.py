"""``genmend speak``: say a text, show where the voice is lost, repair it, edit it; everything as files and a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from activations import atomic_write
from tts import (
    CombinationRepair,
    Diagnosis,
    Repair,
    Speech,
    Verdict,
    Voice,
    VoiceReference,
    apply_repairs,
    better,
    diagnose,
    heard_by_whisper,
    load_repairs,
    repair,
    split_sentences,
)
from tts.best_of import best_seed
from tts.tokens import Tokens
from workbench.report import need_packages
from workbench.speak_keep import KeptRepair, check_targets, kept_repairs
from workbench.speak_report import wav_bytes, write_speak_report
from workbench.tables import write_csv, write_json
from workbench.voice_reference import reference_for

__all__ = ["SpeakRun", "SpeakSettings", "SpokenSentence", "run_speak", "settings_with", "tokens_of", "write_wav"]

PAUSE = 0.25  # seconds between two sentences of one text
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


def run_speak(voice: Voice, text: str, out: Path, settings: SpeakSettings, *, progress: bool = True) -> SpeakRun:
    """Say a text and write everything to `out`.

    Files: ``original.wav``, with a repair ``repaired.wav`` (the sentences whose repair was refused as they were),
    ``tokens.csv``, ``summary.json``, ``report.html``.
    """
    need_packages()
    check_targets(voice, settings)
    known = None if settings.use_repairs is None else load_repairs(settings.use_repairs, voice)
    sentences = tokens_of(voice, text, settings.phonemes)
    reference = reference_for(
        voice, settings.corpus, settings.k, settings.seed, folder=settings.reference, progress=progress
    )
    judge = _judge(settings) if settings.repairs or settings.best_of > 1 else None
    found = diagnose(voice, reference, sentences, layer=settings.layer or None)
    spoken = tuple(_spoken(voice, reference, diagnosis, settings, known, judge) for diagnosis in found)
    kept = kept_repairs(voice, reference, spoken, settings, judge)
    out.mkdir(parents=True, exist_ok=True)
    write_wav(out / "original.wav", [sentence.speech for sentence in spoken])
    if settings.repairs:
        write_wav(out / "repaired.wav", [sentence.final for sentence in spoken])
    run = SpeakRun(voice.name, spoken, settings_with(settings, reference), kept)
    write_csv(out / "tokens.csv", _token_columns(spoken))
    write_json(out / "summary.json", run.to_dict())
    write_speak_report(out / "report.html", run)
    return run


def tokens_of(voice: Voice, text: str, phonemes: str | None = None) -> list[Tokens]:
    """Sentence by sentence; phonemes are one sentence."""
    if phonemes is not None:
        return [voice.tokenize(text, phonemes=phonemes)]
    return [voice.tokenize(sentence) for sentence in split_sentences(text) or [text]]


def write_wav(path: Path, speeches: Sequence[Speech]) -> None:
    """Several sentences as one 16-bit file, short pauses between them; louder than full scale is made quieter."""
    rate = speeches[0].sample_rate
    pause = np.zeros(round(PAUSE * rate), dtype=np.float32)
    parts = [part for speech in speeches for part in (pause, speech.audio.astype(np.float32))][1:]
    with atomic_write(path) as temporary:
        temporary.write_bytes(wav_bytes(np.concatenate(parts), rate))


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
    from tts.judges import WhisperJudge

    return WhisperJudge()


def settings_with(settings: SpeakSettings, reference: VoiceReference) -> dict[str, Any]:
    """The settings as JSON's view, and what the reference was."""
    paths = {name: str(value) for name, value in vars(settings).items() if isinstance(value, Path)}
    n = {"n_reference_sentences": len(reference.phonemes), "base_rates": reference.base_rates}
    return {**vars(settings), **paths, **n}


def _token_columns(spoken: Sequence[SpokenSentence]) -> dict[str, Any]:
    """One row for each spoken token."""
    rows: list[dict[str, Any]] = []
    for number, sentence in enumerate(spoken):
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
