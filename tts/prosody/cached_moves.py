"""How a voice's vectors move with pitch, energy and tilt, kept in the user's cache: learnt the first time."""

from __future__ import annotations

from pathlib import Path

from genmend.storage.digests import settings_key
from genmend.storage.pieces import Work
from genmend.storage.progress import with_progress
from genmend.storage.weights import cache_folder
from genmend.tts.mending.reference_file import voice_digest
from genmend.tts.prosody.probe_moves import ProbeMoves, fit_moves, label_sentences
from genmend.tts.text.corpus import corpus_for, read_sentences, tokenize_corpus
from genmend.tts.voices.voice import Voice

__all__ = ["N_LABELLED", "load_or_fit_moves"]

N_LABELLED = 80  # corpus sentences the voice says to learn how its vectors move with pitch, energy and tilt


def load_or_fit_moves(voice: Voice, corpus: Path | None = None, *, progress: bool = False) -> ProbeMoves:
    """Load how the last layer of this voice moves with each attribute; where that is not known yet, learn and keep it.

    Parameters
    ----------
    voice
        One whose speech says how long each token lasts.
    corpus
        Sentences for the voice to say; by default as `corpus_for` chooses them.
    progress
        Whether to show a bar while it is learnt.

    Raises
    ------
    ValueError
        As `corpus_for`.
    """
    corpus = corpus_for(voice, corpus)
    facts = {"voice": voice_digest(voice), "corpus": settings_key({"text": corpus.read_text(encoding="utf-8")})}

    def learn() -> ProbeMoves:
        text = read_sentences(corpus)
        sentences = tokenize_corpus(voice, text[:: max(1, len(text) // N_LABELLED)])[:N_LABELLED]
        labels = [
            label_sentences(voice, [tokens])[0]
            for tokens in with_progress(sentences, "learning the voice", len(sentences), show=progress)
        ]
        layer = voice.layers[-1]
        moves, _ = fit_moves(sentences, voice.encode(sentences, [layer]), labels, layer)
        return moves

    work = Work(cache_folder() / "voices")
    return work.kept("moves", {**facts, "n": N_LABELLED}, learn, save=_save, load=ProbeMoves.load)


def _save(path: Path, moves: ProbeMoves) -> None:
    moves.save(path)
