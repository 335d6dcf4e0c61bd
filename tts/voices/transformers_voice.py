"""What the voices of transformers share: layers that are outputs of modules, and HiFi-GAN vocoders.

A layer is recorded to see it and edited to replace it.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genmend.activations import edited, record
from genmend.tts.text.symbol_table import Reader
from genmend.tts.text.tokens import Tokens, check_same_layout, group_by_length, pad_ids
from genmend.tts.voices.replace_vectors import ReplaceVectors
from genmend.tts.voices.seeding import use_seed
from genmend.tts.voices.voice import Voice

__all__ = ["TransformersVoice", "check_vocoder", "run_vocoder"]


class TransformersVoice(Voice):
    """Base of the voices whose models are transformers'.

    Attributes
    ----------
    model
        The model, in evaluation mode. Nothing of it is changed: hooks are there while it runs, and no longer.
    modules : dict
        Layer -> dotted name of the module whose output it is, which edits such as `ReplaceVectors` take.
    scale : float
        What the model multiplies the embedding with, and what "embedding" is therefore multiplied with here.
    """

    scale = 1.0
    _pads = True  # whether its encoder masks what is padding

    def __init__(self, model: Any, read: Reader, name: str, embedding: str, encoder_layers: str, depth: int) -> None:
        self.model: Any = model.eval()
        self.name = name
        self.modules = {"embedding": embedding} | {f"encoder.{i + 1}": f"{encoder_layers}.{i}" for i in range(depth)}
        self.layers = tuple(self.modules)
        self._read = read

    @torch.no_grad()
    def encode(self, batch: Sequence[Tokens], layers: Sequence[str] | None = None) -> list[dict[str, np.ndarray]]:
        """Encode as `Voice.encode` says; equal to encoding one by one up to rounding."""
        asked = self.check_layers(layers)
        vectors: list[dict[str, np.ndarray]] = [{} for _ in batch]
        for rows in group_by_length(batch, padded=self._pads):
            ids, lengths = map(torch.from_numpy, pad_ids([batch[i] for i in rows]))
            inside = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
            with (
                use_seed(0, self.model.device),
                record(self.model, [self.modules[layer] for layer in asked]) as outputs,
            ):
                self._run_encoder(ids.to(self.model.device), inside.to(self.model.device))
            for layer in asked:
                output = outputs[self.modules[layer]].float().cpu().numpy() * self._scale_of(layer)
                for j, i in enumerate(rows):
                    vectors[i][layer] = output[j, : lengths[j]].copy()
        return vectors

    @abstractmethod
    def _run_encoder(self, ids: Tensor, inside: Tensor) -> None:
        """Run the text encoder on (b, n) ids, `inside` 1 where they are no padding."""

    def _replacing(self, tokens: Tokens, vectors: Mapping[str, np.ndarray] | None) -> AbstractContextManager[Any]:
        """Open a block in which the layers give these vectors; each layer sees what the edits before it made."""
        edits = []
        for layer in self.check_layers(tuple(vectors or {})):
            wanted = check_same_layout(tokens, (vectors or {})[layer], layer) / self._scale_of(layer)
            edits.append(ReplaceVectors(self.modules[layer], range(len(tokens)), torch.from_numpy(wanted)))
        return edited(self.model, *edits)

    def _ids(self, tokens: Tokens) -> Tensor:
        return torch.tensor([tokens.ids], device=self.model.device)

    def _scale_of(self, layer: str) -> np.float32:
        return np.float32(self.scale if layer == "embedding" else 1)


def check_vocoder(vocoder: Any, n_mels: int, voice: str) -> tuple[int, int]:
    """Check that a vocoder fits a voice, and give its sample rate in Hz and its samples a frame.

    Raises
    ------
    ValueError
        If there is none, or one for mels of another width.
    """
    if vocoder is None:
        raise ValueError(
            f"{voice} makes mel spectrograms in the unit its vocoder was trained on, and no vocoder is given: "
            "give vocoder=, the HiFi-GAN that was published with it."
        )
    config = vocoder.eval().config
    if config.model_in_dim != n_mels:
        raise ValueError(f"The vocoder takes {config.model_in_dim} mel bins and {voice} makes {n_mels}; give its own.")
    return int(config.sampling_rate), math.prod(config.upsample_rates)


def run_vocoder(vocoder: Any, spectrogram: Tensor) -> np.ndarray:
    """Turn a mel spectrogram (frames, bins) into a waveform (samples,) float32, wherever the vocoder lies."""
    return vocoder(spectrogram.to(vocoder.device, vocoder.dtype)).reshape(-1).float().cpu().numpy()
