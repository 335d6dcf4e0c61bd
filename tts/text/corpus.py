"""Reference text: sentences with their phonemes, from a file of two columns or plain text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.voice import Voice

__all__ = ["ENGLISH", "corpus_for", "read_sentences", "tokenize_corpus"]

ENGLISH = Path(__file__).parents[1] / "corpus" / "english.tsv"  # made by experiments/voices/make_corpus.py


def read_sentences(path: str | Path = ENGLISH) -> list[tuple[str, str | None]]:
    """Read sentences of a UTF-8 file, one a line: the text, and after a tab its phonemes or nothing (None).

    Repeated lines are taken once: a repeated vector would have a ball of radius 0.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not UTF-8 text, or holds no sentence.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error}): give a text file, one sentence a line.") from error
    pairs = dict.fromkeys(line.strip() for line in lines if line.strip())
    if not pairs:
        raise ValueError(f"{path} holds no sentence: give a text file, one sentence a line.")
    split = (line.partition("\t") for line in pairs)
    return [(text.strip(), phonemes.strip() or None) for text, _, phonemes in split]


def corpus_for(voice: Voice, given: Path | None = None) -> Path:
    """Choose the sentences for a voice: the given ones, its own transcripts, or genmend's for one that speaks English.

    Raises
    ------
    ValueError
        If none are given, and genmend's are of another language than the voice.
    """
    if given is None and voice.transcripts is None and not voice.speaks_english:
        raise ValueError(
            f"{voice.name} speaks {voice.language!r}, and genmend's own reference sentences are English: give at least "
            "20 ordinary sentences of its language, one a line, as corpus= (--corpus FILE)."
        )
    return given or voice.transcripts or ENGLISH


def tokenize_corpus(voice: Voice, sentences: Sequence[tuple[str, str | None]]) -> list[Tokens]:
    """Lay sentences out as the voice's tokens; those of which it knows no sound are left out.

    The phonemes are used where the voice takes them; voices that read characters, or other phonemes, read the text.
    """
    found = []
    for text, phonemes in sentences:
        for given in (phonemes, None) if phonemes is not None else (None,):
            try:
                found.append(voice.tokenize(text, phonemes=given))
                break
            except ValueError:
                continue
    return found
