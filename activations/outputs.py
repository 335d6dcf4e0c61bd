"""The tensor inside a layer's output: many layers return a tuple whose first tensor is the activation."""

from __future__ import annotations

from typing import Any

from torch import Tensor

__all__ = ["first_tensor", "with_first_tensor"]


def first_tensor(output: Any, layer: str) -> Tensor:
    """Return the output itself, or the first tensor of a tuple or list.

    Raises
    ------
    TypeError
        If there is none, naming `layer`.
    """
    if isinstance(output, Tensor):
        return output
    return output[_position(output, layer)]


def with_first_tensor(output: Any, tensor: Tensor, layer: str) -> Any:
    """Return an output of the same type with `tensor` in the place of its first tensor; the old one is left alone."""
    if isinstance(output, Tensor):
        return tensor
    position = _position(output, layer)
    items = [*output[:position], tensor, *output[position + 1 :]]
    # A namedtuple is built from its fields one by one, every other sequence from one iterable.
    return type(output)(*items) if hasattr(output, "_fields") else type(output)(items)


def _position(output: Any, layer: str) -> int:
    if isinstance(output, tuple | list):
        for position, item in enumerate(output):
            if isinstance(item, Tensor):
                return position
    raise TypeError(
        f"Layer {layer!r} returned {type(output).__name__} without a tensor to work on; accepted are a tensor or a "
        f"tuple or list that holds one; choose a layer inside or around it."
    )
