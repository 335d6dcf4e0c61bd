"""The reference of a voice for the command line: kept in the user's cache, made the first time it is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tqdm import tqdm

from genmend.storage.digests import settings_key, sha256_of_file
from genmend.storage.weights import cache_folder
from genmend.tts.mending.reference import VoiceReference, fit_reference
from genmend.tts.mending.reference_file import ReferenceFileError, load_reference, save_reference, voice_digest
from genmend.tts.text.corpus import ENGLISH, read_sentences, tokenized
from genmend.tts.voices.voice import Voice

__all__ = ["reference_for"]

_REVISION = 1  # another one makes all kept references anew


def reference_for(
    voice: Voice, corpus: Path | None, k: int, seed: int, *, folder: Path | None = None, progress: bool = False
) -> VoiceReference:
    """Load the reference of this voice, corpus and k, or make and keep it.

    `corpus`: if None, the voice's own training transcripts where they are known, else genmend's English text.
    `folder`: where to keep it in place of the user's cache. Making one takes about a minute for a Piper voice.

    Raises
    ------
    ValueError
        If the corpus holds fewer than 20 sentences that this voice can read.
    """
    corpus = corpus or voice.transcripts or ENGLISH
    content = sha256_of_file(corpus)
    facts: dict[str, Any] = {"voice": voice_digest(voice), "corpus": content, "k": k, "seed": seed, "made": _REVISION}
    kept = cache_folder() / "voices" / settings_key(facts) if folder is None else folder
    if kept.is_dir():
        try:
            return load_reference(kept, voice)
        except ReferenceFileError:
            if folder is not None and any(kept.iterdir()):
                raise
    sentences = tokenized(voice, read_sentences(corpus))
    bar = (lambda steps: tqdm(steps, desc="reference", leave=False)) if progress else None
    reference = fit_reference(voice, sentences, k=k, seed=seed, progress=bar)
    save_reference(kept, reference, voice)
    return reference
