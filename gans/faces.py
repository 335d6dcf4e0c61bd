"""The 64x64 face generator of the package gan-face-generate (MIT), loaded into our own DCGAN module.

Only the package's weights file is used; its code is never imported. It was trained on DigiFace1M, synthetic renders.
"""

from __future__ import annotations

import torch

from gans.families.dcgan import DCGAN
from gans.generator import Generator
from manifold.weights import find_weights

__all__ = ["load_faces"]


def load_faces() -> Generator:
    """The face generator with its pretrained weights.

    Raises
    ------
    manifold.weights.MissingWeightsError
        If ``genmend fetch faces`` was not run yet.
    """
    module = DCGAN()
    stored = torch.load(find_weights("faces"), map_location="cpu", weights_only=True)
    module.load_state_dict(stored["netG_state_dict"])
    return Generator(
        module.eval().requires_grad_(False),
        latent_shape=(100,),
        layers=("main.2", "main.5", "main.8", "main.11"),
        name="faces",
    )
