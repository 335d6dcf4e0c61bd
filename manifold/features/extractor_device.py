"""Where an extractor takes its images."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["at_extractor", "extractor_device"]


def extractor_device(extractor: Callable[..., Any]) -> torch.device | None:
    """The device of the first parameter or buffer of an extractor that is an nn.Module; None of a plain function."""
    if not isinstance(extractor, nn.Module):
        return None
    # Its own buffers first: an `ImageExtractor` need not build its network to answer.
    tensors = chain(extractor.buffers(recurse=False), extractor.parameters(), extractor.buffers())
    return next((tensor.device for tensor in tensors), None)


def at_extractor(extractor: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """The images on the extractor's device; as they are for a plain function. Gradients flow back."""
    device = extractor_device(extractor)
    return images if device is None else images.to(device)
