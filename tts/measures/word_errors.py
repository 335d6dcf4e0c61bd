"""Word and character error rates of what a recogniser heard, counted by jiwer over the same spoken words."""

from __future__ import annotations

from typing import Any

from genmend.tts.measures.audio_input import missing_package
from genmend.tts.measures.edit_counts import EditCounts
from genmend.tts.text.spoken_words import spoken_words

__all__ = ["character_errors", "word_errors"]


def word_errors(reference: str, heard: str) -> EditCounts:
    """Count the word errors of one sentence (`rate` is its WER); over several, add up the counts.

    Both are normalised by `spoken_words` first. Nothing heard is all words deleted.

    Raises
    ------
    ValueError
        If the reference has no words.
    ModuleNotFoundError
        If the package jiwer is not installed.
    """
    return _counts(_jiwer().process_words(_reference(reference), _join_words(heard)))


def character_errors(reference: str, heard: str) -> EditCounts:
    """As `word_errors`, over the characters of the normalised text, spaces between words included."""
    return _counts(_jiwer().process_characters(_reference(reference), _join_words(heard)))


def _counts(found: Any) -> EditCounts:
    length = found.hits + found.substitutions + found.deletions
    return EditCounts(found.substitutions, found.deletions, found.insertions, length)


def _reference(text: str) -> str:
    joined = _join_words(text)
    if not joined:
        raise ValueError(f"The reference {text!r} has no words to be heard; give the sentence that was spoken.")
    return joined


def _join_words(text: str) -> str:
    return " ".join(spoken_words(text))


def _jiwer() -> Any:
    try:
        import jiwer
    except ModuleNotFoundError as error:
        raise missing_package("jiwer", "Word error rates need") from error
    return jiwer
