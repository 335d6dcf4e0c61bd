"""Scorers: what an image is worth to its prompt. A scorer is any ``(images, prompt) -> [n]``; higher is better.

Images are ``(n, 3, height, width)`` in 0..1. Hub models load by name or path and never at import.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from genmend.manifold.features.extractor_device import at_extractor

__all__ = ["Scorer", "class_probability", "clip_score"]

Scorer = Callable[[Tensor, str], NDArray[np.floating]]


def class_probability(
    classifier: nn.Module | Callable[[Tensor], Tensor], class_of: Mapping[str, int], *, batch_size: int = 64
) -> Scorer:
    """Probability, in 0..1, that a classifier gives to the class of the prompt.

    Parameters
    ----------
    classifier
        Images in 0..1 -> logits ``(n, classes)``.
    class_of
        Prompt -> its class.
    """

    @torch.no_grad()
    def score(images: Tensor, prompt: str) -> NDArray[np.floating]:
        if prompt not in class_of:
            raise ValueError(
                f"No class is known for the prompt {prompt!r}; known are {', '.join(map(repr, class_of))}."
            )
        logits = torch.cat([classifier(at_extractor(classifier, batch)) for batch in images.split(batch_size)])
        probabilities: NDArray[np.floating] = logits.float().softmax(1)[:, class_of[prompt]].cpu().numpy()
        return probabilities

    score.least_usable = 0.5  # type: ignore[attr-defined]  # read by Keepers
    return score


def clip_score(model: str = "openai/clip-vit-base-patch32", *, device: str = "cpu", batch_size: int = 16) -> Scorer:
    """Cosine, -1..1, of CLIP's image and text vectors, as C3 takes it: the whole prompt, no factor, no clamp.

    `model` is a hub name or folder of a CLIP or SigLIP model with its processor. Cosines of different models are not
    comparable.

    Raises
    ------
    OSError
        At once, if the model cannot be loaded.
    """
    from transformers import AutoModel, AutoProcessor

    try:
        network = AutoModel.from_pretrained(model).eval().to(device)
        processor = AutoProcessor.from_pretrained(model)
    except OSError as error:  # of several lines
        told = str(error).strip().splitlines()[0].rstrip(".")
        raise OSError(
            f"CLIP's {model} cannot be loaded: {told}; give a hub name that can be reached, or a folder."
        ) from error

    @torch.no_grad()
    def score(images: Tensor, prompt: str) -> NDArray[np.floating]:
        text = processor(text=[prompt], return_tensors="pt", padding="max_length", truncation=True).to(device)
        word = nn.functional.normalize(_vectors(network.get_text_features(**text)), dim=1)
        found = []
        for batch in images.split(batch_size):
            pixels = processor(images=list(batch), return_tensors="pt", do_rescale=False)["pixel_values"].to(device)
            seen = nn.functional.normalize(_vectors(network.get_image_features(pixel_values=pixels)), dim=1)
            found.append((seen @ word.T)[:, 0].cpu())
        cosines: NDArray[np.floating] = torch.cat(found).numpy()
        return cosines

    return score


def _vectors(found: Any) -> Tensor:
    """The feature vectors, which newer transformers wrap in an output object."""
    vectors: Tensor = found if isinstance(found, Tensor) else found.pooler_output
    return vectors
