"""Face parts by a pretrained BiSeNet, as concepts.

The weights were trained on CelebAMask-HQ, which is for non-commercial research: they are fetched only by name,
``genmend fetch face-parser``.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from activations.digests import weights_digest
from gans.dissection.bisenet import BiSeNet
from manifold.features.local_weights import read_weights
from manifold.weights import find_weights

__all__ = ["FaceParser", "load_face_parser"]

CLASSES = (
    "background", "skin", "left brow", "right brow", "left eye", "right eye", "glasses", "left ear", "right ear",
    "earring", "nose", "mouth inside", "upper lip", "lower lip", "neck", "necklace", "clothes", "hair", "hat",
)  # fmt: skip
UNIONS = {
    "brows": ("left brow", "right brow"),
    "eyes": ("left eye", "right eye"),
    "ears": ("left ear", "right ear"),
    "lips": ("upper lip", "lower lip"),
}
SIDE = 512
BATCH = 4
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class FaceParser:
    """19 classes of CelebAMask-HQ and the pairs among them: of each pixel the class with the highest logit.

    Images of any size are scaled to 512 x 512 (bicubic, without padding, which the network was trained for), the logits
    back to the size of the image (antialiased). Left and right are the picture's for faces that look ahead.

    Parameters
    ----------
    network : BiSeNet
        On any device.
    """

    names = (*CLASSES, *UNIONS)
    objects = names[1:]

    def __init__(self, network: BiSeNet) -> None:
        self.network = network.eval().requires_grad_(False)

    @property
    def digest(self) -> str:
        """Of the weights: masks are kept under it."""
        return weights_digest(self.network)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Masks ``[n, 23, h, w]``, bool."""
        labels = torch.cat([self._logits(batch).argmax(1).cpu() for batch in images.split(BATCH)])
        masks = [labels == number for number in range(len(CLASSES))]
        masks += [torch.stack([masks[CLASSES.index(part)] for part in parts]).any(0) for parts in UNIONS.values()]
        return torch.stack(masks, 1)

    def soft(self, images: Tensor) -> Tensor:
        """Probabilities ``[n, 23, h, w]``, differentiable."""
        classes = self._logits(images).softmax(1)
        unions = [classes[:, [CLASSES.index(part) for part in parts]].sum(1) for parts in UNIONS.values()]
        return torch.cat([classes, torch.stack(unions, 1)], 1)

    def _logits(self, images: Tensor) -> Tensor:
        device = self.network.conv_out.conv_out.weight.device
        mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (MEAN, STD))
        enlarged = functional.interpolate(
            images.to(device), (SIDE, SIDE), mode="bicubic", align_corners=False, antialias=True
        )
        normalised = ((enlarged.clamp(0, 1) - mean) / std).to(memory_format=torch.channels_last)
        logits = self.network(normalised)
        return functional.interpolate(logits, images.shape[2:], mode="bilinear", align_corners=False, antialias=True)


def load_face_parser() -> FaceParser:
    """The face parser with its fetched weights, every name and shape checked.

    Raises
    ------
    manifold.weights.MissingWeightsError
        Before ``genmend fetch face-parser``.
    """
    network = BiSeNet(len(CLASSES))
    read_weights(find_weights("face-parser"), network)
    return FaceParser(network)
