"""The reference pipeline: a small text-to-image model that comes with genmend, and scorers for it, without downloads.

It draws garments of 32x32 pixels from prompts such as "a creative dress". It was trained by
``python -m experiments.garments.train_pipeline`` on Fashion-MNIST (MIT licence); see docs/diffusion.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from genmend.diffusion.pipeline_folder import REFERENCE
from genmend.diffusion.reference.networks import (
    GARMENTS,
    WEIGHTS,
    garment_probabilities,
    intact_probabilities,
    load_network,
    novelty_features,
)

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

    from genmend.diffusion.search.scorers import Scorer

__all__ = [
    "garment_in",
    "garment_scorer",
    "guide_usability",
    "intact_scorer",
    "load_reference",
    "novelty_extractor",
    "real_garments",
]

_OTHER_WORDS = {
    "pants": "trousers",
    "sweater": "pullover",
    "trainer": "sneaker",
    "handbag": "bag",
    "boot": "ankle boot",
}


def load_reference(dtype: torch.dtype = torch.float32) -> StableDiffusionPipeline:
    """Load the pipeline on the CPU.

    Raises
    ------
    FileNotFoundError
        If its weights are not beside this module.
    """
    from diffusers import StableDiffusionPipeline

    if not (REFERENCE / "model_index.json").is_file():
        raise FileNotFoundError(
            f"{REFERENCE} holds no pipeline; train it with `make reference`, or install genmend anew."
        )
    pipe: StableDiffusionPipeline = StableDiffusionPipeline.from_pretrained(str(REFERENCE), dtype=dtype)
    return pipe


def garment_in(prompt: str) -> int:
    """Class of the garment that a prompt names.

    Raises
    ------
    ValueError
        If it names none.
    """
    words = prompt.lower()
    named = [garment for garment in GARMENTS if garment in words]
    named += [garment for word, garment in _OTHER_WORDS.items() if word in words.split()]
    if not named:
        raise ValueError(f"{prompt!r} names none of the garments {', '.join(GARMENTS)}; use one of these words.")
    return GARMENTS.index(max(named, key=len))  # "t-shirt" holds "shirt"


def garment_scorer(name: str) -> Scorer:
    """Probability of the prompted garment by the network "guide" or "judge"; 0..1, higher is better."""
    network = load_network(name)

    def score(images: Tensor, prompt: str) -> NDArray[np.floating]:
        found: NDArray[np.floating] = garment_probabilities(network, images)[:, garment_in(prompt)].numpy()
        return found

    score.least_usable = 0.5  # type: ignore[attr-defined]  # read by Keepers
    return score


def intact_scorer(name: str = "intact") -> Scorer:
    """Probability that a garment is whole, by the network "intact" or "intact_judge"; 0..1, higher is better.

    Whatever garment it is: the halves of two look like one to a network that only names garments.
    """
    network = load_network(name)

    def score(images: Tensor, prompt: str) -> NDArray[np.floating]:
        found: NDArray[np.floating] = intact_probabilities(network, images).numpy()
        return found

    score.least_usable = 0.5  # type: ignore[attr-defined]  # read by Keepers
    return score


def guide_usability() -> Mapping[str, Scorer]:
    """The usability scorers of a search: what is chosen by these can be judged by "judge" and "intact_judge"."""
    return {"guide": garment_scorer("guide"), "intact": intact_scorer()}


def novelty_extractor() -> Callable[[Tensor], Tensor]:
    """Images in 0..1 -> vectors ``(n, 64)`` in which trivial changes of a garment are alike."""
    network = load_network("contrastive")
    return lambda images: novelty_features(network, images)


def real_garments(prompt: str) -> NDArray[np.floating]:
    """Vectors ``(n, 64)``, in the novelty space, of real pictures of the garment that a prompt names.

    None of them was trained on. They were written by ``python -m experiments.garments.real_codes``.

    Raises
    ------
    ValueError
        If the prompt names no garment.
    """
    codes = load_file(WEIGHTS / "real_codes.safetensors")[GARMENTS[garment_in(prompt)]]
    found: NDArray[np.floating] = codes.float().numpy()
    return found
