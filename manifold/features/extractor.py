"""One way to call any image feature extractor: images in [0, 1] in, vectors out."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from manifold.named_object import named_object

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["EXTRACTORS", "ImageExtractor", "extract", "extractor_of_file", "load_extractor"]

# name -> the module whose load() builds it: imported only when asked for.
EXTRACTORS = {
    "efficientnet-lite0": "manifold.features.efficientnet_lite",
    "clip-vit-b16": "manifold.features.clip_vision",
}

# The user's own, by the name under which the user asked for them.
_own: dict[str, Callable[[Tensor], Tensor]] = {}


class ImageExtractor(nn.Module):
    """A feature network together with the preprocessing that its weights were trained with.

    The preprocessing is part of the metric (specs/manifold.md, section 0), so it is part of this module: bicubic
    resizing with antialiasing to `side` pixels, clamping to [0, 1], and the normalisation (x - mean) / std per channel.
    All of it is differentiable.

    Parameters
    ----------
    name : str
        Recorded in every result; a correction's gate asks for its extractor by this name.
    network : nn.Module
        Takes normalised images ``[n, 3, side, side]`` and returns features ``[n, d]``.
    side : int
        Pixels.
    mean, std : sequence of 3 floats
        In units of [0, 1] images.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, network: nn.Module, side: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.name = name
        self.network = network.eval().requires_grad_(False)
        self.side = side
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Features ``[n, d]`` of images ``[n, 3, h, w]`` in [0, 1]."""
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(
                f"Images have shape {tuple(images.shape)}; give [n, 3, height, width] with values in [0, 1]."
            )
        if not images.is_floating_point():
            raise ValueError(
                f"Images have dtype {images.dtype}; give floating-point values in [0, 1], e.g. images / 255."
            )
        resized = functional.interpolate(
            images, size=(self.side, self.side), mode="bicubic", align_corners=False, antialias=True
        )
        features: Tensor = self.network((resized.clamp(0, 1) - self.mean) / self.std)
        return features


def load_extractor(name: str | Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Get an extractor by name (one of `EXTRACTORS`), as ``module:callable``, or hand a callable through.

    A callable of your own takes a tensor ``[n, 3, h, w]`` in [0, 1] and returns ``[n, d]``; ``module:callable`` names a
    function without arguments that returns such a callable.

    Raises
    ------
    ValueError
        If the name is unknown.
    manifold.weights.MissingWeightsError
        If the extractor's weights were not fetched yet.
    """
    if not isinstance(name, str):
        return name
    if name in EXTRACTORS:
        return _embedded(name)
    if ":" in name:
        if name not in _own:
            _own[name] = named_object(name)()
        return _own[name]
    raise ValueError(f"No extractor is called {name!r}; give one of {', '.join(EXTRACTORS)}, or module:callable.")


def extractor_of_file(name: str) -> Callable[[Tensor], Tensor]:
    """Get the extractor that a file asks for, without letting the file choose what code is run.

    Raises
    ------
    ValueError
        If it is a ``module:callable`` that nobody has loaded in this process by `load_extractor`.
    """
    if name in EXTRACTORS or name in _own:
        return load_extractor(name)
    raise ValueError(
        f"The file asks for the extractor {name!r}, none of {', '.join(EXTRACTORS)} but code that would be run: if "
        f"you trust it, call load_extractor({name!r}) first (on the command line --extractor {name})."
    )


@cache
def _embedded(name: str) -> ImageExtractor:
    # One instance a process: loading takes seconds, and moving it to a device once is enough.
    loaded: ImageExtractor = importlib.import_module(EXTRACTORS[name]).load()
    return loaded


@torch.no_grad()
def extract(
    extractor: Callable[[Tensor], Tensor],
    images: Tensor,
    *,
    batch_size: int = 16,
    progress: bool = False,
) -> NDArray[np.float32]:
    """Features of many images, batch by batch; an `ImageExtractor` on another device gets them there.

    Parameters
    ----------
    extractor : callable
        As `load_extractor` returns it.
    images : Tensor ``[n, 3, h, w]``
        Values in [0, 1].
    batch_size : int
        Images a forward pass.
    progress : bool
        Show a progress bar.

    Returns
    -------
    ndarray ``[n, d]`` float32

    Raises
    ------
    ValueError
        If there are no images, or the extractor returns something else than one finite vector per image.
    """
    if len(images) == 0:
        raise ValueError("There are no images to extract features from: give at least one.")
    parts = []
    device = extractor.mean.device if isinstance(extractor, ImageExtractor) else images.device
    for batch in tqdm(images.split(batch_size), desc="features", disable=not progress, leave=False):
        features = extractor(batch.to(device))
        if features.ndim != 2 or len(features) != len(batch):
            raise ValueError(
                f"The extractor returned shape {tuple(features.shape)} for {len(batch)} images; "
                "it has to return one vector per image, [n, d]."
            )
        parts.append(features.float().cpu().numpy())
    joined = np.concatenate(parts)
    if not np.isfinite(joined).all():
        row = int(np.flatnonzero(~np.isfinite(joined).all(axis=1))[0])
        raise ValueError(f"The features of image {row} are not finite: check that the images lie in [0, 1].")
    return joined
