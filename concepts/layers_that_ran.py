"""What is said of a layer that never runs when a model is called: which layers do."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from genmend.activations.layers import named_layers

__all__ = ["layers_that_ran", "never_ran"]

N_SAID = 8  # layers, the nearest by name


def layers_that_ran(model: nn.Module, inputs: Tensor, run: Callable[[Tensor], Any] | None = None) -> list[str]:
    """The names of the layers that run when the model is called, in the order in which they first end.

    Parameters
    ----------
    model
    inputs
        Shape ``(n, ...)``.
    run
        Runs the model where it is not called with the inputs alone.
    """
    ran: list[str] = []
    handles = [
        layer.register_forward_hook(lambda *_, name=name: ran.append(name))
        for name, layer in named_layers(model).items()
        if name
    ]
    try:
        with torch.no_grad():
            (run or model)(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return list(dict.fromkeys(ran))


def never_ran(model: nn.Module, layer: str, inputs: Tensor, run: Callable[[Tensor], Any] | None = None) -> ValueError:
    """The error for a layer that never ran; its message has the layers that did, of many the nearest by name.

    Parameters are those of `layers_that_ran`.
    """
    ran = layers_that_ran(model, inputs, run)
    near = get_close_matches(layer, ran, n=N_SAID, cutoff=0.0)
    said = ", ".join(repr(name) for name in ran if name in near)
    others = f" and {len(ran) - len(near)} more" if len(ran) > len(near) else ""
    return ValueError(
        f"layer {layer!r} never ran when the model was called: name one that runs ({said or 'there is none'}{others})."
    )
