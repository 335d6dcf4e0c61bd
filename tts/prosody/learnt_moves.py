"""How a voice's vectors move with pitch, energy and tilt: learnt once for a voice, kept in the user's cache."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from genmend.storage.digests import settings_key
from genmend.storage.pieces import Work
from genmend.storage.weights import cache_folder
from genmend.tts.mending.reference_file import voice_digest
from genmend.tts.text.corpus import read_sentences, tokenized
from genmend.tts.voices.voice import Voice

if TYPE_CHECKING:
    from genmend.tts.mending.mend import SpeakSettings
    from genmend.tts.prosody.probe_moves import ProbeMoves
    from genmend.tts.voices.piper import PiperVoice
    from genmend.tts.voices.vits import VitsVoice

__all__ = ["N_LABELLED"]

N_LABELLED = 80  # corpus sentences the voice says to learn how its vectors move with pitch, energy and tilt


def _editable(voice: Voice, with_model: bool) -> tuple[PiperVoice | VitsVoice, Any]:
    """The voice, and the torch model whose predictor says how long its sounds last; None where no wish needs it."""
    from genmend.tts.voices.piper import PiperVoice
    from genmend.tts.voices.piper_torch import to_torch
    from genmend.tts.voices.vits import VitsVoice

    if isinstance(voice, PiperVoice):
        return voice, to_torch(voice) if with_model else None
    if isinstance(voice, VitsVoice):
        return voice, voice.model
    raise ValueError(
        f"--edit changes Piper and VITS voices, and {voice.name} is none; from Python, tts.edit_through takes any "
        "predictor."
    )


def _moves(voice: Voice, settings: SpeakSettings, progress: bool) -> ProbeMoves:
    """How the last layer moves with each attribute; learnt once for a voice."""
    from tqdm import tqdm

    from genmend.tts.prosody.probe_moves import ProbeMoves, fit_moves, labelled
    from genmend.tts.text.corpus import ENGLISH

    corpus = settings.corpus or ENGLISH
    facts = {"voice": voice_digest(voice), "corpus": settings_key({"text": corpus.read_text(encoding="utf-8")})}

    def learn() -> ProbeMoves:
        text = read_sentences(corpus)
        sentences = tokenized(voice, text[:: max(1, len(text) // N_LABELLED)])[:N_LABELLED]
        labels = [
            labelled(voice, [tokens])[0]
            for tokens in tqdm(sentences, desc="learning the voice", leave=False, disable=not progress)
        ]
        layer = voice.layers[-1]
        moves, _ = fit_moves(sentences, voice.encode(sentences, [layer]), labels, layer)
        return moves

    work = Work(cache_folder() / "voices")
    return work.kept("moves", {**facts, "n": N_LABELLED}, learn, save=_save, load=ProbeMoves.load)


def _save(path: Path, moves: ProbeMoves) -> None:
    moves.save(path)
