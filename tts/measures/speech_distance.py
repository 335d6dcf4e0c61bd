"""Fréchet distance between two sets of recordings, named after the embedding that it is taken in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["SpeechDistance", "frechet_speech_distance"]


@dataclass(frozen=True)
class SpeechDistance:
    """How far two sets of recordings lie apart.

    Attributes
    ----------
    name : str
        E.g. ``frechet_whisper-tiny``, or ``frechet_whisper-tiny_pca64``.
    distance : float
        In squared units of the embedding; 0 if equal, lower is better. Biased upwards for few recordings: compare only
        sets of the same sizes, in the same embedding.
    n_reference, n_generated, n_features : int
        Sizes.
    """

    name: str
    distance: float
    n_reference: int
    n_generated: int
    n_features: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def frechet_speech_distance(
    reference: Sequence[np.ndarray],
    generated: Sequence[np.ndarray],
    sample_rate: int,
    *,
    embedding: str = "whisper-tiny",
    components: int | None = None,
) -> SpeechDistance:
    """The Fréchet distance of speech, as the Fréchet wav2vec distance but in the embedding that is named.

    Parameters
    ----------
    reference, generated
        Mono recordings (samples,), full scale 1; at least 2 of each.
    sample_rate
        Of all of them, in Hertz.
    embedding
        As `genmend.manifold.features.load_extractor` takes it: "whisper-tiny" (384 features), "speaker", or a wav2vec
        2.0 of
        yours, ``torchaudio:WAV2VEC2_BASE@WEIGHTS`` or ``transformers:FOLDER``.
    components
        Compare in so many principal components of the reference: below some 2,000 recordings the covariance of all
        features is hardly known, and 64 are advised. None takes all features.

    Raises
    ------
    ValueError
        For fewer than 2 recordings in a set, audio that cannot be used, or more components than recordings or features.
    MissingWeightsError, ModuleNotFoundError
        If the embedding's weights, or a package, are not on this machine; the message says how to get them.

    Notes
    -----
    Our reading: which layer and pooling the published Fréchet wav2vec distance takes is not known to us. Embeddings
    differ in what they react to (Whisper's was trained to ignore noise), so the name of a figure says which it was.
    """
    from genmend.manifold.features import load_extractor
    from genmend.manifold.features.audio_extractor import extract_audio
    from genmend.manifold.metrics.frechet import frechet_distance

    extractor = load_extractor(embedding)
    x, y = (extract_audio(extractor, waves, sample_rate) for waves in (reference, generated))
    kind, colon, model = embedding.split("@")[0].rpartition(":")
    name = f"frechet_{kind}{colon}{Path(model).name}"  # of a folder its name alone
    if components is not None:
        x, y = _leading(x, y, components)
        name += f"_pca{components}"
    return SpeechDistance(name, frechet_distance(x, y), len(x), len(y), x.shape[1])


def _leading(x: np.ndarray, y: np.ndarray, components: int) -> tuple[np.ndarray, np.ndarray]:
    if not 0 < components <= min(x.shape):
        raise ValueError(
            f"components is {components}, and 1 to {min(x.shape)} are accepted with {len(x)} reference recordings of "
            f"{x.shape[1]} features; give fewer, or more recordings."
        )
    center = x.mean(axis=0, dtype=np.float64)
    axes = np.linalg.svd(x - center, full_matrices=False)[2][:components]
    return (x - center) @ axes.T, (y - center) @ axes.T
