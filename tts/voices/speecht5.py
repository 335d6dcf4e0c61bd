"""SpeechT5 voices of transformers: characters in, and attention of many heads, of which one follows the text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor

from genmend.tts.text.characters import CharacterReader
from genmend.tts.text.symbol_table import Reader, SymbolTable
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.options import SpeechT5Options, check_options
from genmend.tts.voices.seeding import use_seed
from genmend.tts.voices.transformers_voice import TransformersVoice, check_vocoder, run_vocoder
from genmend.tts.voices.voice import Speech

__all__ = ["SpeechT5Voice", "diagonal_head", "speecht5_reader"]

_SPACE, _END = "▁", "</s>"


class SpeechT5Voice(TransformersVoice):
    """A SpeechT5 voice (attention, no durations).

    Parameters
    ----------
    model
        ``transformers.SpeechT5ForTextToSpeech``.
    read
        What turns sentences into its tokens: `speecht5_reader` of its table of symbols.
    vocoder
        ``SpeechT5HifiGan``.
    speaker
        (d,) embedding of the speaker; the published model takes 512 numbers (x-vectors of CMU ARCTIC).
    name
        For messages.
    head
        (layer, head) of the cross-attention that `Speech.attention` shows; None, the default: `diagonal_head`, found
        anew for each sentence.

    Raises
    ------
    ValueError
        If vocoder, speaker or head do not fit the model.
    """

    def __init__(
        self,
        model: Any,
        read: Reader,
        vocoder: Any,
        speaker: np.ndarray | Tensor | None,
        *,
        name: str = "SpeechT5",
        head: tuple[int, int] | None = None,
    ) -> None:
        config, encoder = model.config, "speecht5.encoder"
        layers = f"{encoder}.wrapped_encoder.layers"
        super().__init__(model, read, name, f"{encoder}.prenet.embed_tokens", layers, config.encoder_layers)
        self.sample_rate, self.hop = check_vocoder(vocoder, config.num_mel_bins, name)
        width = config.speaker_embedding_dim
        given = torch.empty(0) if speaker is None else torch.as_tensor(speaker, dtype=torch.float32).reshape(-1)
        if len(given) != width or not given.isfinite().all():
            raise ValueError(
                f"{name} speaks as a given speaker; give speaker=, {width} finite numbers, not {len(given)}."
            )
        if head is not None and not (
            0 <= head[0] < config.decoder_layers and 0 <= head[1] < config.decoder_attention_heads
        ):
            raise ValueError(
                f"head is {head}, but {name} has {config.decoder_layers} layers of "
                f"{config.decoder_attention_heads} heads; count both from 0."
            )
        self.vocoder, self.speaker, self.head = vocoder, given[None], head

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        vocoder: str | Path = "microsoft/speecht5_hifigan",
        speaker: np.ndarray | Tensor | None = None,
        download: bool = False,
        **options: Unpack[SpeechT5Options],
    ) -> SpeechT5Voice:
        """Load a folder as transformers saves it, or a model of the hub.

        Parameters
        ----------
        name_or_path, vocoder
            Folder or hub name of the model, and of its vocoder.
        speaker
            As `SpeechT5Voice` takes it.
        download
            Whether the hub may be asked; else both must be in its cache.
        **options
            The others of `SpeechT5Voice`.

        Raises
        ------
        TypeError
            For another option.
        ModuleNotFoundError
            If sentencepiece, which reads the table of symbols, is not installed.
        """
        check_options("SpeechT5Voice", options, SpeechT5Options, "vocoder", "speaker")
        from transformers import SpeechT5ForTextToSpeech, SpeechT5HifiGan, SpeechT5Tokenizer

        found: Any = {"local_files_only": not download}
        called = options.setdefault("name", Path(name_or_path).name)
        try:
            table = SpeechT5Tokenizer.from_pretrained(name_or_path, **found).get_vocab()
        except ImportError as error:  # transformers raises it where a package of its own is missing
            raise ModuleNotFoundError(
                f"The table of symbols of {name_or_path} is read by sentencepiece, which is not installed: "
                "install it (pip install sentencepiece)."
            ) from error
        model = SpeechT5ForTextToSpeech.from_pretrained(name_or_path, **found)
        hifigan = SpeechT5HifiGan.from_pretrained(vocoder, **found)
        return cls(model, speecht5_reader(table, called), hifigan, speaker, **options)

    def tokenize_all(self, texts: Sequence[str], phonemes: Sequence[str] | None = None) -> list[Tokens]:
        """Lay several sentences out at once; ValueError for one with more tokens than the model has positions."""
        batch = super().tokenize_all(texts, phonemes)
        longest, limit = max(map(len, batch), default=0), self.model.config.max_text_positions
        if longest > limit:
            raise ValueError(f"The sentence has {longest} tokens, and {self.name} reads up to {limit}; split it.")
        return batch

    def _run_encoder(self, ids: Tensor, inside: Tensor) -> None:
        self.model.speecht5.encoder(input_values=ids, attention_mask=inside)

    @torch.no_grad()
    def speak(self, tokens: Tokens, vectors: Mapping[str, np.ndarray] | None = None, *, seed: int = 0) -> Speech:
        """Speak as `Voice.speak` says; `Speech.frames` count the frames in which a token has the greatest weight.

        The decoder's prenet drops units at random: another seed is another reading.
        """
        config, ids = self.model.config, self._ids(tokens)
        limit = 20.0  # frames a token, the model's own default
        with use_seed(seed, self.model.device), self._replacing(tokens, vectors):
            spectrogram, heads = self.model.generate_speech(
                ids,
                self.speaker.to(self.model.device, self.model.dtype),
                attention_mask=torch.ones_like(ids),
                maxlenratio=limit,
                output_cross_attentions=True,
            )
            audio = run_vocoder(self.vocoder, spectrogram)
        weights = heads.float().cpu().numpy()
        layer, head = self.head or diagonal_head(weights)
        finished = weights.shape[2] < int(len(tokens) * limit / config.reduction_factor)
        # A step of the decoder makes several frames.
        attention = np.repeat(weights[layer, head], config.reduction_factor, axis=0)
        frames = np.bincount(attention.argmax(axis=1), minlength=len(tokens)).astype(np.int64)
        mel = spectrogram.T.float().cpu().numpy() * math.log(10)  # its own is to base 10
        return Speech(audio, self.sample_rate, self.hop, frames, attention, mel, finished)


def diagonal_head(attention: np.ndarray) -> tuple[int, int]:
    """Find the head that follows the text: (layer, head).

    Of the heads whose place in the text grows with time, the one with the greatest focus rate, which is the mean over
    time of the greatest weight. Focus alone does not tell: a head that rests on the last token has as much of it.
    Source: Ren et al., FastSpeech, 2019, section 3.3.

    Parameters
    ----------
    attention
        (layers, heads, frames, n) weights.
    """
    focus = attention.max(axis=3).mean(axis=2)
    places = attention.argmax(axis=3).astype(float)
    time = np.arange(attention.shape[2]) - (attention.shape[2] - 1) / 2
    spread = np.sqrt((time**2).sum() * ((places - places.mean(axis=2, keepdims=True)) ** 2).sum(axis=2))
    grows = (places * time).sum(axis=2) / np.where(spread > 0, spread, np.inf)
    reading = np.where(grows > 0.5, focus, 0)
    layer, head = np.unravel_index((reading if reading.any() else focus).argmax(), focus.shape)
    return int(layer), int(head)


def speecht5_reader(numbers: Mapping[str, int], name: str = "SpeechT5") -> CharacterReader:
    """Make the reader that lays sentences out as ``transformers.SpeechT5Tokenizer`` does; it lists what it drops.

    Where that has its unknown symbol, a digit for instance, nothing is said here, and the symbol is listed as dropped.

    Parameters
    ----------
    numbers
        Symbol -> its number, as the tokenizer's ``get_vocab()``.
    name
        For messages.
    """
    table = SymbolTable(name, {symbol: (number,) for symbol, number in numbers.items()}, begin=_SPACE, end=_END)
    return CharacterReader(table, replaced={" ": _SPACE})
