"""The image tower of any open_clip model as an extractor: its projected image embedding, not of unit length.

Untested on real weights, which no package carries: tests use a model of that library, built with random ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from genmend.manifold.features.extractors.local_weights import check_weights, one_line
from genmend.manifold.features.image_extractor import ImageExtractor

__all__ = ["load"]


def load(name: str, path: str = "") -> ImageExtractor:
    """A model by open_clip's name, e.g. ``ViT-B-32@weights.safetensors`` or ``ViT-B-32@laion2b_s34b_b79k``.

    Parameters
    ----------
    name : str
        OpenAI's own weights want the names that end in ``-quickgelu``.
    path : str
        A state dict of the whole model, .safetensors or .pt, or the tag of weights that open_clip downloads.

    Raises
    ------
    ValueError
        If open_clip has no such model or weights, the file doesn't fit, or its preprocessing is one we don't have.
    ConnectionError
        If the weights have to be downloaded and cannot be.
    """
    import open_clip

    if name not in open_clip.list_models():
        raise ValueError(f"open_clip has no model called {name!r}; open_clip.list_models() has them all.")
    tags = open_clip.list_pretrained_tags_by_model(name)
    if not Path(path).is_file() and path not in tags:
        raise ValueError(
            f"open_clip:{name} needs weights: write open_clip:{name}@PATH with a file, or one of open_clip's tags "
            f"({', '.join(tags) or 'it has none'}); got {path!r}."
        )
    if path not in tags:
        check_weights(path)
    try:
        model = open_clip.create_model(name, pretrained=path, pretrained_text=False, weights_only=True)
    except OSError as error:
        raise ConnectionError(
            f"open_clip could not download {name} {path} ({error}); go online, or give a file."
        ) from error
    except (RuntimeError, ValueError, KeyError) as error:
        raise ValueError(f"{path} does not fit open_clip's {name}: {one_line(error)}") from error
    return ImageExtractor(
        f"open_clip:{name}",
        model.visual,
        **_preprocessing(name, model.visual.preprocess_cfg),
        layer="projected image embedding",
        libraries=["open_clip_torch"],
    )


def _preprocessing(name: str, config: dict[str, Any]) -> dict[str, Any]:
    size, mode, resize = config["size"], config["interpolation"], config["resize_mode"]
    sides = {size} if isinstance(size, int) else set(size)
    if len(sides) != 1 or mode not in ("bicubic", "bilinear") or resize not in ("shortest", "squash"):
        raise ValueError(
            f"open_clip preprocesses for {name} with {mode} resizing ({resize}) to {size}; bicubic or bilinear, "
            "'shortest' or 'squash', and squares are accepted: choose another model or pass a callable."
        )
    (side,) = sides
    shorter = side if resize == "shortest" else None
    return {"side": side, "mean": config["mean"], "std": config["std"], "mode": mode, "shorter": shorter}
