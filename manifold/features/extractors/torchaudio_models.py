"""torchaudio's wav2vec2 bundles (WAV2VEC2_BASE, HUBERT_BASE, WAVLM_BASE, ...): the mean last hidden state.

Untested on real weights, which no package carries: tests use small networks of the same layout, with random ones.
"""

from __future__ import annotations

from typing import Any
from urllib.error import URLError

from torch import nn

from genmend.manifold.features.audio_extractor import AudioExtractor, pooled_audio
from genmend.manifold.features.extractors.local_weights import read_weights

__all__ = ["load"]


def load(name: str, path: str = "") -> AudioExtractor:
    """A bundle by the name it has in ``torchaudio.pipelines``.

    Parameters
    ----------
    name : str
        Bundles without a speech recogniser's last layer.
    path : str
        The bundle's own weights file; without one torchaudio downloads it.

    Raises
    ------
    ValueError
        If there is no such bundle, or the file doesn't fit it.
    ConnectionError
        If the weights have to be downloaded and cannot be.
    """
    import torchaudio

    bundle: Any = getattr(torchaudio.pipelines, name, None)
    if type(bundle) is not torchaudio.pipelines.Wav2Vec2Bundle:
        bundles = [
            key for key, value in vars(torchaudio.pipelines).items()
            if type(value) is torchaudio.pipelines.Wav2Vec2Bundle
        ]  # fmt: skip
        raise ValueError(f"torchaudio has no wav2vec2 bundle called {name!r}; it has {', '.join(sorted(bundles))}.")
    network = _build(bundle, name, path).eval().requires_grad_(False)
    return pooled_audio(
        f"torchaudio:{name}",
        network,
        lambda waves: network(waves)[0],
        sample_rate=int(bundle.sample_rate),
        # The layer norm that the bundle wraps round such a network, and its constant.
        variance_floor=1e-5 if bundle._normalize_waveform else None,
        library="torchaudio",
    )


def _build(bundle: Any, name: str, path: str) -> nn.Module:
    import torchaudio

    build = torchaudio.models.wavlm_model if bundle._model_type == "WavLM" else torchaudio.models.wav2vec2_model
    network: nn.Module = build(**bundle._params)
    if path:
        read_weights(path, into=network)
        return network
    try:
        network.load_state_dict(bundle._get_state_dict({"weights_only": True}))
    except (URLError, OSError) as error:
        raise ConnectionError(
            f"torchaudio could not download {name} ({error}); go online, or give the file as torchaudio:{name}@PATH."
        ) from error
    return network
