"""What every wav2vec2-like extractor shares: standardise the wave, run the network, average over time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from manifold.features.audio_extractor import AudioExtractor
from manifold.features.pipeline import digest_of_network, name_of_class, versions_of

__all__ = ["pooled_audio"]


def pooled_audio(
    name: str,
    network: nn.Module,
    hidden_states: Callable[[Tensor], Tensor],
    *,
    sample_rate: int,
    variance_floor: float | None,
    library: str,
) -> AudioExtractor:
    """An extractor whose features are the mean over time of ``hidden_states(waves [1, samples])`` ``[1, frames, d]``.

    Where the weights want each wave with mean 0 and variance 1, `variance_floor` is what is added to the variance.
    """

    @torch.no_grad()
    def embed(wave: NDArray[np.float32]) -> NDArray[np.float32]:
        device = next(network.parameters()).device
        waves = torch.from_numpy(wave)[None].to(device)
        if variance_floor is not None:
            waves = (waves - waves.mean()) / (waves.var(correction=0) + variance_floor).sqrt()
        try:
            states = hidden_states(waves)
        except RuntimeError as error:
            raise ValueError(f"a wave of {wave.size} samples is too short for {name} ({error})") from error
        pooled: NDArray[np.float32] = states[0].mean(dim=0).float().cpu().numpy()
        return pooled

    record = {
        "network": name_of_class(network),
        "weights": digest_of_network(network),
        "layer": "last hidden state",
        "pooling": "mean over all frames",
        "normalisation": "none" if variance_floor is None else "mean 0, variance 1 a recording",
        "dtype": "float32",
        "versions": versions_of("torch", "scipy", library),
    }
    return AudioExtractor(name, sample_rate, embed, record, network.to)
