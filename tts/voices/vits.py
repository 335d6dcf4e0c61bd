"""VITS voices of transformers, among them the MMS voices of a thousand languages: durations, no attention."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor

from genmend.activations import record
from genmend.tts.text.characters import CharacterReader
from genmend.tts.text.ipa import IpaReader
from genmend.tts.text.symbol_table import Reader, SymbolTable
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.options import VitsOptions, check_options
from genmend.tts.voices.seeding import use_seed
from genmend.tts.voices.transformers_voice import TransformersVoice
from genmend.tts.voices.voice import Speech

__all__ = ["VitsVoice", "vits_reader"]


class VitsVoice(TransformersVoice):
    """A VITS voice.

    Parameters
    ----------
    model
        ``transformers.VitsModel``, also one that `genmend.tts.voices.piper_torch.to_torch` made of a Piper voice.
    read
        What turns sentences into its tokens: `vits_reader` of its tokenizer, or ``PiperVoice.tokenize_all``.
    name
        For messages.
    noise, duration_noise
        Standard deviations of the latent frames' and the durations' randomness, at least 0. 0, the default, lets two
        ways to say a sentence be compared; the model's own are in its ``config``.
    length
        Slowness, above 0: 1 is the voice's own.
    speaker
        Number of the speaker, of voices with several.

    Raises
    ------
    ValueError
        If an option is out of its range.
    """

    def __init__(
        self,
        model: Any,
        read: Reader,
        *,
        name: str = "VITS",
        noise: float = 0.0,
        duration_noise: float = 0.0,
        length: float = 1.0,
        speaker: int = 0,
    ) -> None:
        config = model.config
        layers = "text_encoder.encoder.layers"
        super().__init__(model, read, name, "text_encoder.embed_tokens", layers, config.num_hidden_layers)
        for option, value in (("noise", noise), ("duration_noise", duration_noise), ("length", length)):
            if not (math.isfinite(value) and value >= 0) or (option == "length" and value == 0):
                raise ValueError(f"{option} is {value}; give a number {'above' if option == 'length' else 'from'} 0.")
        if not 0 <= speaker < max(config.num_speakers, 1):
            raise ValueError(f"speaker is {speaker}, but {name} has {config.num_speakers}; count them from 0.")
        self.scale = math.sqrt(config.hidden_size)
        self.sample_rate = int(config.sampling_rate)
        self.hop = math.prod(config.upsample_rates)
        self.noise, self.duration_noise, self.length, self.speaker = noise, duration_noise, length, speaker

    @classmethod
    def from_pretrained(
        cls, name_or_path: str | Path, *, download: bool = False, **options: Unpack[VitsOptions]
    ) -> VitsVoice:
        """Load a folder as transformers saves it, or a model of the hub.

        Parameters
        ----------
        name_or_path
            The folder or the hub name.
        download
            Whether the hub may be asked; else the model must be in its cache.
        **options
            Those of `VitsVoice`.

        Raises
        ------
        TypeError
            For another option.
        """
        check_options("VitsVoice", options, VitsOptions)
        from transformers import VitsModel, VitsTokenizer

        model = VitsModel.from_pretrained(name_or_path, local_files_only=not download)
        tokenizer = VitsTokenizer.from_pretrained(name_or_path, local_files_only=not download)
        called = options.setdefault("name", Path(name_or_path).name)
        voice = cls(model, vits_reader(tokenizer, called), **options)
        voice.language = tokenizer.language
        return voice

    def _run_encoder(self, ids: Tensor, inside: Tensor) -> None:
        mask = inside[..., None].to(self.model.dtype)
        self.model.text_encoder(input_ids=ids, padding_mask=mask, attention_mask=inside)

    @torch.no_grad()
    def speak(self, tokens: Tokens, vectors: Mapping[str, np.ndarray] | None = None, *, seed: int = 0) -> Speech:
        """Speak as `Voice.speak` says; `Speech.frames` are the model's own durations, of tokens and blanks."""
        with self._noise_set(), self._replacing(tokens, vectors):
            audio, frames = self._run(tokens, seed, stop=False)
        return Speech(audio.reshape(-1).float().cpu().numpy(), self.sample_rate, self.hop, frames)

    @torch.no_grad()
    def durations(self, batch: Sequence[Tokens], *, seed: int = 0) -> list[np.ndarray]:
        """Say durations as `Voice.durations` says: the model runs no further than its duration predictor."""
        with self._noise_set():
            return [self._run(tokens, seed + number, stop=True)[1] for number, tokens in enumerate(batch)]

    def _run(self, tokens: Tokens, seed: int, *, stop: bool) -> tuple[Any, np.ndarray]:
        """The waveform, None with `stop`, and the frames of each token."""
        rate = self.model.speaking_rate / self.length
        speaker = self.speaker if self.model.config.num_speakers > 1 else None
        audio = None
        with use_seed(seed, self.model.device), record(self.model, ["duration_predictor"], stop=stop) as outputs:
            audio = self.model(self._ids(tokens), speaker_id=speaker, speaking_rate=rate).waveform
        # As the model itself rounds them.
        lasting = torch.ceil(torch.exp(outputs["duration_predictor"]) * (1.0 / rate))
        return audio, lasting.reshape(-1).cpu().numpy().astype(np.int64)

    @contextmanager
    def _noise_set(self) -> Iterator[None]:
        before = self.model.noise_scale, self.model.noise_scale_duration
        self.model.noise_scale, self.model.noise_scale_duration = self.noise, self.duration_noise
        try:
            yield
        finally:
            self.model.noise_scale, self.model.noise_scale_duration = before


def vits_reader(tokenizer: Any, name: str = "VITS") -> Reader:
    """Make the reader that lays sentences out as ``transformers.VitsTokenizer`` does, and also says what it dropped.

    Number 0 stands between all symbols where the tokenizer adds blanks; in MMS voices it is a letter's number as well.
    Voices that read phonemes have espeak-ng make them from text, or take them given, in IPA.
    """
    numbers = {symbol: (number,) for symbol, number in tokenizer.encoder.items()}
    table = SymbolTable(name, numbers, blank=(0,) if tokenizer.add_blank else (), blank_outside=True)
    if tokenizer.phonemize:
        return IpaReader(table)
    # Romanian is written with a comma below, and these voices were trained with a cedilla.
    replaced = {"ț": "ţ"} if tokenizer.language == "ron" else {}
    return CharacterReader(table, lower=tokenizer.normalize, replaced=replaced, romanize=tokenizer.is_uroman)
