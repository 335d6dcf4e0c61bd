"""Classifiers by name, with what their images and their classes are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from torch import Tensor, nn

from genmend.storage.named_object import made_object

__all__ = ["Classifier", "gives_features", "load_classifier", "prepared_by"]

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
    made : str
        How it came by its classes, in words; empty where they are its own.
    """

    name: str
    module: nn.Module
    prepare: Callable[[Tensor], Tensor]
    shown: Callable[[Tensor], Tensor]
    classes: tuple[str, ...] = ()
    made: str = ""

    def class_name(self, number: int) -> str:
        """A class in words, or its number."""
        return self.classes[number] if number < len(self.classes) else f"class {number}"

    def class_number(self, text: str) -> int:
        """The number of a class given by its name or as a number; a name that is a number comes first.

        Raises
        ------
        ValueError
            If no class has that name; the message has the nearest ones.
        """
        names = [name.lower() for name in self.classes]
        if text.lower() in names:
            return names.index(text.lower())
        if text.strip().isdecimal():
            return int(text)
        near = get_close_matches(text.lower(), names, cutoff=0.5) or [n for n in names if text.lower() in n][:3]
        by_number = f"give a number from 0 to {len(names) - 1}" if names else "its classes have no names: give a number"
        known = f"near are {', '.join(near)}" if near else by_number
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
    if name in EMBEDDED:
        return _embedded(name)
    if name.startswith("torchvision:"):
        return _torchvision(name)
    if gives_features(name):
        raise ValueError(
            f"{name} gives features and no classes; genmend circuit makes some of the folders of --reference. Here "
            f"give {', '.join(EMBEDDED)}, torchvision:NAME, or module:callable."
        )
    if ":" not in name:
        raise ValueError(
            f"{name!r} is no classifier; accepted are {', '.join(EMBEDDED)}, torchvision:NAME, and module:callable."
        )
    made = made_object(name)
    if isinstance(made, Classifier):
        return made
    if not isinstance(made, nn.Module):
        raise TypeError(f"{name} gave a {type(made).__name__}, but a torch.nn.Module or a Classifier is needed.")
    return _own(name, made, side)


def gives_features(name: str) -> bool:
    """Whether it is the name of an extractor of images that gives no classes, see `load_extractor`."""
    from genmend.manifold.features.extractors.loading import EXTRACTORS, LIBRARIES

    if name in EMBEDDED or name.startswith("torchvision:"):
        return False
    return name in EXTRACTORS or name.partition(":")[0] in LIBRARIES


def _embedded(name: str) -> Classifier:
    from genmend.manifold.features import load_extractor
    from genmend.manifold.features.extractors import efficientnet_lite, torchvision_models

    build = {
        "efficientnet-lite0": efficientnet_lite.load_classifier,
        "mobilenet-v2": torchvision_models.load_mobilenet_classifier,
    }[name]
    # Images are prepared as for the features; its network, which lacks the classes, is not built for that.
    return prepared_by(load_extractor(name), name, build(), _imagenet())


def _torchvision(name: str) -> Classifier:
    from genmend.manifold.features.extractors.torchvision_models import build_classifier, extractor_of

    rest, _, path = name.removeprefix("torchvision:").partition("@")
    network, weights = build_classifier(rest, path)
    return prepared_by(extractor_of(name, network, weights), name, network, tuple(weights.meta["categories"]))


def _own(name: str, network: nn.Module, side: int) -> Classifier:
    from genmend.manifold.features.image_extractor import ImageExtractor

    return prepared_by(ImageExtractor(name, network, side=side, mean=_MEAN, std=_STD), name, network, ())


def prepared_by(images: Any, name: str, network: nn.Module, classes: tuple[str, ...], made: str = "") -> Classifier:
    """A network whose images an `ImageExtractor` prepares."""

    def shown(prepared: Tensor) -> Tensor:
        return (prepared * images.std + images.mean).clamp(0, 1)

    return Classifier(name, network.eval().requires_grad_(False), images.prepare, shown, classes, made)


def _imagenet() -> tuple[str, ...]:
    from torchvision.models import MobileNet_V2_Weights

    return tuple(MobileNet_V2_Weights.IMAGENET1K_V1.meta["categories"])
