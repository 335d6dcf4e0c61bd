"""The recogniser that knows the language of a voice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genmend.tts.measures.word_errors import word_errors
from genmend.tts.text.ipa import IpaReader
from genmend.tts.text.kana import KanaReader
from genmend.tts.text.languages import ENGLISH_CODE, language_code
from genmend.tts.voices.voice import Voice

if TYPE_CHECKING:
    from genmend.tts.measures.judges import PhonemeJudge, WhisperJudge

__all__ = ["judge_for", "phoneme_judge_for"]


def judge_for(voice: Voice) -> WhisperJudge:
    """Load Whisper for what the voice speaks: tiny.en for English, the multilingual base for all else.

    Raises
    ------
    ValueError
        If Whisper does not know the language, or the voice reads texts that are phonemes.
    MissingWeightsError, ModuleNotFoundError
        If the weights or a package are not on this machine; the message says how to get them.
    """
    from genmend.storage.weights import MissingWeightsError
    from genmend.tts.measures.judges import WhisperJudge

    word_errors("word", "word")  # raises where the package that counts them is missing
    if voice.texts_are_phonemes:
        raise ValueError(
            f"{voice.name} reads texts that are phonemes, which can't be compared with the words that Whisper hears: "
            'give judge="none" (--judge none), and listen.'
        )
    code = language_code(voice.language)
    if code == ENGLISH_CODE:
        return WhisperJudge()
    try:
        return WhisperJudge(language=code, kana=isinstance(voice._read, KanaReader))
    except MissingWeightsError as error:
        raise MissingWeightsError(
            f"{voice.name} speaks {voice.language!r}, which the English Whisper does not know: {error}"
        ) from error
    except ValueError as error:
        raise ValueError(
            f"{voice.name} speaks {voice.language!r}, which Whisper does not know: "
            'give judge="none" (--judge none), and listen to both.'
        ) from error


def phoneme_judge_for(voice: Voice) -> PhonemeJudge:
    """Load hama for a voice of English phonemes.

    Raises
    ------
    ValueError
        If the voice speaks another language, or does not read phonemes.
    ModuleNotFoundError
        If the package is not installed.
    """
    from genmend.tts.measures.judges import PhonemeJudge

    if not voice.speaks_english:
        raise ValueError(
            f"{voice.name} speaks {voice.language!r}, and the judge hama hears English phonemes: "
            "give judge whisper (--judge whisper) or none."
        )
    if not isinstance(voice._read, IpaReader):
        raise ValueError(f"{voice.name} reads no IPA, by which the judge hama listens: give judge whisper or none.")
    return PhonemeJudge()
