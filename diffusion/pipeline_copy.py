"""Several users of one pipeline: copies with hooks and steps of their own over the same weights."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, TypeVar

from torch import Tensor, nn

__all__ = ["copy_with_shared_weights"]

Pipeline = TypeVar("Pipeline")


def copy_with_shared_weights(pipe: Pipeline) -> Pipeline:
    """Copy a diffusers pipeline but for its weights, which both use: it may draw, amplified or not, beside the other.

    Hooks, the scheduler's place among its steps and the tokenizer's settings are the copy's own. Nobody may change the
    weights of either, move one to another device, or offload it.
    """
    parts: dict[str, Any] = getattr(pipe, "components", {})
    modules = [part for part in parts.values() if isinstance(part, nn.Module)]
    tensors: list[Tensor] = [tensor for part in modules for tensor in (*part.parameters(), *part.buffers())]
    return deepcopy(pipe, {id(tensor): tensor for tensor in tensors})
