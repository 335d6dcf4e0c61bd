"""Small networks that look at the reference pipeline's pictures: a judge, a guide, and spaces without labels.

The judge and the guide name the garment; they differ in architecture and in seed, so that what is chosen by
the guide can be judged by the judge. Novelty is measured in the space of a contrastive network, of aligned pictures: a
garment brighter, flatter, larger, elsewhere or mirrored is no newer there. The code of an autoencoder, which sees all
that, is kept for other uses. Two further ones, the guide's and the judge's, tell whole garments from broken ones. They
were trained by ``python -m experiments.garments.train_judges``, ``.train_contrastive`` and ``.train_intact``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from genmend.diffusion.reference.alignment import align_pictures

__all__ = [
    "BUILDERS",
    "GARMENTS",
    "WEIGHTS",
    "garment_probabilities",
    "intact_probabilities",
    "load_network",
    "novelty_features",
    "outputs",
]

WEIGHTS = Path(__file__).parent
GARMENTS = ("t-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


def judge() -> nn.Module:
    """Convolutions of 3x3 with batch normalisation; (n, 1, 32, 32) in -1..1 to logits (n, 10)."""

    def block(before: int, after: int, stride: int = 1) -> list[nn.Module]:
        return [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]

    body = [*block(4, 32), *block(32, 64, 2), *block(64, 96), nn.AvgPool2d(2), nn.Flatten()]
    head = [nn.Dropout(0.3), nn.Linear(96 * 16, 128), nn.ReLU(), nn.Linear(128, 10)]
    return nn.Sequential(nn.PixelUnshuffle(2), *body, *head)


def guide() -> nn.Module:
    """Strided wide kernels, no normalisation, a mean over places at the end; same shapes as `judge`."""
    sizes = ((1, 32, 5), (32, 64, 5), (64, 96, 3))
    layers = [
        layer
        for i, o, k in sizes
        for layer in (nn.Conv2d(i, o, k, stride=2, padding=k // 2), nn.GELU(), nn.GroupNorm(1, o))
    ]
    return nn.Sequential(
        *layers, nn.Conv2d(96, 128, 3, padding=1), nn.GELU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(512, 10)
    )


def autoencoder() -> nn.Module:
    """Of pictures as they are: part ``[0]`` to a code ``(n, 64)``, part ``[1]`` back to (n, 1, 32, 32)."""
    down = [nn.Conv2d(1, 16, 4, 2, 1), nn.GELU(), nn.Conv2d(16, 32, 4, 2, 1), nn.GELU(), nn.Conv2d(32, 64, 4, 2, 1)]
    up = [nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.GELU(), nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.GELU()]
    code = nn.Sequential(*down, nn.GELU(), nn.Flatten(), nn.Linear(1024, 64))
    back = nn.Sequential(nn.Linear(64, 1024), nn.GELU(), nn.Unflatten(1, (64, 4, 4)), *up)
    return nn.Sequential(code, back.extend([nn.ConvTranspose2d(16, 1, 4, 2, 1)]))


def contrastive() -> nn.Module:
    """Aligned pictures (n, 1, 32, 32) in -1..1 to vectors (n, 64): alike for trivial changes of a garment alone."""

    def block(before: int, after: int, stride: int = 1) -> list[nn.Module]:
        return [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]

    body = [*block(4, 32), *block(32, 64, 2), *block(64, 96), *block(96, 128, 2), nn.Flatten()]
    return nn.Sequential(nn.PixelUnshuffle(2), *body, nn.Linear(128 * 16, 96), nn.ReLU(), nn.Linear(96, 64))


def intact() -> nn.Module:
    """Aligned pictures (n, 1, 32, 32) in -1..1 to logits (n, 1) of being whole."""

    def block(before: int, after: int, stride: int = 1) -> list[nn.Module]:
        return [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]

    body = [*block(4, 32), *block(32, 48), *block(48, 64, 2), *block(64, 96), *block(96, 96, 2), nn.Flatten()]
    return nn.Sequential(
        nn.PixelUnshuffle(2), *body, nn.Dropout(0.2), nn.Linear(96 * 16, 64), nn.ReLU(), nn.Linear(64, 1)
    )


def intact_judge() -> nn.Module:
    """As `intact`, with strided kernels of 5 and no unshuffling."""
    sizes = ((1, 32, 5), (32, 64, 5), (64, 96, 3))
    body = [
        layer
        for i, o, k in sizes
        for layer in (nn.Conv2d(i, o, k, stride=2, padding=k // 2, bias=False), nn.BatchNorm2d(o), nn.GELU())
    ]
    return nn.Sequential(*body, nn.Flatten(), nn.Dropout(0.2), nn.Linear(96 * 16, 64), nn.GELU(), nn.Linear(64, 1))


BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "judge": judge,
    "guide": guide,
    "autoencoder": autoencoder,
    "contrastive": contrastive,
    "intact": intact,
    "intact_judge": intact_judge,
}


def load_network(name: str, folder: Path = WEIGHTS) -> nn.Module:
    """One of `BUILDERS` with its trained weights, in evaluation mode."""
    network = BUILDERS[name]()
    network.load_state_dict(load_file(folder / f"{name}.safetensors"))
    return network.eval()


@torch.no_grad()
def outputs(network: nn.Module, images: Tensor) -> Tensor:
    """What a network says of pictures (n, c, 32, 32) in 0..1, grey or colour: logits (n, 10), or a code (n, d)."""
    return torch.cat([network(part.mean(1, keepdim=True) * 2 - 1) for part in images.float().split(500)])


def garment_probabilities(network: nn.Module, images: Tensor) -> Tensor:
    """Of each picture (n, c, 32, 32) in 0..1 the probability (n, 10) of each garment."""
    return outputs(network, images).softmax(1)


@torch.no_grad()
def intact_probabilities(network: nn.Module, images: Tensor) -> Tensor:
    """Of each picture (n, c, 32, 32) in 0..1 the probability (n,) that it shows a whole garment, mirrored or not."""
    found = []
    for part in images.float().split(500):
        aligned = align_pictures(part.mean(1, keepdim=True)) * 2 - 1
        found.append((network(aligned) + network(aligned.flip(3)))[:, 0] / 2)
    return torch.cat(found).sigmoid()


@torch.no_grad()
def novelty_features(network: nn.Module, images: Tensor) -> Tensor:
    """Unit vectors (n, 64) of pictures (n, c, 32, 32) in 0..1 by `contrastive`: the same for a picture mirrored."""
    found = []
    for part in images.float().split(500):
        aligned = align_pictures(part.mean(1, keepdim=True)) * 2 - 1
        one, other = (nn.functional.normalize(network(side), dim=1) for side in (aligned, aligned.flip(3)))
        found.append(nn.functional.normalize(one + other, dim=1))
    return torch.cat(found)
