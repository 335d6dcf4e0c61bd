"""Any timm model as an extractor: its pooled features before the classifier, preprocessed by timm's own data config.

DINOv2 models are taken at 224 pixels with the whole image squeezed in, as FD-DINOv2 does (Stein et al., arXiv
2306.04675), not at timm's 518. Timm resamples their position embeddings in a way of its own, so published values are
those of ``dinov2:vitl14@PATH``.
Untested on real weights, which no package carries: tests use models of that library, built with random ones.
"""

from __future__ import annotations

import math
from typing import Any

from genmend.manifold.features.extractors.local_weights import check_weights, one_line
from genmend.manifold.features.image_extractor import ImageExtractor

__all__ = ["load"]

_DINOV2_SIDE = 224


def load(name: str, path: str = "") -> ImageExtractor:
    """A model by timm's name, e.g. ``resnet50.a1_in1k``.

    Parameters
    ----------
    name : str
        With timm's tag, where the preprocessing depends on it.
    path : str
        Its weights in timm's layout, classifier included, .safetensors or .pth; without one timm downloads them.

    Raises
    ------
    ValueError
        If timm has no such model, the file doesn't fit, or its preprocessing is one we don't have.
    ConnectionError
        If the weights have to be downloaded and cannot be.
    """
    import timm

    if not timm.is_model(name):
        similar = timm.list_models(f"*{name.partition('.')[0]}*")[:3]
        raise ValueError(f"timm has no model called {name!r}; e.g. {', '.join(similar) or 'see timm.list_models()'}.")
    if path:
        check_weights(path)
    options: dict[str, Any] = {"img_size": _DINOV2_SIDE} if "dinov2" in name else {}
    try:
        network = timm.create_model(
            name,
            pretrained=True,
            # Through timm's own loading, which adapts stored weights to its present layout and to the image size.
            pretrained_cfg_overlay={"file": path} if path else None,
            **options,
        )
    except OSError as error:
        raise ConnectionError(
            f"timm could not download {name} ({error}); go online, or give the file as timm:{name}@PATH."
        ) from error
    except (RuntimeError, ValueError, KeyError) as error:
        raise ValueError(f"The weights {path or name} do not fit timm's {name}: {one_line(error)}") from error
    network.reset_classifier(0)  # type: ignore[operator]
    config = timm.data.resolve_model_data_config(network)
    if "dinov2" in name:
        config |= {"input_size": (3, _DINOV2_SIDE, _DINOV2_SIDE), "crop_mode": "squash", "crop_pct": 1.0}
    return ImageExtractor(f"timm:{name}", network, **_preprocessing(name, config), layer="pooled", libraries=["timm"])


def _preprocessing(name: str, config: dict[str, Any]) -> dict[str, Any]:
    """Timm's evaluation transform in our words."""
    _, height, width = config["input_size"]
    mode, crop = config["interpolation"], config["crop_mode"]
    whole = crop == "squash" and config["crop_pct"] == 1
    if height != width or mode not in ("bicubic", "bilinear") or not (whole or crop == "center"):
        raise ValueError(
            f"timm preprocesses for {name} with {mode} resizing, {crop!r} crops and {width} x {height} pixels; "
            "bicubic or bilinear, 'center' and squares are accepted: choose another model or pass a callable."
        )
    shorter = None if whole else math.floor(height / config["crop_pct"])
    return {"side": height, "mean": config["mean"], "std": config["std"], "mode": mode, "shorter": shorter}
