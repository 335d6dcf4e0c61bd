"""Any torchvision classifier as an extractor: the input of its last linear layer, preprocessed as its weights want.

For vgg16 that input is what published PyTorch metrics call fc2_relu (`classifier[:5]`, 4096-d, after ReLU), for
inception_v3 the 2048 pooled features. torchvision's inception_v3 is not the network of the published FID (which is a
TensorFlow graph): distances in its features are not FID.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from genmend.manifold.features.extractors.local_weights import read_weights
from genmend.manifold.features.image_extractor import ImageExtractor
from genmend.storage.weights import find_weights, sha256_of_weights

__all__ = ["build_classifier", "extractor_of", "load", "load_mobilenet", "load_mobilenet_classifier"]

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def load_mobilenet() -> ImageExtractor:
    """MobileNetV2 (ImageNet; Sandler et al., arXiv 1801.04381): 1,280 pooled features of the whole image at 224."""
    return ImageExtractor(
        "mobilenet-v2",
        _mobilenet,
        side=224,
        mean=_MEAN,
        std=_STD,
        layer="pooled",
        libraries=["torchvision"],
        onnx=True,
        weights=sha256_of_weights("mobilenet-v2"),
    )


def _mobilenet() -> nn.Module:
    network = load_mobilenet_classifier()
    _take_off_last_linear("mobilenet_v2", network)
    return network


def load_mobilenet_classifier() -> nn.Module:
    """The whole network with its 1,000 ImageNet class scores."""
    from torchvision.models import mobilenet_v2

    network: nn.Module = mobilenet_v2(weights=None)
    network.load_state_dict(torch.load(find_weights("mobilenet-v2"), map_location="cpu", weights_only=True))
    return network.eval()


def load(name: str, path: str = "") -> ImageExtractor:
    """A model by torchvision's name, e.g. ``vgg16`` or, with one of its weights' names, ``resnet50.IMAGENET1K_V1``.

    Parameters
    ----------
    name : str
        Without a weights' name, torchvision's default: it decides the preprocessing.
    path : str
        Its state dict, .safetensors or .pth; without one torchvision downloads the weights.

    Raises
    ------
    ValueError
        If torchvision has no such model or weights, the file doesn't fit, or there is no linear layer at its end.
    ConnectionError
        If the weights have to be downloaded and cannot be.
    """
    network, weights = build_classifier(name, path)
    architecture = name.partition(".")[0]
    return extractor_of(f"torchvision:{name}", network, weights, _take_off_last_linear(architecture, network))


def extractor_of(name: str, network: nn.Module, weights: Any, layer: str = "output") -> ImageExtractor:
    """A network with the preprocessing of torchvision's entry of its weights."""
    transforms = weights.transforms()
    return ImageExtractor(
        name,
        network,
        side=transforms.crop_size[0],
        mean=transforms.mean,
        std=transforms.std,
        mode=transforms.interpolation.value,
        antialias=bool(transforms.antialias),
        shorter=transforms.resize_size[0],
        layer=layer,
        libraries=["torchvision"],
    )


def build_classifier(name: str, path: str = "") -> tuple[nn.Module, Any]:
    """The whole network with its class scores, and torchvision's entry of its weights; errors as `load`."""
    from torchvision import models

    architecture, _, version = name.partition(".")
    if architecture not in models.list_models(module=models):
        raise ValueError(f"torchvision has no classifier called {architecture!r}; torchvision.models.list_models().")
    versions = models.get_model_weights(architecture)
    if version and version not in versions.__members__:
        raise ValueError(f"{architecture} has no weights {version!r}; it has {', '.join(versions.__members__)}.")
    weights = versions[version] if version else versions.DEFAULT
    return _build(architecture, weights, path), weights


def _build(architecture: str, weights: Any, path: str) -> nn.Module:
    from torchvision import models

    if not path:
        try:
            return models.get_model(architecture, weights=weights)
        except OSError as error:
            raise ConnectionError(
                f"torchvision could not download {weights} ({error}); go online, or give the file as "
                f"torchvision:{architecture}@PATH."
            ) from error
    options: dict[str, Any] = {}
    if architecture in ("inception_v3", "googlenet"):
        # What torchvision sets when it loads the weights itself: they want another normalisation than the transforms'.
        options = {"transform_input": True, "init_weights": False}
    network = models.get_model(architecture, weights=None, **options)
    read_weights(path, into=network)
    return network


def _take_off_last_linear(architecture: str, network: nn.Module) -> str:
    """Put the identity in the place of the last linear layer, and say what comes out now."""
    name, last = list(network.named_modules())[-1]
    # Inception's and GoogLeNet's auxiliary classifiers come before their own.
    if not isinstance(last, nn.Linear):
        raise ValueError(f"{architecture} does not end in a linear layer but in {type(last).__name__}; choose another.")
    parent, _, leaf = name.rpartition(".")
    setattr(network.get_submodule(parent), leaf, nn.Identity())
    return "fc2_relu" if architecture.startswith("vgg") else f"input of {name}"
