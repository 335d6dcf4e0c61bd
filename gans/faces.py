"""The 64x64 face generator of the package gan-face-generate (MIT), loaded into our own DCGAN module.

Only the package's weights file is used; its code is never imported. It was trained on DigiFace1M, synthetic renders.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gans.generator import Generator
from manifold.weights import find_weights

__all__ = ["DCGAN", "load_faces"]


class DCGAN(nn.Module):
    """The DCGAN generator (Radford et al., arXiv 1511.06434): ``[n, 100]`` to images ``[n, 3, 64, 64]`` in -1..1.

    One Sequential `main`: five transposed convolutions (0, 3, 6, 9, 12), batch normalisation (1, 4, 7, 10), ReLU
    (2, 5, 8, 11), tanh (13).
    """

    def __init__(self, latent_width: int = 100, widths: tuple[int, ...] = (512, 256, 128, 64)) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        for step, (before, after) in enumerate(zip((latent_width, *widths), (*widths, 3), strict=True)):
            stride, padding = (1, 0) if step == 0 else (2, 1)
            stages.append(nn.ConvTranspose2d(before, after, 4, stride, padding, bias=False))
            stages += [nn.BatchNorm2d(after), nn.ReLU()] if step < len(widths) else [nn.Tanh()]
        self.main = nn.Sequential(*stages)

    def forward(self, latents: Tensor) -> Tensor:
        """Images in -1..1."""
        images: Tensor = self.main(latents[:, :, None, None])
        return images


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
