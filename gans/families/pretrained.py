"""Pretrained generators of packages, loaded into our own DCGAN module: 64x64 faces and portraits, 128x128 painted eyes.

Only the weights file of each package is used; its code is never imported. Faces: gan-face-generate (MIT), trained on
DigiFace1M, synthetic renders. Portraits: generateme (MIT), by their look trained on photographs of celebrities (the
package does not say). Eyes: omniart-eye-generator (MIT), trained on eyes cut from paintings of the OmniArt collection,
by colour; the quality is uneven.
"""

from __future__ import annotations

import torch

from genmend.gans.families.dcgan import DCGAN
from genmend.gans.families.labels import ClassOfLatent, check_label, latent_width, latent_words
from genmend.gans.generator import Generator
from genmend.storage.weights import find_weights

__all__ = ["EYE_COLOURS", "load_eyes", "load_faces", "load_portraits"]

EYE_COLOURS = ("amber", "blue", "brown", "gray", "grayscale", "green", "hazel", "red")

_Z_WIDTH = 100


def load_eyes(label: int | str | None = None) -> Generator:
    """Load the eye generator with its pretrained weights.

    Parameters
    ----------
    label : int, str or None
        A class of `EYE_COLOURS` by number or name: latents are (n, 100). None: latents are (n, 101), and the
        last number u chooses the class, number floor(8 * Phi(u)); all are equally likely.

    Raises
    ------
    ValueError
        If there is no such class.
    genmend.storage.weights.MissingWeightsError
        If ``genmend fetch eyes`` was not run yet.
    """
    n_classes = len(EYE_COLOURS)
    if isinstance(label, str):
        if label not in EYE_COLOURS:
            raise ValueError(f"The eyes have no class {label!r}; there are {', '.join(EYE_COLOURS)}.")
        label = EYE_COLOURS.index(label)
    label = check_label(label, n_classes)
    module = DCGAN(_Z_WIDTH, widths=(1024, 512, 256, 128, 64), n_classes=n_classes, dropout=0.2)
    module.load_state_dict(torch.load(find_weights("eyes"), map_location="cpu", weights_only=True))
    return Generator(
        module.eval().requires_grad_(False),
        latent_shape=(latent_width(_Z_WIDTH, n_classes, label),),
        layers=("main.2", "main.6", "main.9", "main.12", "main.15"),
        call=ClassOfLatent(n_classes, label),
        name="eyes" if label is None else f"eyes:{EYE_COLOURS[label]}",
        settings={"label": label},
        latent_words=latent_words(_Z_WIDTH, n_classes, label),
        last_chooses=label is None,
    )


def load_faces() -> Generator:
    """Load the face generator with its pretrained weights.

    Raises
    ------
    genmend.storage.weights.MissingWeightsError
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


def load_portraits() -> Generator:
    """Load the portrait generator with its pretrained weights.

    Raises
    ------
    genmend.storage.weights.MissingWeightsError
        If ``genmend fetch portraits`` was not run yet.
    """
    stored = torch.load(find_weights("portraits"), map_location="cpu", weights_only=True)
    module = DCGAN()
    # The file names its layers convTr1 to convTr5 and batchNorm1 to batchNorm4; `main` counts a ReLU after each pair.
    module.load_state_dict(
        {
            f"main.{3 * (int(name[number]) - 1) + shift}{name[number + 1 :]}": tensor
            for name, tensor in stored.items()
            for number, shift in [(len("convTr"), 0) if name.startswith("convTr") else (len("batchNorm"), 1)]
        }
    )
    return Generator(
        module.eval().requires_grad_(False),
        latent_shape=(100,),
        layers=("main.2", "main.5", "main.8", "main.11"),
        name="portraits",
    )
