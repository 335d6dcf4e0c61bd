"""What every voice can do, whatever library its model comes from: read text, show vectors, speak from a layer on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from genmend.tts.text.ipa import IpaReader
from genmend.tts.text.languages import ENGLISH_CODE, language_code
from genmend.tts.text.pinyin import PinyinReader
from genmend.tts.text.sentences import split_long, split_sentences
from genmend.tts.text.symbol_table import Reader
from genmend.tts.text.tokens import Tokens

__all__ = ["MAX_CHARACTERS", "Speech", "Voice", "check_text"]

MAX_CHARACTERS = 2_000  # of one sentence: attention over more takes gigabytes, and no voice was trained on it
_PART = 400  # characters, half a minute of speech: parts of a sentence that is too long


@dataclass(frozen=True)
class Speech:
    """One spoken sentence.

    Attributes
    ----------
    audio : ndarray
        (samples,) float32 in [-1, 1].
    sample_rate : int
        In Hz.
    hop : int
        Samples of one frame of `frames` and `attention`.
    frames : ndarray or None
        (n,) how many frames each token lasts, where the model decides that, or else as its attention was read.
    attention : ndarray or None
        (frames, n) weights, each row adds up to 1, of models that attend; None for models with durations.
    mel : ndarray or None
        (bins, frames) natural logarithm of the mel spectrogram, of models that make one.
    finished : bool
        False where a model that decides itself when to stop came to its limit of frames.
    """

    audio: np.ndarray
    sample_rate: int
    hop: int
    frames: np.ndarray | None = None
    attention: np.ndarray | None = None
    mel: np.ndarray | None = None
    finished: bool = True

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.audio) / self.sample_rate

    @property
    def spans(self) -> np.ndarray | None:
        """(n, 2) begin and end of each token, in seconds, or None where the model says nothing of it."""
        if self.frames is None:
            return None
        ends = np.cumsum(self.frames) * (self.hop / self.sample_rate)
        return np.stack([np.concatenate([[0.0], ends[:-1]]), ends], axis=1)


class Voice(ABC):
    """A text-to-speech model, seen as tokens, layers of its text encoder, and the rest.

    Attributes
    ----------
    name : str
    sample_rate : int
        Of the audio, in Hz.
    layers : tuple of str
        Layers of the text encoder, shallow to deep; the first is the embedding.
    transcripts : Path or None
        What the voice was trained on, as `read_sentences` takes it, where that is known: its best reference text.
    language : str or None
        Code of the language it speaks, e.g. "en-us", "de" or "deu"; None where its files do not say.
    variant : str
        Which of several voices in the same weights it is, where its encoder or its tokens depend on that.
    """

    name: str
    sample_rate: int
    layers: tuple[str, ...]
    transcripts: Path | None = None
    language: str | None = None
    variant: str = ""

    _read: Reader  # texts and phonemes to tokens; set by every voice

    def tokenize(self, text: str = "", *, phonemes: str | None = None) -> Tokens:
        """Lay one sentence out as tokens.

        Parameters
        ----------
        text
            The sentence. Voices that read phonemes have espeak-ng turn it into them.
        phonemes
            In place of what espeak-ng would make of the text.

        Raises
        ------
        ValueError
            If nothing is given, the text is longer than `MAX_CHARACTERS`, or no symbol of it is known to the voice.
        FileNotFoundError
            If espeak-ng is needed and not installed.
        """
        check_text(text, phonemes)
        return self.tokenize_all([text], None if phonemes is None else [phonemes])[0]

    def tokenize_sentences(self, text: str, *, phonemes: str | None = None) -> list[Tokens]:
        """Lay a text out sentence by sentence; phonemes are one sentence, and one that is too long is split at clauses.

        Raises
        ------
        ValueError, FileNotFoundError
            As `tokenize`, for any of the sentences.
        """
        if phonemes is not None:
            return [self.tokenize(text, phonemes=phonemes)]
        sentences = split_sentences(text, language_code(self.language)) or [text]
        parts = [split_long(s, _PART) if len(s) > MAX_CHARACTERS else [s] for s in sentences]
        return [self.tokenize(part) for of_one in parts for part in of_one]

    def use_lexicon(self, lexicon: Mapping[str, str]) -> None:
        """Read these words (in lower case) by their phonemes from now on, in place of what espeak-ng makes of them.

        Raises
        ------
        ValueError
            If the voice does not read by espeak-ng.
        """
        if not isinstance(self._read, IpaReader) or self._read.as_written:
            raise ValueError(
                f"{self.name} does not read phonemes of espeak-ng, so a lexicon would have no effect: leave it out, "
                "and spell the words as they sound."
            )
        self._read = replace(self._read, lexicon=dict(lexicon))

    @property
    def texts_are_phonemes(self) -> bool:
        """Whether it reads texts that are phonemes themselves, in which nobody finds the words that he hears."""
        reader = getattr(self, "_read", None)
        return isinstance(reader, PinyinReader) or (isinstance(reader, IpaReader) and reader.as_written)

    @property
    def speaks_english(self) -> bool:
        """Whether it does, or does not say what it speaks: then it gets the benefit of the doubt."""
        return language_code(self.language) == ENGLISH_CODE

    def tokenize_all(self, texts: Sequence[str], phonemes: Sequence[str] | None = None) -> list[Tokens]:
        """Lay several sentences out at once, with one run of espeak-ng where it is needed."""
        return self._read(texts, phonemes)

    @abstractmethod
    def encode(self, batch: Sequence[Tokens], layers: Sequence[str] | None = None) -> list[dict[str, np.ndarray]]:
        """Encode sentences: layer -> (n, d) float32 for each; all layers by default. Equal to encoding one by one.

        Raises
        ------
        LookupError
            For a layer that the voice does not have; the message names the nearest ones.
        """

    @abstractmethod
    def speak(self, tokens: Tokens, vectors: Mapping[str, np.ndarray] | None = None, *, seed: int = 0) -> Speech:
        """Speak a sentence.

        Parameters
        ----------
        tokens
            As `tokenize` gives them.
        vectors
            layer -> (n, d), in place of what that layer gives: what comes after it is computed anew from them.
        seed
            Of all randomness; the same seed speaks the same samples.
        """

    @property
    def is_random(self) -> bool:
        """Whether another seed may be another reading; not of a voice with noise that is set to 0."""
        noises = [getattr(self, name) for name in ("noise", "duration_noise") if hasattr(self, name)]
        return any(noises) if noises else True

    def durations(self, batch: Sequence[Tokens], *, seed: int = 0) -> list[np.ndarray] | None:
        """Say how many frames each token of some sentences would last, (n,) for each, without speaking them.

        None for a voice that does not decide durations beforehand, or cannot tell them alone.
        """
        return None

    def check_layers(self, layers: Sequence[str] | None) -> tuple[str, ...]:
        """Check the layers asked for, all by default; LookupError for one that is not there."""
        asked = self.layers if layers is None else tuple(layers)
        for layer in asked:
            if layer not in self.layers:
                near = ", ".join(map(repr, get_close_matches(layer, self.layers, n=3, cutoff=0.0)))
                raise LookupError(f"{self.name} has no layer {layer!r}; the nearest are {near}; choose one of them.")
        return asked


def check_text(text: str, phonemes: str | None) -> None:
    """Refuse an empty sentence and one that is far too long."""
    given = text if phonemes is None else phonemes
    if not isinstance(given, str):
        raise TypeError(f"the sentence is {type(given).__name__}, but text is needed; give a string.")
    if not given.strip():
        raise ValueError("The sentence is empty: give at least one word.")
    if len(given) > MAX_CHARACTERS:
        raise ValueError(
            f"The sentence has {len(given):,} characters, and up to {MAX_CHARACTERS:,} are accepted; "
            f"split it, as Voice.tokenize_sentences does at the ends of sentences, and speak the parts."
        )
