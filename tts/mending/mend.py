"""Say a text, diagnose it, repair it, let a judge decide, and keep the repairs that serve other sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from genmend.storage.notebook import NotebookResult
from genmend.storage.weights import MissingWeightsError
from genmend.tts.measures.heard_words import WordPair, pair_words
from genmend.tts.measures.reading_faults import ReadingFault, find_reading_faults
from genmend.tts.measures.voice_judge import judge_for
from genmend.tts.mending.acceptance import Verdict, is_better, judge_by_whisper
from genmend.tts.mending.best_of import best_seed
from genmend.tts.mending.cached_reference import reference_for
from genmend.tts.mending.combination import CombinationRepair, apply_repairs
from genmend.tts.mending.combination_file import load_repairs, save_repairs
from genmend.tts.mending.diagnosis import Diagnosis, diagnose
from genmend.tts.mending.kept_repairs import KeptRepair, read_carriers, select_repairs
from genmend.tts.mending.reference import VoiceReference
from genmend.tts.mending.repair import Repair, repair
from genmend.tts.mending.settings import SpeakSettings
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.voice import Speech, Voice

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from genmend.tts.measures.judges import WhisperJudge

__all__ = ["SpeakRun", "SpokenSentence", "mend"]

_REPAIR = SpeakSettings(repair=True)


@dataclass(frozen=True)
class SpokenSentence:
    """One sentence: said and diagnosed, and repaired and judged where that was asked for.

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
    """

    diagnosis: Diagnosis
    speech: Speech
    repair: Repair | None = None
    repaired: Speech | None = None
    verdicts: tuple[Verdict, Verdict] | None = None
    accepted: bool | None = None
    kept: tuple[KeptRepair, ...] = ()
    heard: Verdict | None = None

    @property
    def heard_words(self) -> list[WordPair]:
        """What was heard of `speech` beside what was meant, word by word; empty where nobody listened."""
        return [] if self.heard is None else pair_words(self.diagnosis.tokens.text, self.heard.heard)

    @property
    def reading_faults(self) -> tuple[ReadingFault, ...]:
        """What a voice that attends did wrong by its attention, word by word; empty for voices with durations."""
        return find_reading_faults(self.diagnosis.tokens, self.speech)

    @property
    def final(self) -> Speech:
        """What a listener should get: the repaired speech if it was accepted, or if nobody judged it."""
        return self.speech if self.repaired is None or self.accepted is False else self.repaired

    def to_dict(self) -> dict[str, Any]:
        """JSON's view."""
        return {
            **self.diagnosis.to_dict(),
            "seconds": self.speech.seconds,
            "finished": self.speech.finished,
            "reading_faults": [vars(fault) for fault in self.reading_faults],
            "repair": None if self.repair is None else self.repair.to_dict(),
            "accepted": self.accepted,
            "heard": [verdict.to_dict() for verdict in self.verdicts or ((self.heard,) if self.heard else ())] or None,
            "misheard": [[pair.meant, pair.heard] for pair in self.heard_words if not pair.same],
        }


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


def mend(
    voice: Voice,
    text: str,
    *,
    reference: VoiceReference | None = None,
    settings: SpeakSettings = _REPAIR,
    progress: bool = False,
) -> SpeakRun:
    """Say a text; find where the voice is lost; repair that; keep a repair only if a judge hears it as better.

    It does what ``genmend speak`` does, but for the page. The settings of the command have no repair unless it is asked
    for; here they have.

    Parameters
    ----------
    voice
        As `load_voice` gives it.
    text
        One sentence or several.
    reference
        Of this voice; by default the one that is kept in the user's cache, fitted the first time (about a minute).
    settings
        What to do. ``SpeakSettings()`` says and diagnoses only.
    progress
        Whether to show a bar while a reference is fitted.

    Returns
    -------
    SpeakRun
        A sequence of `SpokenSentence`; ``final`` of each is what a listener should get.

    Raises
    ------
    ValueError
        If the text is empty, the corpus too small, the voice to write is no Piper voice or is the one that is read, or
        the voice speaks a language that the judge does not know, or another than genmend's own sentences.
    MissingWeightsError, ModuleNotFoundError
        If the judge is to decide on repairs and is not on this machine; the message says how to get it, or use
        ``judge="none"``.

    Examples
    --------
    >>> from genmend.tts import load_voice, mend
    >>> sentences = mend(load_voice("joe"), "Nguyen left.")  # doctest: +SKIP
    >>> [(word.word, word.state) for word in sentences[0].diagnosis.words]  # doctest: +SKIP
    [('Nguyen', 'outside'), ('left.', 'inside')]
    """
    _check_target(voice, settings.write_voice)
    listener = load_listener(voice, settings)
    judge = None if isinstance(listener, str) else listener
    known = None if settings.use_repairs is None else load_repairs(settings.use_repairs, voice)
    sentences = voice.tokenize_sentences(text, phonemes=settings.phonemes)
    if reference is None:
        reference = reference_for(
            voice, settings.corpus, k=settings.k, seed=settings.seed, folder=settings.reference, progress=progress
        )
    found = diagnose(voice, reference, sentences, layer=settings.layer or None)
    spoken = [_speak(voice, reference, diagnosis, settings, known, judge) for diagnosis in found]
    if settings.save_repairs is not None or settings.write_voice is not None:
        spoken = _keep(voice, reference, spoken, settings, judge)
    unheard = {"not_heard_because": listener} if isinstance(listener, str) else {}
    return SpeakRun(voice.name, tuple(spoken), settings.to_dict(reference) | unheard)


