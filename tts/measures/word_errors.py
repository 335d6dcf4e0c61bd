"""Word and character error rates of what a recogniser heard, counted by jiwer over the same spoken words."""

from __future__ import annotations

from typing import Any

from genmend.tts.measures.audio_input import missing_package
from genmend.tts.measures.edit_counts import EditCounts
from genmend.tts.text.languages import ENGLISH_CODE
from genmend.tts.text.spoken_words import spoken_words

__all__ = ["character_errors", "word_errors"]


def word_errors(reference: str, heard: str, language: str = ENGLISH_CODE) -> EditCounts:
    """Count the word errors of one sentence (`rate` is its WER); over several, add up the counts.

    Both are normalised by `spoken_words` first, in this language; where it is written without spaces between words
    (Chinese, Japanese, Thai), characters are counted. Nothing heard is all words deleted.

    Raises
    ------
    ValueError
        If the reference has no words.
    ModuleNotFoundError
        If the package jiwer is not installed.
    """
    return _counts(_jiwer().process_words(_reference(reference, language), _join_words(heard, language)))


def character_errors(reference: str, heard: str, language: str = ENGLISH_CODE) -> EditCounts:
    """As `word_errors`, over the characters of the normalised text, spaces between words included."""
    return _counts(_jiwer().process_characters(_reference(reference, language), _join_words(heard, language)))


def _counts(found: Any) -> EditCounts:
    length = found.hits + found.substitutions + found.deletions
    return EditCounts(found.substitutions, found.deletions, found.insertions, length)


def _reference(text: str, language: str) -> str:
    joined = _join_words(text, language)
    if not joined:
        raise ValueError(f"The reference {text!r} has no words to be heard; give the sentence that was spoken.")
    return joined


def _join_words(text: str, language: str) -> str:
    return " ".join(spoken_words(text, language))


def _jiwer() -> Any:
    try:
        import jiwer
    except ModuleNotFoundError as error:
        raise missing_package("jiwer", "Word error rates need") from error
    return jiwer
