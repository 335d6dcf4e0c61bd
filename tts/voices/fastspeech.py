"""FastSpeech 2 (Conformer) voices of transformers: explicit durations, pitch and energy, each with a predictor."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor

from genmend.tts.text.arpabet import ArpabetReader
from genmend.tts.text.symbol_table import Reader, SymbolTable
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.options import FastSpeechOptions, check_options
from genmend.tts.voices.seeding import use_seed
from genmend.tts.voices.transformers_voice import TransformersVoice, check_vocoder, run_vocoder
from genmend.tts.voices.voice import Speech

__all__ = ["FastSpeechVoice", "fastspeech_reader"]


class FastSpeechVoice(TransformersVoice):
    """A FastSpeech 2 voice.

    Parameters
    ----------
    model
        ``transformers.FastSpeech2ConformerModel``, or ``FastSpeech2ConformerWithHifiGan``, which brings its vocoder.
    read
        What turns sentences into its tokens: `fastspeech_reader` of its table of symbols.
    vocoder
        ``FastSpeech2ConformerHifiGan``.
    name
        For messages.
    speaker_ids, lang_ids
        (1, 1), for models with several speakers or languages.
    speaker_embedding
        (1, d), for models that speak as a given speaker.

    Raises
    ------
    ValueError
        If there is no vocoder, or one for other mels.
    """

    # Its convolutions run over what is padding, so only sentences of one length are encoded together.
    _pads = False

    def __init__(
        self,
        model: Any,
        read: Reader,
        vocoder: Any = None,
        *,
        name: str = "FastSpeech 2",
        speaker_ids: Tensor | None = None,
        lang_ids: Tensor | None = None,
        speaker_embedding: Tensor | None = None,
    ) -> None:
        if hasattr(model, "vocoder"):
            model, vocoder = model.model, vocoder or model.vocoder
        config = model.config
        super().__init__(
            model, read, name, "encoder.embed", "encoder.conformer_layers", config.encoder_config["layers"]
        )
        self.sample_rate, hop = check_vocoder(vocoder, config.num_mel_bins, name)
        self.hop = hop * config.reduction_factor
        self.scale = math.sqrt(config.hidden_size)
        self.vocoder = vocoder
        given = {"speaker_ids": speaker_ids, "lang_ids": lang_ids, "speaker_embedding": speaker_embedding}
        self.conditions = {name: tensor for name, tensor in given.items() if tensor is not None}

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        vocoder: str | Path | None = None,
        download: bool = False,
        **options: Unpack[FastSpeechOptions],
    ) -> FastSpeechVoice:
        """Load a folder as transformers saves it, or a model of the hub.

        Parameters
        ----------
        name_or_path
            The folder or the hub name.
        vocoder
            The vocoder's; needed where the model does not bring its own.
        download
            Whether the hub may be asked; else both must be in its cache.
        **options
            Those of `FastSpeechVoice`.

        Raises
        ------
        TypeError
            For another option.
        """
        check_options("FastSpeechVoice", options, FastSpeechOptions, "vocoder")
        import transformers
        from transformers.utils import cached_file

        found: Any = {"local_files_only": not download}
        whole = transformers.AutoConfig.from_pretrained(name_or_path, **found).model_type.endswith("with_hifigan")
        kind = "FastSpeech2ConformerWithHifiGan" if whole else "FastSpeech2ConformerModel"
        model = getattr(transformers, kind).from_pretrained(name_or_path, **found)
        hifigan = vocoder and transformers.FastSpeech2ConformerHifiGan.from_pretrained(vocoder, **found)
        table = json.loads(Path(str(cached_file(name_or_path, "vocab.json", **found))).read_text(encoding="utf-8"))
        called = options.setdefault("name", Path(name_or_path).name)
        return cls(model, fastspeech_reader(table, called), hifigan, **options)

    def _run_encoder(self, ids: Tensor, inside: Tensor) -> None:
        self.model.encoder(ids)

    @property
    def is_random(self) -> bool:
        """Nothing of it is random."""
        return False

    @torch.no_grad()
    def speak(self, tokens: Tokens, vectors: Mapping[str, np.ndarray] | None = None, *, seed: int = 0) -> Speech:
        """Speak as `Voice.speak` says; nothing of it is random. `Speech.frames` are the model's own durations."""
        with self._replacing(tokens, vectors):
            spectrogram, frames = self._run(tokens, seed)
        audio = run_vocoder(self.vocoder, spectrogram)
        return Speech(audio, self.sample_rate, self.hop, frames)

    @torch.no_grad()
    def durations(self, batch: Sequence[Tokens], *, seed: int = 0) -> list[np.ndarray]:
        """Say durations as `Voice.durations` says, without the vocoder."""
        return [self._run(tokens, seed)[1] for tokens in batch]

    def _run(self, tokens: Tokens, seed: int) -> tuple[Tensor, np.ndarray]:
        """The spectrogram (frames, bins), and the frames of each token."""
        with use_seed(seed, self.model.device):
            conditions = {name: tensor.to(self.model.device) for name, tensor in self.conditions.items()}
            spoken = self.model(self._ids(tokens), return_dict=True, **conditions)
        frames = spoken.duration_outputs[0]
        if self.model.config.speaking_speed != 1.0:
            frames = torch.round(frames.float() * self.model.config.speaking_speed)
        return spoken.spectrogram[0], frames.cpu().numpy().astype(np.int64)


def fastspeech_reader(numbers: Mapping[str, int], name: str = "FastSpeech 2", end: str = "<sos/eos>") -> ArpabetReader:
    """Make the reader that lays sentences out as ``transformers.FastSpeech2ConformerTokenizer`` does.

    Parameters
    ----------
    numbers
        Symbol -> its number, as in the tokenizer's ``vocab.json``.
    name
        For messages.
    end
        Symbol after every sentence.
    """
    table = SymbolTable(name, {symbol: (number,) for symbol, number in numbers.items()}, end=end)
    missing = "install g2p-en (pip install g2p-en), or "
    return ArpabetReader(table, _english_sounds(), missing, space=" " in numbers)


def _english_sounds() -> Callable[[str], list[str]] | None:
    if find_spec("g2p_en") is None:
        return None

    def sounds(text: str) -> list[str]:
        from g2p_en import G2p

        text = re.sub(r"[()\[\]<>\"]+", "", re.sub(r"[;:]", ",", text).replace("-", " ").replace("&", "and"))
        return G2p()(" ".join(text.split()).upper())

    return sounds
