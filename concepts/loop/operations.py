"""What a model does in one forward pass: the operations that ran, whatever classes its modules are of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from genmend.activations.layers import named_layers
from genmend.concepts.scalar_target import as_module, check_inputs, scores_of, spread_of

__all__ = ["ModelFacts", "trace_model"]

#: How names of torch's operations begin, and what they are.
_FAMILIES = {
    "convolution": "convolution",
    "mkldnn_convolution": "convolution",
    "addmm": "linear",
    "mm": "linear",
    "native_batch_norm": "batch norm",
    "_native_batch_norm": "batch norm",
    "cudnn_batch_norm": "batch norm",
    "native_layer_norm": "layer norm",
    "native_group_norm": "group norm",
    "_scaled_dot_product": "attention",
    "scaled_dot_product": "attention",
    "relu": "relu",
    "hardtanh": "clamped relu",
    "gelu": "smooth gate",
    "silu": "smooth gate",
    "mish": "smooth gate",
    "hardswish": "smooth gate",
    "hardsigmoid": "smooth gate",
    "sigmoid": "smooth gate",
    "tanh": "smooth gate",
    "elu": "smooth gate",
    "softplus": "smooth gate",
    "embedding": "embedding",
    "lstm": "recurrence",
    "mkldnn_rnn": "recurrence",
    "gru": "recurrence",
    "rnn": "recurrence",
    "max_pool": "max pooling",
    "bernoulli": "randomness",
    "rand": "randomness",
}


@dataclass(frozen=True)
class ModelFacts:
    """What one forward pass showed.

    Attributes
    ----------
    families : frozenset of str
        Of operations: 'convolution', 'attention', 'linear', 'relu', 'smooth gate', 'layer norm', ...
    differentiable : bool
        Whether the score has a gradient by the input.
    spread : float
        Largest difference of two runs on one input, see `spread_of`; 0 for a deterministic model.
    last_maps : str or None
        The last layer whose output is maps ``(n, channels, h, w)`` of more than one position.
    n_classes : int
        Numbers that the model gives a sample.
    last_linear : str or None
        The linear layer that gives them; None where another layer or operation does.
    """

    families: frozenset[str]
    differentiable: bool
    spread: float
    last_maps: str | None
    n_classes: int
    last_linear: str | None = None


class _Operations(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func.name().removeprefix("aten::"))
        return func(*args, **(kwargs or {}))


def trace_model(model: nn.Module, inputs: Tensor) -> ModelFacts:
    """Run the model on a few inputs, and say what it consists of.

    Parameters
    ----------
    model
        In evaluation mode.
    inputs
        Shape ``(n, ...)``; two are enough.

    Raises
    ------
    TypeError, ValueError
        If the model is none or in training mode, the inputs are no finite floating-point tensor, or the output has NaN.
    """
    module, inputs = as_module(model), check_inputs(inputs).detach()
    maps: list[str] = []
    linear: dict[str, Tensor] = {}
    layers = {name: layer for name, layer in named_layers(module).items() if name}
    handles = [layer.register_forward_hook(_noting_maps(name, maps)) for name, layer in layers.items()]
    handles += [
        layer.register_forward_hook(_noting_output(name, linear))
        for name, layer in layers.items()
        if isinstance(layer, nn.Linear)
    ]
    try:
        with torch.no_grad(), _Operations() as operations:
            first = scores_of(module(inputs))
    finally:
        for handle in handles:
            handle.remove()
    if not bool(torch.isfinite(first).all()):
        raise ValueError(
            "The model gave NaN or infinity for these inputs: look at their size, range and normalisation."
        )
    # Twice as it is called later: watched, an extractor may run by another engine.
    spread = spread_of(lambda some: scores_of(module(some)), inputs)
    given = inputs.clone().requires_grad_()
    with torch.enable_grad():
        differentiable = scores_of(module(given)).requires_grad
    last_linear = next(
        (name for name, given in linear.items() if given.shape == first.shape and given.eq(first).all()), None
    )
    return ModelFacts(
        _families(operations.names),
        differentiable,
        spread,
        maps[-1] if maps else None,
        first[0].numel(),
        last_linear,
    )


def _noting_maps(name: str, maps: list[str]) -> Callable[..., None]:
    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[2] * output.shape[3] > 1:
            maps.append(name)

    return hook


def _noting_output(name: str, found: dict[str, Tensor]) -> Callable[..., None]:
    def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
        found[name] = output

    return hook


def _families(names: list[str]) -> frozenset[str]:
    found = {family for name in names for start, family in _FAMILIES.items() if name.startswith(start)}
    # Attention written out: a softmax between two batched products.
    products = [number for number, name in enumerate(names) if "bmm" in name]
    weights = [number for number, name in enumerate(names) if "softmax" in name]
    if any(
        any(before < number for before in products) and any(after > number for after in products) for number in weights
    ):
        found.add("attention")
    return frozenset(found)
