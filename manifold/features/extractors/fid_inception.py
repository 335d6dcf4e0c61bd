"""The Inception network of the published FID (Heusel et al., arXiv 1706.08500), as torch-fidelity carries it to torch.

The TensorFlow graph of 2015, not torchvision's inception_v3: 2,048 pooled features of the whole image at 299 x 299,
resized as TensorFlow 1 did. Fréchet distances in these features are FID.
Untested on the real weights file: tests compare with torch-fidelity's own network on random weights.
"""

from __future__ import annotations

import tempfile
from collections import OrderedDict
from pathlib import Path

import torch
from torch import nn

from genmend.manifold.features.extractors.local_weights import one_line, stored_tensors
from genmend.manifold.features.image_extractor import ImageExtractor

__all__ = ["load"]

_NAME = "inception-v3-compat"
# In the order in which they run, up to the pooled features.
_STAGES = (
    *("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "MaxPool_1", "Conv2d_3b_1x1", "Conv2d_4a_3x3", "MaxPool_2"),
    *("Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
    *("Mixed_7a", "Mixed_7b", "Mixed_7c", "AvgPool"),
)


def load(name: str, path: str = "") -> ImageExtractor:
    """The extractor ``torch_fidelity:inception-v3-compat@PATH``.

    Parameters
    ----------
    name : str
    path : str
        torch-fidelity's weights file, which has to be there: torch-fidelity itself would unpickle whatever it finds,
        and here only tensors are read.

    Raises
    ------
    ValueError
        For another name, no file, or one that doesn't fit.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3

    if name != _NAME:
        raise ValueError(
            f"torch_fidelity:{name} is not accepted, only torch_fidelity:{_NAME}; its VGG16 is "
            "vgg16-fc2:torch-fidelity, DINOv2 comes by dinov2:vitl14@PATH and CLIP by open_clip:NAME."
        )
    if not path:
        raise ValueError(f"Give the weights as torch_fidelity:{name}@PATH, a file from {URL_INCEPTION_V3}.")
    stored = stored_tensors(path)
    with tempfile.TemporaryDirectory() as folder:
        # What torch-fidelity unpickles is a file that we have just written.
        checked = Path(folder) / "tensors.pth"
        torch.save(stored, checked)
        try:
            whole = FeatureExtractorInceptionV3(_NAME, ["2048"], feature_extractor_weights_path=str(checked))
        except RuntimeError as error:
            raise ValueError(f"{path} does not fit: {one_line(error)}") from error
    stages = OrderedDict((stage, getattr(whole, stage)) for stage in _STAGES)
    return ImageExtractor(
        f"torch_fidelity:{_NAME}",
        nn.Sequential(OrderedDict(**stages, flatten=nn.Flatten())),
        side=299,
        mean=[128 / 255] * 3,  # (x - 128) / 128 with x in 0..255
        std=[128 / 255] * 3,
        mode="bilinear-tf1",
        layer="2048 pooled",
        libraries=["torch-fidelity"],
    )
