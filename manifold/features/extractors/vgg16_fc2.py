"""VGG16's second fully connected layer (4,096 features), with each preprocessing that metrics were published with.

One name, five feature spaces: distances in one say nothing about those in another. The weights are torchvision's; the
TensorFlow network of the first precision and recall (arXiv 1904.06991) has others, and so other values than all these.
Untested on the real weights file: tests compare with the published pipelines on random weights in the same layout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from genmend.manifold.features.extractors.local_weights import read_weights
from genmend.manifold.features.image_extractor import ImageExtractor

__all__ = ["PUBLISHED", "Preprocessing", "load"]

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_SYMMETRIC = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # [0, 1] to [-1, 1]
_NONE = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@dataclass(frozen=True)
class Preprocessing:
    """How images come to 224 x 224 (always the whole image) and their values to the network's; after ReLU or before."""

    mode: str
    normalisation: tuple[tuple[float, ...], tuple[float, ...]]
    relu: bool
    source: str


PUBLISHED = {
    "rarity": Preprocessing("bicubic", _IMAGENET, True, "Rarity Score, image files: hichoe95/Rarity-Score at ec2ebd8"),
    "rarity-tensors": Preprocessing("nearest", _NONE, True, "Rarity Score, tensors in [0, 1]: as above"),
    "divrare": Preprocessing(
        "nearest", _SYMMETRIC, True, "rare and diverse generation (AAAI 2025): sbrblee/DivRareGen at 9f980f6"
    ),
    "ipr": Preprocessing(
        "bilinear",
        _IMAGENET,
        False,
        "PyTorch port of precision and recall, image files: "
        "youngjung/improved-precision-and-recall-metric-pytorch at 0cf606e",
    ),
    "torch-fidelity": Preprocessing("bilinear-tf1", _IMAGENET, True, "torch-fidelity 0.4, vgg16, fc2_relu"),
}


def load(name: str, path: str = "") -> ImageExtractor:
    """The extractor with one of the `PUBLISHED` preprocessings: ``vgg16-fc2:rarity@vgg16.pth``.

    Parameters
    ----------
    name : str
    path : str
        torchvision's state dict of vgg16, .safetensors or .pth; without one torchvision downloads IMAGENET1K_V1.

    Raises
    ------
    ValueError
        If no preprocessing is called so, or the file doesn't fit.
    ConnectionError
        If the weights have to be downloaded and cannot be.
    """
    from torchvision import models

    if name not in PUBLISHED:
        raise ValueError(f"vgg16-fc2 has no preprocessing {name!r}; {', '.join(PUBLISHED)} are accepted.")
    published = PUBLISHED[name]
    network: Any
    if path:
        network = models.vgg16(weights=None)
        read_weights(path, into=network)
    else:
        try:
            network = models.vgg16(weights=models.VGG16_Weights.IMAGENET1K_V1)
        except OSError as error:
            raise ConnectionError(
                f"torchvision could not download VGG16 ({error}); go online, or give the file as vgg16-fc2:{name}@PATH."
            ) from error
    # Linear, ReLU, dropout, linear (fc2), ReLU, dropout, linear: the last one and its dropout go.
    classifier: nn.Sequential = network.classifier
    network.classifier = classifier[: 5 if published.relu else 4]
    mean, std = published.normalisation
    return ImageExtractor(
        f"vgg16-fc2:{name}",
        network,
        side=224,
        mean=mean,
        std=std,
        mode=published.mode,
        layer="fc2_relu" if published.relu else "fc2",
        libraries=["torchvision"],
    )