def _check_target(voice: Voice, path: Path | None) -> None:
    """Refuse a voice that cannot be written before anything is said."""
    if path is None:
        return
    from genmend.tts.voices.piper import PiperVoice

    if not isinstance(voice, PiperVoice):
        raise ValueError(f"write_voice writes Piper voices, but {voice.name} is none; use save_repairs.")
    if path.resolve() == voice.path.resolve():
        raise ValueError(f"{path} is the voice itself, which is never overwritten; give another name.")


def load_listener(voice: Voice, settings: SpeakSettings) -> WhisperJudge | str:
    """Whisper, or why nobody listens; before anything is said, so that nothing is lost.

    Raises
    ------
    ValueError, MissingWeightsError, ModuleNotFoundError
        If the settings have something for it to decide and it is not there, or does not know the voice's language.
    """
    if settings.judge == "none":
        return "no judge was asked"
    try:
        return judge_for(voice)
    except (ValueError, MissingWeightsError, ModuleNotFoundError) as error:
        if settings.repairs or settings.best_of > 1:
            raise
        return str(error)


def _speak(
    voice: Voice,
    reference: VoiceReference,
    diagnosis: Diagnosis,
    settings: SpeakSettings,
    known: Sequence[CombinationRepair] | None,
    judge: WhisperJudge | None,
) -> SpokenSentence:
    """Say a diagnosed sentence, and again with its vectors repaired, by known repairs where they are given."""
    tokens = diagnosis.tokens
    seed, speech = _speak_best(voice, tokens, settings, judge)
    heard = None if judge is None else judge_by_whisper(judge, speech, tokens.text)
    if not settings.repairs:
        return SpokenSentence(diagnosis, speech, heard=heard)
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
        return SpokenSentence(diagnosis, speech, done, heard=heard)
    repaired = voice.speak(tokens, {done.layer: done.vectors}, seed=seed)
    if judge is None or heard is None:
        return SpokenSentence(diagnosis, speech, done, repaired)
    after = judge_by_whisper(judge, repaired, tokens.text)
    return SpokenSentence(diagnosis, speech, done, repaired, (heard, after), is_better(heard, after), heard=heard)


def _speak_best(
    voice: Voice, tokens: Tokens, settings: SpeakSettings, judge: WhisperJudge | None
) -> tuple[int, Speech]:
    """A seed, and the sentence said with it; of several tries the one that the judge heard best."""
    if settings.best_of == 1 or judge is None:
        return settings.seed, voice.speak(tokens, seed=settings.seed)

    def errors(tokens: Tokens, speech: Speech) -> tuple[int, float]:
        verdict = judge_by_whisper(judge, speech, tokens.text)
        return verdict.errors, -verdict.log_probability

    return best_seed(voice, tokens, errors, range(settings.seed, settings.seed + settings.best_of))


def _keep(
    voice: Voice,
    reference: VoiceReference,
    spoken: Sequence[SpokenSentence],
    settings: SpeakSettings,
    judge: WhisperJudge | None,
) -> list[SpokenSentence]:
    """Try every repair that was not refused in other sentences, and write those that hold where asked for."""
    carriers = read_carriers(voice, settings.corpus)
    tried = []
    for sentence in spoken:
        if sentence.repair is not None and sentence.repair.changed and sentence.accepted is not False:
            kept = select_repairs(
                voice,
                reference,
                sentence.repair,
                carriers,
                psi=settings.psi,
                seed=settings.seed,
                judge=None if sentence.verdicts is None else judge,
                most_errors=0 if sentence.verdicts is None else sentence.verdicts[0].errors,
            )
            sentence = replace(sentence, kept=kept)
        tried.append(sentence)
    written = [one.generalisation.repair for sentence in tried for one in sentence.kept if one.written]
    if written and settings.save_repairs is not None:
        save_repairs(settings.save_repairs, voice, written)
    if written and settings.write_voice is not None:
        from genmend.tts.voices.piper_patch import write_into_piper

        write_into_piper(voice, written, settings.write_voice)  # type: ignore[arg-type]  # see _check_target
    return tried
