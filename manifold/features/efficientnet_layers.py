"""EfficientNet-Lite0 seen at several depths: 2,768 features, from texture to object.

The pooled mean and the pooled standard deviation of every channel after timm's `blocks.2` to `blocks.6`, and the pooled
1,280 of the last layer, side by side. A block of columns is divided by the square root of its width, so that it adds
its mean squared difference per column to a squared distance; the last layer is then multiplied by 4, because after its
ReLU6 it varies about a quarter as much as the stages' linear outputs (0.24 against 0.9 to 1.8, root mean square over
samples of the face generator). These are constants: nothing is fitted on the data at hand.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from manifold.features import efficientnet_lite
from manifold.features.extractor import ImageExtractor

__all__ = ["PooledStages", "load"]

_FIRST_STAGE = 2
_LAST_LAYER_SCALE = 4.0


class PooledStages(nn.Module):
    """Mean and standard deviation of the later stages, and the last layer, of a timm network with `blocks`."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """``[n, 2768]``: blocks.2 mean, blocks.2 std, ..., blocks.6 std, last layer."""
        network = self.network
        maps = network.bn1(network.conv_stem(pixels))  # type: ignore[operator]
        columns = []
        for stage, block in enumerate(network.blocks):  # type: ignore[arg-type]
            maps = block(maps)
            if stage >= _FIRST_STAGE:
                # A variance of 0 has no gradient of its root.
                deviation = (maps.var(dim=(2, 3), correction=0) + 1e-8).sqrt()
                columns += [maps.mean(dim=(2, 3)), deviation]
        last = network.forward_head(network.bn2(network.conv_head(maps)))  # type: ignore[operator]
        return torch.cat([block / math.sqrt(block.shape[1]) for block in [*columns, _LAST_LAYER_SCALE * last]], dim=1)


def load() -> ImageExtractor:
    """The stages of the network that `efficientnet-lite0` is, with its preprocessing."""
    plain = efficientnet_lite.load()
    return ImageExtractor(
        "efficientnet-lite0-layers",
        PooledStages(plain.network),
        side=plain.side,
        mean=plain.mean.flatten().tolist(),
        std=plain.std.flatten().tolist(),
        layer="mean and deviation of blocks.2-6, 4 x pooled last layer; each block of columns / sqrt(its width)",
        libraries=plain.libraries,
    )
