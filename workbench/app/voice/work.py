"""What the Voice tab has done for it: sentences said, mended and edited as ``genmend speak`` does, in own folders."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genmend.storage.progress import tell
from genmend.storage.weights import PACKAGES, MissingWeightsError, has_weights
from genmend.tts import Voice, load_voice
from genmend.tts.measures.judges import WhisperJudge
from genmend.tts.measures.voice_judge import judge_for
from genmend.tts.mending.acceptance import Verdict, judge_by_whisper
from genmend.tts.mending.cached_reference import reference_for
from genmend.tts.mending.reference import VoiceReference
from genmend.tts.mending.settings import SpeakSettings
from genmend.tts.mending.spoken import SpeakRun
from genmend.tts.prosody.edit_requests import request_of_word
from genmend.tts.prosody.sentence_edits import SentenceEdits
from genmend.tts.text.languages import language_code
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.load import EMBEDDED
from genmend.tts.voices.voice import Speech
from genmend.tts.voices.wav import write_wav
from genmend.workbench.app.context import AppContext
from genmend.workbench.app.uploads import OwnFolder
from genmend.workbench.commands.speak import run_speak
from genmend.workbench.commands.speak_edit import run_speak_edit

__all__ = ["EXAMPLE", "EXAMPLE_PHONEMES", "Edited", "Mended", "Said", "edit", "hold", "mend_by_cures", "mend_text",
           "say", "say_at_once", "voices_of"]  # fmt: skip

#: What the tab opens with, and how espeak-ng reads it, so that the example needs none.
EXAMPLE = "Please ask Krzysztof about the kayak."
EXAMPLE_PHONEMES = "plˈiːz ˈæsk kɹɪstˈɔf ɐbˌaʊt ðə kˈaɪæk."
LONGEST_AT_ONCE = 300  # characters that are said before anything is looked at
WAIT = 0.2  # seconds between two looks at whether another session has done with a voice


@dataclass(frozen=True, eq=False)
class Said:
    """A text as a voice says it.

    Attributes
    ----------
    voice : str
        As `voices_of` names it.
    run : SpeakRun
    heard : tuple of Verdict
        Of each sentence; empty where nobody listened.
    unheard : str
        Why nobody listened.
    folder : OwnFolder
        Of ``original.wav`` and ``report.html``.
    """

    voice: str
    run: SpeakRun
    heard: tuple[Verdict, ...]
    unheard: str
    folder: OwnFolder

    @property
    def wav(self) -> Path:
        """The whole text as a file."""
        return self.folder.path / "original.wav"

    @property
    def report(self) -> Path:
        """The page that ``genmend speak`` writes."""
        return self.folder.path / "report.html"


@dataclass(frozen=True, eq=False)
class Mended:
    """A text before and after it was mended.

    Attributes
    ----------
    before, after : Said
        The second is None where nothing was changed.
    way : str
        "cures", "repair", "kept repairs" or "attention".
    repairs : Path or None
        The file of moves that hold in other sentences, too.
    """

    before: Said
    after: Said | None
    way: str
    repairs: Path | None = None


@dataclass(frozen=True, eq=False)
class Edited:
    """A sentence before and after a word of it is said in another way.

    Attributes
    ----------
    run : SentenceEdits
    heard : tuple of Verdict
        Before and after; empty where nobody listened.
    unheard : str
    folder : OwnFolder
        Of ``original.wav``, ``edited.wav`` and ``report.html``.
    """

    run: SentenceEdits
    heard: tuple[Verdict, ...]
    unheard: str
    folder: OwnFolder


def voices_of(context: AppContext) -> dict[str, str]:
    """Voices that can be chosen: how each is called -> what `load_voice` takes; the first is the one to begin with."""
    given = context.models.voice
    here = [name for name in EMBEDDED if name not in PACKAGES or has_weights(name)]
    own = {} if not given or given in set(EMBEDDED) - set(here) else {Path(given).name or given: given}
    return own | {name: name for name in here}


def say_at_once(context: AppContext, voice: str, text: str, phonemes: str | None) -> Path | None:
    """Say a short text into a file before anything is looked at; None for a long one."""
    if len(text) > LONGEST_AT_ONCE:
        return None
    spoken = _voice(context, voice)
    with _alone(context, voice):
        said = [spoken.speak(tokens) for tokens in spoken.tokenize_sentences(text, phonemes=phonemes)]
    folder = context.shared(("voice at once", voice, text, phonemes), lambda: OwnFolder(context.files / "voice"))
    write_wav(folder.path / "original.wav", said)
    return Path(folder.path / "original.wav")


def say(context: AppContext, voice: str, text: str, phonemes: str | None = None) -> Said:
    """Say a text, diagnose it, and listen to it."""
    return _said(context, voice, text, SpeakSettings(phonemes=phonemes, judge="none"))


def mend_by_cures(context: AppContext, voice: str, text: str, phonemes: str | None = None) -> Mended:
    """Find what is wrong, try the cures that fit, and keep the best reading; a judge listens where one is there."""
    judge = "none" if isinstance(_listener(context, voice), str) else "whisper"
    said = _said(context, voice, text, SpeakSettings(phonemes=phonemes, mend=True, judge=judge))
    changed = any(sentence.mending is not None and sentence.mending.changed for sentence in said.run)
    return Mended(said, said if changed else None, "cures")


def mend_text(
    context: AppContext,
    voice: str,
    text: str,
    phonemes: str | None = None,
    *,
    psi: float = 0.3,
    keep: bool = False,
    kept: tuple[OwnFolder, Path] | None = None,
) -> Mended:
    """Repair what is flagged, or apply the repairs of a file; a judge decides where one is there.

    `keep` writes the moves that hold in other sentences, too, to a file; `kept` is such a file with its folder.
    """
    listener = _listener(context, voice)
    judge = "none" if isinstance(listener, str) else "whisper"
    folder = OwnFolder(context.files / "voice")
    settings = (
        SpeakSettings(phonemes=phonemes, use_repairs=kept[1], judge=judge)
        if kept is not None
        else SpeakSettings(
            phonemes=phonemes,
            repair=True,
            psi=psi,
            judge=judge,
            save_repairs=folder.path / "repairs.safetensors" if keep else None,
        )
    )
    said = _said(context, voice, text, settings, folder)
    repairs = folder.path / "repairs.safetensors"
    changed = any(sentence.repaired is not None for sentence in said.run)
    return Mended(
        said,
        said if changed else None,
        "repair" if kept is None else "kept repairs",
        repairs if repairs.is_file() else None,
    )


def hold(context: AppContext, voice: str, text: str, phonemes: str | None = None) -> Mended:
    """Say a text with the attention of a Tacotron held within a window.

    Raises
    ------
    ValueError
        For a voice that does not attend so.
    """
    free = _voice(context, voice)
    if not hasattr(free, "with_attention_window"):
        raise ValueError(f"{free.name} has no attention that could be held; move the flagged sounds back instead.")
    settings = SpeakSettings(phonemes=phonemes, judge="none")
    before = _said(context, voice, text, settings)
    after = _said(context, voice, text, settings, change=lambda one: one.with_attention_window())
    return Mended(before, after, "attention")


def edit(
    context: AppContext, voice: str, tokens: Tokens, word: int, changes: Mapping[str, float], given: str | None
) -> Edited:
    """Say a word of a sentence in another way; `given` are the phonemes it was laid out by, where they were typed."""
    folder = OwnFolder(context.files / "voice")
    request = request_of_word(tokens, word, changes)
    with _alone(context, voice):
        run = run_speak_edit(
            _voice(context, voice), tokens.text, folder.path, SpeakSettings(phonemes=given), [request], progress=False
        )
    (done,) = run.edits
    return Edited(run, *_heard(context, voice, [(done.before, tokens.text), (done.after, tokens.text)]), folder)


def _said(
    context: AppContext,
    voice: str,
    text: str,
    settings: SpeakSettings,
    folder: OwnFolder | None = None,
    change: Callable[[Any], Voice] = lambda voice: voice,
) -> Said:
    folder, spoken = folder or OwnFolder(context.files / "voice"), change(_voice(context, voice))
    reference = _reference(context, voice)
    with _alone(context, voice):
        run = run_speak(spoken, text, folder.path, settings, reference=reference, progress=False)
    sentences = [(sentence.speech, sentence.diagnosis.tokens.text) for sentence in run]
    return Said(voice, run, *_heard(context, voice, sentences), folder)


def _heard(context: AppContext, voice: str, sentences: list[tuple[Speech, str]]) -> tuple[tuple[Verdict, ...], str]:
    listener = _listener(context, voice)
    if isinstance(listener, str):
        return (), listener
    return tuple(judge_by_whisper(listener, speech, text) for speech, text in sentences), ""


def _voice(context: AppContext, voice: str) -> Any:
    known = voices_of(context)
    if voice not in known:
        raise ValueError(f"There is no voice {voice!r} here; choose one of {', '.join(known)}.")
    return context.shared(("voice", voice), lambda: load_voice(known[voice]))


def _reference(context: AppContext, voice: str) -> VoiceReference:
    spoken = _voice(context, voice)
    reference: VoiceReference = context.shared(("voice reference", voice), lambda: reference_for(spoken))
    return reference


def _listener(context: AppContext, voice: str) -> WhisperJudge | str:
    """Whisper, or why nobody listens."""
    spoken = _voice(context, voice)
    try:
        judge: WhisperJudge = context.shared(("whisper", language_code(spoken.language)), lambda: judge_for(spoken))
    except (ValueError, MissingWeightsError, ModuleNotFoundError) as error:
        return str(error)
    return judge


@contextmanager
def _alone(context: AppContext, voice: str) -> Iterator[None]:
    """One session at a time speaks with a voice: some hold their edits and their randomness in the model."""
    lock: threading.Lock = context.shared(("voice lock", voice), threading.Lock)
    while not lock.acquire(timeout=WAIT):
        tell("waiting for the voice", 0, 1)
    try:
        yield
    finally:
        lock.release()
