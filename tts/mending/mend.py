"""Say a text, find what is wrong, mend or repair it, let a judge decide; keep repairs that serve other sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from genmend.storage.weights import MissingWeightsError
from genmend.tts.cures.case import Case, Reading, read
from genmend.tts.cures.mending import mend_sentence
from genmend.tts.cures.way import Way
from genmend.tts.measures.voice_judge import judge_for, phoneme_judge_for
from genmend.tts.mending.acceptance import HAMA, is_better, judge_by_phonemes, judge_by_whisper
from genmend.tts.mending.best_of import best_seed
from genmend.tts.mending.cached_reference import reference_for
from genmend.tts.mending.combination import CombinationRepair, apply_repairs
from genmend.tts.mending.combination_file import load_repairs, save_repairs
from genmend.tts.mending.diagnosis import Diagnosis, diagnose
from genmend.tts.mending.kept_repairs import read_carriers, select_repairs
from genmend.tts.mending.reference import VoiceReference
from genmend.tts.mending.repair import repair
from genmend.tts.mending.settings import SpeakSettings
from genmend.tts.mending.spoken import SpeakRun, SpokenSentence
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.voice import Speech, Voice

if TYPE_CHECKING:
    from genmend.tts.measures.judges import PhonemeJudge, WhisperJudge

__all__ = ["load_listener", "mend"]

_MEND = SpeakSettings(mend=True)


def mend(
    voice: Voice,
    text: str,
    *,
    reference: VoiceReference | None = None,
    settings: SpeakSettings = _MEND,
    progress: bool = False,
) -> SpeakRun:
    """Say a text; find what is wrong with each sentence; try the cures that fit; keep the best reading.

    A reading is kept only if it is better than the original: fewer words skipped, repeated or stalled on, as the
    voice's own attention or durations show, and no more words heard wrongly, or the other way round. A sentence with
    nothing wrong is left alone. It does what ``genmend speak`` does, but for the page; the settings of the command
    have no mending unless it is asked for, here they have.

    Parameters
    ----------
    voice
        As `load_voice` gives it.
    text
        One sentence or several.
    reference
        Of this voice; by default the one that is kept in the user's cache, fitted the first time (about a minute).
    settings
        What to do. ``SpeakSettings()`` says and diagnoses only; ``SpeakSettings(repair=True)`` moves vectors that lie
        outside back, and nothing else.
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
        If the judge is to decide on attempts and is not on this machine; the message says how to get it, or use
        ``judge="none"``.

    Examples
    --------
    >>> from genmend.tts import load_voice, mend
    >>> sentences = mend(load_voice("joe"), "Nguyen left.")  # doctest: +SKIP
    >>> [(fault.word, fault.fault) for fault in sentences[0].faults]  # doctest: +SKIP
    [('Nguyen', 'heard otherwise')]
    >>> sentences[0].mending.in_words()  # doctest: +SKIP
    'Nothing was better than the original, which is kept (9 readings were tried in 14 s).'
    """
    _check_target(voice, settings.write_voice)
    listener = load_listener(voice, settings)
    judge = None if isinstance(listener, str) else listener
    phonemes = phoneme_judge_for(voice) if settings.judge == HAMA else None
    known = None if settings.use_repairs is None else load_repairs(settings.use_repairs, voice)
    sentences = voice.tokenize_sentences(text, phonemes=settings.phonemes)
    if reference is None:
        reference = reference_for(
            voice, settings.corpus, k=settings.k, seed=settings.seed, folder=settings.reference, progress=progress
        )
    found = diagnose(voice, reference, sentences, layer=settings.layer or None)
    spoken = [_speak(voice, reference, diagnosis, settings, known, judge, phonemes) for diagnosis in found]
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
        # Where Whisper does not know the language, cures are judged by the voice's own attention or durations.
        packages = isinstance(error, MissingWeightsError | ModuleNotFoundError)
        if (settings.repairs and settings.judge != HAMA) or settings.best_of > 1 or (settings.mend and packages):
            raise
        return str(error)


def _speak(
    voice: Voice,
    reference: VoiceReference,
    diagnosis: Diagnosis,
    settings: SpeakSettings,
    known: Sequence[CombinationRepair] | None,
    judge: WhisperJudge | None,
    phonemes: PhonemeJudge | None,
) -> SpokenSentence:
    """Say a diagnosed sentence; mend it, or say it again with its vectors repaired, where that is asked for."""
    tokens = diagnosis.tokens
    seed, speech = _speak_best(voice, tokens, settings, judge)
    if settings.phonemes is not None and tokens.text == settings.phonemes:
        judge = judge if settings.repairs else None  # phonemes alone are no text to be heard
    reading = read(tokens, speech, reference, judge=judge, text=tokens.text)
    heard, faults = reading.verdict, reading.faults
    if settings.mend:
        return _mend(voice, reference, diagnosis, settings, judge, seed, reading)
    if not settings.repairs:
        return SpokenSentence(diagnosis, speech, heard=heard, faults=faults)
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
        return SpokenSentence(diagnosis, speech, done, heard=heard, faults=faults)
    repaired = voice.speak(tokens, {done.layer: done.vectors}, seed=seed)
    if phonemes is not None:
        verdicts = judge_by_phonemes(phonemes, speech, tokens), judge_by_phonemes(phonemes, repaired, tokens)
    elif judge is not None and heard is not None:
        verdicts = heard, judge_by_whisper(judge, repaired, tokens.text)
    else:
        return SpokenSentence(diagnosis, speech, done, repaired, faults=faults)
    accepted = is_better(*verdicts)
    return SpokenSentence(diagnosis, speech, done, repaired, verdicts, accepted, heard=heard, faults=faults)


def _mend(
    voice: Voice,
    reference: VoiceReference,
    diagnosis: Diagnosis,
    settings: SpeakSettings,
    judge: WhisperJudge | None,
    seed: int,
    reading: Reading,
) -> SpokenSentence:
    """Try the cures on a sentence that was said and heard."""
    tokens = diagnosis.tokens
    flagged = frozenset(diagnosis.flagged.tolist())
    case = Case(Way(voice, (tokens,), seed), reading, reference, settings, flagged, judge is not None)
    done = mend_sentence(case, judge=judge, text=tokens.text, try_all=settings.try_all)
    return SpokenSentence(diagnosis, reading.speech, heard=reading.verdict, faults=reading.faults, mending=done)


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
