"""Recognisers that say what they heard: words by Whisper and by pocketsphinx, phonemes by hama. All run offline.

Each is loaded once and then called with mono audio (samples,), full scale 1, and its sample rate; each hears the same
in the same audio whatever it heard before. Silence (no sample above -80 dB) and audio too short to hold a sound are
heard as "". They raise a ValueError for audio that is not 1-D, empty, longer than 10 minutes or not finite, and a
ModuleNotFoundError that says what to install.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from genmend.tts.measures.audio_input import RATE, is_silent, missing_package, resample_to
from genmend.tts.measures.kana_tokens import tokens_beyond_kana
from genmend.tts.text.languages import ENGLISH_CODE

__all__ = ["PhonemeJudge", "PocketsphinxJudge", "WhisperJudge"]

_WINDOW = 30 * RATE  # what Whisper sees at once
_MEL_FRAMES = 3000
_MEL_HOP = RATE // 100
_LONGEST_TEXT = 224  # tokens a window, as in Whisper's own decoding
_LEAST_PROBABILITY = 1e-20


class WhisperJudge:
    """Whisper (Radford et al., arXiv 2212.04356), by CTranslate2 on the CPU: the words, and how sure it is.

    Of English tiny.en hears; of other languages the multilingual base, which is told what language it hears.

    Beam search at temperature 0, without the fallback to sampling: the same audio is always heard alike. Its language
    model knows common words; what it says of names and nonce words is a guess.

    Parameters
    ----------
    language
        Code of what is spoken, as `genmend.tts.text.languages.language_code` gives it.
    kana
        Whether it writes Japanese in kana alone, which can be compared with sentences given so.
    compute_type
        Of CTranslate2; "int8" is not less accurate on synthetic speech and as fast as "float32" or faster.

    Raises
    ------
    MissingWeightsError
        If the weights, whisper-tiny or whisper-base, are not on this machine.
    ValueError
        If Whisper does not know the language.
    """

    def __init__(self, language: str = ENGLISH_CODE, compute_type: str = "int8", *, kana: bool = False) -> None:
        try:
            from faster_whisper import WhisperModel
            from faster_whisper.tokenizer import _LANGUAGE_CODES, Tokenizer
        except ModuleNotFoundError as error:
            raise missing_package("faster-whisper", "WhisperJudge needs") from error
        from genmend.storage.weights import find_weights

        multilingual = language != ENGLISH_CODE
        if multilingual and language not in _LANGUAGE_CODES:
            raise ValueError(f"Whisper knows no language {language!r}; it knows {', '.join(_LANGUAGE_CODES)}.")
        self.language = language
        folder = str(find_weights("whisper-base" if multilingual else "whisper-tiny").parent)
        self._whisper = WhisperModel(folder, device="cpu", compute_type=compute_type, local_files_only=True)
        self._tokenizer = Tokenizer(self._whisper.hf_tokenizer, multilingual, "transcribe", language)
        self._never = tokens_beyond_kana(self._tokenizer) if kana else []

    def __call__(self, audio: np.ndarray, sample_rate: int) -> str:
        """Say the text heard; of audio longer than 30 s, the texts of its windows of 30 s."""
        wave = resample_to(audio, sample_rate)
        windows = [wave[start : start + _WINDOW] for start in range(0, len(wave), _WINDOW)]
        heard = [self._transcribe(self._encode(window)) for window in windows if not is_silent(window)]
        return " ".join(text for text in heard if text)

    def listen(self, audio: np.ndarray, sample_rate: int, text: str) -> tuple[str, NDArray[np.float64]]:
        """Say what was heard, and how probable each word of `text` was: a graded measure, which the text is not.

        Both for little more than the time of one, since most of it goes into encoding the audio.

        Parameters
        ----------
        text
            What should have been said, with capitals and punctuation as Whisper would write them.

        Returns
        -------
        heard : str
        log_probabilities : ndarray
            (n_words,) natural logarithm of each word's probability given the audio and the true words before it, for
            the words of ``text.split()``; at most 0, higher is better. Their mean grades the sentence.

        Raises
        ------
        ValueError
            If the audio is silent or longer than 30 s, or there are no words, or too many for Whisper at once.
        """
        wave = resample_to(audio, sample_rate)
        if is_silent(wave) or len(wave) > _WINDOW:
            raise ValueError(
                f"The audio is {'silent' if is_silent(wave) else f'{len(wave) / RATE:.0f} s long'}, and words can be "
                f"graded in up to 30 s of sound; give one spoken sentence."
            )
        words = [self._tokenizer.encode(f" {word}") for word in text.split()]
        ids = [number for word in words for number in word]
        if not 0 < len(ids) <= _LONGEST_TEXT:
            raise ValueError(f"The text has {len(ids)} tokens, and 1 to {_LONGEST_TEXT} are accepted; give a sentence.")
        encoded = self._encode(wave)
        (found,) = self._whisper.model.align(
            encoded, self._tokenizer.sot_sequence, [ids], max(1, len(wave) // _MEL_HOP)
        )
        logs = np.log(np.maximum(found.text_token_probs, _LEAST_PROBABILITY))
        starts = np.cumsum([0, *map(len, words[:-1])])
        return self._transcribe(encoded), np.add.reduceat(logs, starts)

    def _encode(self, window: NDArray[np.float32]) -> Any:
        # Silence as Whisper was trained with it: in the wave (faster-whisper itself fills up the spectrogram).
        mel = self._whisper.feature_extractor(np.pad(window, (0, _WINDOW - len(window))))[:, :_MEL_FRAMES]
        return self._whisper.encode(mel)

    def _transcribe(self, encoded: Any) -> str:
        prompt = [*self._tokenizer.sot_sequence, self._tokenizer.no_timestamps]
        (found,) = self._whisper.model.generate(
            encoded,
            [prompt],
            beam_size=5,
            max_length=_LONGEST_TEXT + len(prompt),
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=[-1, *self._never],  # -1: those that Whisper never writes anyway
        )
        # Whisper's own rule for windows without speech.
        if found.no_speech_prob > 0.6 and found.scores[0] < -1:
            return ""
        return str(self._tokenizer.decode(found.sequences_ids[0])).strip()


class PocketsphinxJudge:
    """CMU pocketsphinx with the US English model of its package (BSD licence): the words.

    A coarse second opinion of an old kind (hidden Markov models, a trigram language model): it hears the common words
    that its language model expects, and over a third of the words of plain sentences wrong
    (docs/results/voices-judge_check.md).
    """

    def __init__(self) -> None:
        try:
            from pocketsphinx import Decoder
        except ModuleNotFoundError as error:
            raise missing_package("pocketsphinx", "PocketsphinxJudge needs") from error
        self._decoder = Decoder(loglevel="FATAL")

    def __call__(self, audio: np.ndarray, sample_rate: int) -> str:
        """Say the words heard, in lower case."""
        wave = resample_to(audio, sample_rate)
        if is_silent(wave):
            return ""
        samples = (np.clip(wave, -1, 1) * 32767).astype("<i2").tobytes()
        # It goes on tracking the noise; begun anew, so that no sentence depends on the one before.
        self._decoder.reinit_feat()
        self._decoder.start_utt()
        self._decoder.process_raw(samples, full_utt=True)
        self._decoder.end_utt()
        found = self._decoder.hyp()
        return found.hypstr if found is not None else ""


class PhonemeJudge:
    """The phoneme recogniser of hama (Apache-2.0, weights in the package; Linux and macOS): the sounds, without words.

    No language model stands between the audio and what it says, so names and nonce words are judged like others. It is
    small, and its own errors are many: compare it with itself.
    """

    def __init__(self) -> None:
        try:
            from hama import ASRModel
        except ModuleNotFoundError as error:
            raise missing_package("hama", "PhonemeJudge needs") from error
        self._recogniser = ASRModel()

    def __call__(self, audio: np.ndarray, sample_rate: int) -> str:
        """Say the sounds heard, in IPA, with spaces where words seem to begin; for `phoneme_errors`."""
        wave = resample_to(audio, sample_rate)
        if is_silent(wave):
            return ""
        found = self._recogniser.transcribe_waveform(wave, RATE)
        return str(found.word_phoneme_text).replace(" ", "").replace("|", " ")
