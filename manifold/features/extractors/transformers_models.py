"""CLIP image towers and wav2vec2-like audio encoders in transformers' folders: config.json and model.safetensors.

Untested on real weights, which no package carries: tests use small networks of the same layout, with random ones.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from genmend.manifold.features.audio_extractor import AudioExtractor, pooled_audio
from genmend.manifold.features.image_extractor import ImageExtractor

__all__ = ["load"]

_CLIP = ("clip", "clip_vision_model")
_AUDIO = ("wav2vec2", "hubert", "wavlm", "data2vec-audio")
# Pillow's numbers, as preprocessor_config.json has them.
_RESAMPLING = {2: "bilinear", 3: "bicubic"}


def load(path: str, _: str = "") -> ImageExtractor | AudioExtractor:
    """A model of a local folder (or of the hub, by its name): CLIP's image embedding, or the mean last hidden state.

    Raises
    ------
    ValueError
        If the model is of another family, or its files are missing, damaged, or pickled (only safetensors are read).
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(path)
        if config.model_type in _CLIP:
            return _load_clip(path)
        if config.model_type in _AUDIO:
            return _load_audio(path)
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"transformers could not load {path!r} ({error}); give a folder that save_pretrained has written, or go "
            "online for a name on the hub."
        ) from error
    raise ValueError(
        f"{path} is a model of the family {config.model_type!r}; {', '.join(_CLIP + _AUDIO)} are accepted."
    )


def _load_clip(path: str) -> ImageExtractor:
    from torch import nn
    from transformers import CLIPVisionModelWithProjection

    class ImageEmbedding(nn.Module):
        def __init__(self, tower: nn.Module) -> None:
            super().__init__()
            self.tower = tower

        def forward(self, pixels: Any) -> Any:
            return self.tower(pixel_values=pixels).image_embeds

    tower = _whole(CLIPVisionModelWithProjection, path)
    given = _preprocessor(path)
    side = tower.config.image_size
    shorter = given.get("size", side)
    return ImageExtractor(
        f"transformers:{path}",
        ImageEmbedding(tower),
        side=side,
        mean=given.get("image_mean", (0.48145466, 0.4578275, 0.40821073)),
        std=given.get("image_std", (0.26862954, 0.26130258, 0.27577711)),
        mode=_RESAMPLING.get(given.get("resample", 3), "other"),
        shorter=shorter.get("shortest_edge") if isinstance(shorter, dict) else shorter,
        layer="image_embeds",
        libraries=["transformers"],
    )


def _load_audio(path: str) -> AudioExtractor:
    from transformers import AutoModel

    network = _whole(AutoModel, path)
    given = _preprocessor(path)
    return pooled_audio(
        f"transformers:{path}",
        network,
        lambda waves: network(waves).last_hidden_state,
        sample_rate=given.get("sampling_rate", 16_000),
        # The constant of transformers' own feature extractor.
        variance_floor=1e-7 if given.get("do_normalize", True) else None,
        library="transformers",
    )


def _whole(model_class: Any, path: str) -> Any:
    """A model all of whose parameters came out of the file: transformers fills gaps with random numbers."""
    model, report = model_class.from_pretrained(path, use_safetensors=True, output_loading_info=True)
    # Of a whole CLIP the text half is left over; what training alone uses may be missing.
    missing = sorted(name for name in report["missing_keys"] if "masked_spec_embed" not in name)
    if missing or report["mismatched_keys"]:
        raise ValueError(f"{path} lacks weights or has other shapes: {missing or report['mismatched_keys']}.")
    return model.eval().requires_grad_(False)


def _preprocessor(path: str) -> dict[str, Any]:
    """preprocessor_config.json of a local folder; of a hub model the cached copy."""
    from transformers.utils import cached_file

    found = cached_file(path, "preprocessor_config.json", _raise_exceptions_for_missing_entries=False)
    given: dict[str, Any] = json.loads(Path(found).read_text(encoding="utf-8")) if found else {}
    return given
