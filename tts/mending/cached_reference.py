"""The reference of a voice, kept in the user's cache: fitted the first time it is needed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from genmend.storage.digests import settings_key, sha256_of_file
from genmend.storage.progress import with_progress
from genmend.storage.weights import cache_folder
from genmend.tts.mending.reference import N_LENGTHS, VoiceReference, fit_reference, usual_lengths
from genmend.tts.mending.reference_file import (
    ReferenceFileError,
    is_unfinished,
    load_reference,
    save_reference,
    voice_digest,
    write_description,
)
from genmend.tts.text.corpus import corpus_for, read_sentences, tokenize_corpus
from genmend.tts.voices.voice import Voice

__all__ = ["reference_for"]

_REVISION = 1  # another one makes all kept references anew


def reference_for(
    voice: Voice,
    corpus: Path | None = None,
    *,
    k: int = 5,
    seed: int = 0,
    folder: Path | None = None,
    progress: bool = False,
) -> VoiceReference:
    """Load the reference of this voice, corpus, k and seed; where there is none yet, fit and keep it.

    Fitting takes about a minute for a Piper voice.

    Parameters
    ----------
    corpus
        Sentences as `read_sentences` takes them; by default the voice's own training transcripts where they are known,
        else genmend's English text.
    k, seed
        See `fit_reference`.
    folder
        Where to keep it, in place of the user's cache.
    progress
        Whether to show a bar while it is fitted.

    Raises
    ------
    ValueError
        If the corpus holds fewer than 20 sentences that this voice can read, none is given and the voice speaks
        another language than English, or `folder` holds a reference of another `k` or another `corpus`.
    """
    given, corpus = corpus is not None, corpus_for(voice, corpus)
    content = sha256_of_file(corpus)
    facts: dict[str, Any] = {"voice": voice_digest(voice), "corpus": content, "k": k, "seed": seed, "made": _REVISION}
    kept = cache_folder() / "voices" / settings_key(facts) if folder is None else folder
    if kept.is_dir():
        try:
            reference = load_reference(kept, voice)
        except ReferenceFileError:
            if folder is not None and not is_unfinished(kept):
                raise
        else:
            _check_asked(reference, kept, k, content if given else "")
            if reference.lengths or voice.durations([]) is None:
                return reference
            # Made before durations were measured.
            text = read_sentences(corpus)
            some = tokenize_corpus(voice, text[:: max(1, len(text) // N_LENGTHS)])
            reference = replace(reference, lengths=usual_lengths(voice, some))
            write_description(kept, reference, voice)
            return reference
    sentences = tokenize_corpus(voice, read_sentences(corpus))

    def bar(steps: Iterable[Any]) -> Iterable[Any]:
        shown = list(steps)
        return with_progress(shown, "reference", len(shown), show=progress)

    reference = replace(fit_reference(voice, sentences, k=k, seed=seed, progress=bar), corpus=content)
    save_reference(kept, reference, voice)
    return reference


def _check_asked(reference: VoiceReference, folder: Path, k: int, corpus: str) -> None:
    """ValueError where the kept reference is not of what was asked for, which would go unnoticed."""
    if reference.k != k:
        raise ValueError(
            f"{folder} holds a reference of k = {reference.k}, and k = {k} is asked for; give that k (--k "
            f"{reference.k}), or another folder (--reference-folder) for a new one."
        )
    if corpus and reference.corpus and reference.corpus != corpus:
        raise ValueError(
            f"{folder} holds a reference made of another file of sentences than the corpus given; leave the corpus out "
            "(--corpus) to use it all the same, or give another folder (--reference-folder) for a new one."
        )
