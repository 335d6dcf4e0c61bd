"""Spaces that novelty can be measured in: of pictures as they are or aligned, by an autoencoder or contrastively."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from genmend.diffusion.reference.alignment import align_pictures
from genmend.diffusion.reference.networks import load_network, novelty_features, outputs

Extractor = Callable[[Tensor], Tensor]


def spaces() -> Mapping[str, Extractor]:
    """By name: the old space, what alignment alone makes of it, and the new one, which is the first in every table."""
    code, contrastive = load_network("autoencoder")[0], load_network("contrastive")

    def aligned(images: Tensor) -> Tensor:
        """The mean of a picture and its mirror image."""
        pictures = align_pictures(images.mean(1, keepdim=True))
        return (outputs(code, pictures) + outputs(code, pictures.flip(3))) / 2

    return {
        "contrastive, aligned": lambda images: novelty_features(contrastive, images),
        "autoencoder, aligned": aligned,
        "autoencoder": lambda images: outputs(code, images),
    }
