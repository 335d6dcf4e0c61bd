"""Classifiers by name, with what their images and their classes are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import torch
from torch import Tensor, nn

from genmend.storage.named_object import made_object

__all__ = ["Classifier", "load_classifier"]

EMBEDDED = ("efficientnet-lite0", "mobilenet-v2")
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Classifier:
    """A model that gives images scores of classes.

    Attributes
    ----------
    name : str
    module : nn.Module
        From prepared images to logits ``(n, classes)``, in evaluation mode.
    prepare : callable
        From images ``(n, 3, h, w)`` in 0..1 to what the module takes.
    shown : callable
        From prepared images to images in 0..1, of the same size, for pictures.
    classes : tuple of str
        Their names; empty where nobody knows them.
    """

    name: str
    module: nn.Module
    prepare: Callable[[Tensor], Tensor]
    shown: Callable[[Tensor], Tensor]
    classes: tuple[str, ...] = ()

    def class_name(self, number: int) -> str:
        """A class in words, or its number."""
        return self.classes[number] if number < len(self.classes) else f"class {number}"

    def class_number(self, text: str) -> int:
        """The number of a class given as a number or by its name.

        Raises
        ------
        ValueError
            If no class has that name; the message has the nearest ones.
        """
        if text.strip().isdecimal():
            return int(text)
        names = [name.lower() for name in self.classes]
        if text.lower() in names:
            return names.index(text.lower())
        near = get_close_matches(text.lower(), names, cutoff=0.5) or [n for n in names if text.lower() in n][:3]
        known = f"near are {', '.join(near)}" if near else f"give a number from 0 to {max(len(names) - 1, 0)}"
        raise ValueError(f"{self.name} has no class {text!r}; {known}.")


def load_classifier(name: str, *, side: int = 224) -> Classifier:
    """A classifier by name.

    Parameters
    ----------
    name
        'mobilenet-v2' or 'efficientnet-lite0' (ImageNet, out of weights packages), 'torchvision:NAME' or
        'torchvision:NAME.WEIGHTS@FILE', or 'module:callable' that returns a module or a `Classifier` of your own.
    side
        Pixels; of a module of your own, whose images are squeezed into a square and normalised as for ImageNet.

    Raises
    ------
    ValueError
        If there is no such classifier.
    MissingWeightsError
        If its weights have not been fetched.
    """
    if name == "efficientnet-lite0":
        from genmend.manifold.features.extractors.efficientnet_lite import load_classifier as load_lite

        return _of_images(name, load_lite(), side=224, mean=(127 / 255,) * 3, std=(128 / 255,) * 3, classes=_imagenet())
    if name == "mobilenet-v2":
        from torchvision.models import mobilenet_v2

        from genmend.storage.weights import find_weights

        network = mobilenet_v2(weights=None)
        network.load_state_dict(torch.load(find_weights("mobilenet-v2"), map_location="cpu", weights_only=True))
        return _of_images(name, network, side=224, mean=_MEAN, std=_STD, classes=_imagenet())
    if name.startswith("torchvision:"):
        return _torchvision(name)
    if ":" not in name:
        raise ValueError(
            f"{name!r} is no classifier; accepted are {', '.join(EMBEDDED)}, torchvision:NAME, and module:callable."
        )
    made = made_object(name)
    if isinstance(made, Classifier):
        return made
    if not isinstance(made, nn.Module):
        raise TypeError(f"{name} gave a {type(made).__name__}, but a torch.nn.Module or a Classifier is needed.")
    return _of_images(name, made, side=side, mean=_MEAN, std=_STD, classes=())


def _torchvision(name: str) -> Classifier:
    from genmend.manifold.features.extractors.torchvision_models import build_classifier

    rest, _, path = name.removeprefix("torchvision:").partition("@")
    network, weights = build_classifier(rest, path)
    transforms = weights.transforms()
    return _of_images(
        name,
        network,
        side=transforms.crop_size[0],
        mean=transforms.mean,
        std=transforms.std,
        classes=tuple(weights.meta["categories"]),
        shorter=transforms.resize_size[0],
    )


def _of_images(
    name: str,
    network: nn.Module,
    *,
    side: int,
    mean: Sequence[float],
    std: Sequence[float],
    classes: tuple[str, ...],
    shorter: int | None = None,
) -> Classifier:
    from genmend.manifold.features.image_extractor import ImageExtractor

    images = ImageExtractor(name, network, side=side, mean=mean, std=std, shorter=shorter)

    def shown(prepared: Tensor) -> Tensor:
        return (prepared * images.std + images.mean).clamp(0, 1)

    return Classifier(name, images.network, images.prepare, shown, classes)


def _imagenet() -> tuple[str, ...]:
    from torchvision.models import MobileNet_V2_Weights

    return tuple(MobileNet_V2_Weights.IMAGENET1K_V1.meta["categories"])
