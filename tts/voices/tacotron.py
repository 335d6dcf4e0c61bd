"""Tacotron 2 voices (torchaudio's class): attention decides what is said next, so they can skip, repeat and stall."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor, nn

from genmend.tts.text.arpabet import ArpabetReader
from genmend.tts.text.characters import CharacterReader
from genmend.tts.text.ipa import IpaReader
from genmend.tts.text.symbol_table import Reader, SymbolTable
from genmend.tts.text.tokens import Tokens, check_same_layout, group_by_length, pad_ids
from genmend.tts.voices.attention_decoder import check_window, decode
from genmend.tts.voices.mel import LogMel
from genmend.tts.voices.options import TacotronOptions, check_options
from genmend.tts.voices.replace_vectors import ReplaceVectors
from genmend.tts.voices.seeding import use_seed
from genmend.tts.voices.voice import Speech, Voice

__all__ = ["READS", "TacotronVoice"]

READS = ("ipa", "characters", "arpabet")
_REFERENCE = Path(__file__).parents[1] / "reference" / "tacotron.safetensors"


class TacotronVoice(Voice):
    """A Tacotron 2 (attention, no durations).

    Parameters
    ----------
    model
        ``torchaudio.models.Tacotron2``; it is put into evaluation mode.
    symbols
        What its input numbers stand for, from 0; of IPA ``^`` and ``$``, where among them, begin and end a sentence.
    mel
        Of its mel spectrograms; `LogMel.audio` is the vocoder where none is given.
    reads
        One of `READS`: what the symbols are. IPA and ARPAbet can be given as phonemes; text becomes IPA by espeak-ng.
    name, language
        For messages, and of espeak-ng's.
    mel_mean, mel_deviation
        The model's outputs times the deviation plus the mean are the log mel.
    vocoder
        Log mel (1, bins, frames) -> waveform (1, samples), or a tuple that begins with it, as in torchaudio's bundles;
        it draws with the sentence's seed.
    attention_window
        (back, ahead) in tokens: the attention may not leave that window about where it was a frame before. None, the
        default, leaves it free.

    Raises
    ------
    ValueError
        If symbols and model do not fit, or an option is not one of those accepted.
    """

    def __init__(
        self,
        model: Any,
        symbols: Sequence[str],
        mel: LogMel,
        *,
        reads: str = "ipa",
        name: str = "Tacotron 2",
        language: str = "en-us",
        mel_mean: float = 0.0,
        mel_deviation: float = 1.0,
        vocoder: Callable[[Tensor], Any] | None = None,
        attention_window: tuple[int, int] | None = None,
    ) -> None:
        self.model: Any = model.eval()
        n_known = self.model.embedding.num_embeddings
        if len(symbols) != n_known or len(set(symbols)) < n_known:
            raise ValueError(f"{len(symbols)} symbols are given for a model that reads {n_known}; give one for each.")
        if mel.n_mels != self.model.n_mels:
            raise ValueError(
                f"The mel has {mel.n_mels} bins and the model makes {self.model.n_mels}; give its own mel."
            )
        self.name, self.mel, self.vocoder = name, mel, vocoder
        self.sample_rate = mel.sample_rate
        self.mel_mean, self.mel_deviation = mel_mean, mel_deviation
        self.attention_window = check_window(attention_window)
        n_convolutions = len(self.model.encoder.convolutions)
        self.layers = ("embedding", *(f"convolutions.{i}" for i in range(n_convolutions)), "lstm")
        self._read = _reader(name, symbols, reads, language)
        self.language = language

    @classmethod
    def reference(cls, **options: Unpack[TacotronOptions]) -> TacotronVoice:
        """Load the small voice of this project; some pairs of phonemes were kept from its training.

        Parameters
        ----------
        **options
            Those of `TacotronVoice`.

        Raises
        ------
        FileNotFoundError
            If its weights were not installed.
        TypeError
            For another option.
        """
        given: TacotronOptions = {"name": "reference Tacotron 2", **options}
        return cls.from_files(_REFERENCE, **given)

    @classmethod
    def from_files(cls, weights: str | Path, **options: Unpack[TacotronOptions]) -> TacotronVoice:
        """Load a voice of ``experiments/voices/train_tacotron.py``: .safetensors, a .json and a .tsv beside it.

        The last, its training transcripts, may be missing.

        Parameters
        ----------
        weights
            The .safetensors file.
        **options
            Those of `TacotronVoice`, in place of what the files say.

        Raises
        ------
        FileNotFoundError
            If one of them is missing.
        ValueError
            If they are damaged, or do not fit each other.
        TypeError
            For another option.
        """
        check_options("TacotronVoice", options, TacotronOptions)
        from safetensors import SafetensorError
        from safetensors.torch import load_file
        from torchaudio.models import Tacotron2

        weights = Path(weights)
        for path in (weights, weights.with_suffix(".json")):
            if not path.is_file():
                raise FileNotFoundError(
                    f"There is no file {path}: a Tacotron 2 is its .safetensors and the .json beside it; "
                    "python -m experiments.voices.train_tacotron writes both."
                )
        try:
            described = json.loads(weights.with_suffix(".json").read_text(encoding="utf-8"))
            model = Tacotron2(**described["widths"])
            state = {name: t.float() if t.is_floating_point() else t for name, t in load_file(weights).items()}
            model.load_state_dict(state)
            mel, symbols = LogMel(**described["mel"]), described["symbols"]
            mean, deviation = float(described["mel_mean"]), float(described["mel_deviation"])
        except (SafetensorError, RuntimeError, ValueError, LookupError, TypeError) as error:
            raise ValueError(f"{weights} and its .json are no Tacotron 2 of ours ({error}): get both again.") from error
        given: TacotronOptions = {"name": weights.stem, "mel_mean": mean, "mel_deviation": deviation, **options}
        voice = cls(model, symbols, mel, **given)
        transcripts = weights.with_suffix(".tsv")
        voice.transcripts = transcripts if transcripts.is_file() else None
        return voice

    def with_attention_window(self, back: int = 1, ahead: int = 3) -> TacotronVoice:
        """Make the same voice, sharing its weights, with its attention held in a window (see `attention_window`)."""
        voice = copy.copy(self)
        voice.attention_window = check_window((back, ahead))
        return voice

    @torch.no_grad()
    def encode(self, batch: Sequence[Tokens], layers: Sequence[str] | None = None) -> list[dict[str, np.ndarray]]:
        """Encode as `Voice.encode` says; equal to encoding one by one up to rounding."""
        asked = self.check_layers(layers)
        vectors: list[dict[str, np.ndarray]] = [{} for _ in batch]
        for rows in group_by_length(batch):
            ids, lengths = map(torch.from_numpy, pad_ids([batch[i] for i in rows]))
            for layer, output in self._encode_layers(ids, lengths, {}).items():
                for j, i in enumerate(rows):
                    if layer in asked:
                        vectors[i][layer] = output[j, : lengths[j]].float().cpu().numpy().copy()
        return vectors

    @torch.no_grad()
    def speak(self, tokens: Tokens, vectors: Mapping[str, np.ndarray] | None = None, *, seed: int = 0) -> Speech:
        """Speak as `Voice.speak` says; `Speech.frames` count the frames in which a token has the greatest weight.

        The prenet drops units at random, which the model needs to speak at all: another seed is another reading.
        """
        given = vectors or {}
        wanted = {layer: check_same_layout(tokens, given[layer], layer) for layer in self.check_layers(tuple(given))}
        ids, lengths = torch.tensor([tokens.ids]), torch.tensor([len(tokens)])
        with use_seed(seed, self._device):
            memory = self._encode_layers(ids, lengths, wanted)["lstm"]
            decoded = decode(self.model.decoder, memory, self.attention_window)
            mel = decoded.mel + self.model.postnet(decoded.mel)
            mel = mel * self.mel_deviation + self.mel_mean
            audio = self._audio(mel)
        attention = decoded.attention.float().cpu().numpy()
        frames = np.bincount(attention.argmax(axis=1), minlength=len(tokens)).astype(np.int64)
        shown = mel[0].float().cpu().numpy()
        return Speech(audio, self.sample_rate, self.mel.hop, frames, attention, shown, decoded.finished)

    def _encode_layers(self, ids: Tensor, lengths: Tensor, wanted: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        """Outputs (b, n, d) of all layers, with the wanted vectors in place; what is padding is 0 before each layer."""
        encoder, n = self.model.encoder, int(lengths.max())
        inside = (torch.arange(n) < lengths[:, None])[..., None].to(self._device)

        def given(layer: str, output: Tensor) -> Tensor:
            if layer in wanted:
                output = ReplaceVectors(layer, range(n), torch.from_numpy(wanted[layer])).apply(output)
            return output * inside

        outputs = {"embedding": given("embedding", self.model.embedding(ids.to(self._device)))}
        x = outputs["embedding"]
        for i, convolution in enumerate(encoder.convolutions):
            x = given(f"convolutions.{i}", torch.relu(convolution(x.transpose(1, 2))).transpose(1, 2))
            outputs[f"convolutions.{i}"] = x
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        x, _ = nn.utils.rnn.pad_packed_sequence(encoder.lstm(packed)[0], batch_first=True)
        outputs["lstm"] = given("lstm", x)
        return outputs

    def _audio(self, mel: Tensor) -> np.ndarray:
        """(1, bins, frames) -> (samples,) in [-1, 1]."""
        if self.vocoder is not None:
            made = self.vocoder(mel.to(_place(self.vocoder, mel.device)))
            audio = (made[0] if isinstance(made, tuple) else made).reshape(-1)
        else:
            # Griffin-Lim needs more samples than half its window: a short mel is filled up with silence.
            missing = max(0, self.mel.n_fft // self.mel.hop + 2 - mel.shape[2])
            filled = nn.functional.pad(mel[0].float().cpu(), (0, missing), value=float(np.log(self.mel.floor)))
            audio = self.mel.audio(filled)[: mel.shape[2] * self.mel.hop]
        return audio.detach().float().cpu().clamp(-1, 1).numpy()

    @property
    def _device(self) -> torch.device:
        return self.model.embedding.weight.device


def _place(vocoder: Any, otherwise: torch.device) -> torch.device:
    """Where a vocoder takes its mel: the device of its weights; `otherwise` for one without."""
    weights = vocoder.parameters() if isinstance(vocoder, nn.Module) else ()
    return next((weight.device for weight in weights), otherwise)


def _reader(name: str, symbols: Sequence[str], reads: str, language: str) -> Reader:
    numbers = {symbol: (i,) for i, symbol in enumerate(symbols)}
    if reads == "ipa":
        begin, end = (symbol if symbol in numbers else None for symbol in "^$")
        return IpaReader(SymbolTable(name, numbers, begin, end), language)
    if reads == "characters":
        return CharacterReader(SymbolTable(name, numbers))
    if reads == "arpabet":
        return ArpabetReader(SymbolTable(name, numbers))
    raise ValueError(f"reads is {reads!r}; accepted are {', '.join(READS)}; choose one.")
