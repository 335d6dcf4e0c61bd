"""Every run of a layer in one call of a model: what it was given and what it made."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from genmend.activations.layers import named_layers
from genmend.activations.outputs import first_tensor
from genmend.concepts.circuits.units import last_weighted, unit_axis
from genmend.concepts.scalar_target import as_module

__all__ = ["LayerCall", "between", "has_weights", "maker", "trace_calls"]


@dataclass(frozen=True, eq=False)
class LayerCall:
    """One run of a layer; the tensors are held, so that no two have one identity.

    Attributes
    ----------
    name : str
    module : nn.Module
    given : Any
        Its first argument.
    others, named : tuple, dict
        Its further ones.
    made : Tensor or None
        The first tensor of what it made.
    output : Tensor or None
        A copy of that, where it was asked for.
    axis : int
        Of the units in it.
    """

    name: str
    module: nn.Module
    given: Any
    others: tuple[Any, ...]
    named: dict[str, Any]
    made: Tensor | None
    output: Tensor | None
    axis: int

    def again(self, given: Tensor) -> Tensor:
        """What it makes of another first argument, ``(m, ...)``; further ones of one sample are repeated."""
        others = [_repeated(each, len(given)) for each in self.others]
        named = {name: _repeated(each, len(given)) for name, each in self.named.items()}
        return first_tensor(self.module(given, *others, **named), self.name)


def _repeated(value: Any, n: int) -> Any:
    if isinstance(value, Tensor) and value.ndim and len(value) == 1:
        return value.expand(n, *value.shape[1:])
    return value


def trace_calls(model: nn.Module, inputs: Tensor, keep: Collection[str] = ()) -> list[LayerCall]:
    """Every run of a layer, in the order in which they end; the outputs of those to `keep` are copied."""
    calls: list[LayerCall] = []
    module = as_module(model)
    handles = []
    with last_weighted(module) as last, torch.no_grad():
        for name, layer in named_layers(module).items():

            def hook(
                layer: nn.Module, args: tuple[Any, ...], named: dict[str, Any], output: Any, name: str = name
            ) -> None:
                items = [output] if isinstance(output, Tensor) else output if isinstance(output, tuple | list) else []
                made = next((item for item in items if isinstance(item, Tensor)), None)
                # What comes after may work in place.
                copy = made.clone() if made is not None and name in keep else None
                axis = 1 if made is None or made.ndim < 2 else unit_axis(made, last[0] if last else None)
                calls.append(LayerCall(name, layer, args[0] if args else None, args[1:], named, made, copy, axis))

            handles.append(layer.register_forward_hook(hook, with_kwargs=True))
        try:
            model(inputs)
        finally:
            for handle in handles:
                handle.remove()
    return calls


def between(trace: Sequence[LayerCall], before: LayerCall) -> tuple[LayerCall, ...]:
    """The layers that make the last call's output of an earlier one's, in order; none where not only layers do."""
    steps = [trace[-1]]
    # A layer that works in place returns the tensor that it was given: the run that ended last made it.
    start = trace.index(before) if before in trace else len(trace)
    earlier = [call for call in trace[start:-1] if call.name and not before.name.startswith(f"{call.name}.")]
    while steps[0].given is not before.made or steps[0].given is None:
        ended = earlier.index(steps[0]) if steps[0] in earlier else len(earlier)
        made_it = [call for call in earlier[:ended] if call.made is steps[0].given]
        if not made_it or made_it[-1] is before:
            return ()
        steps.insert(0, made_it[-1])
    return tuple(steps)


def maker(trace: Sequence[LayerCall], call: LayerCall) -> LayerCall | None:
    """The layer whose output, as it was made, is what a call was given; None where none is."""
    if call.given is None:
        return None
    made_it = [each for each in trace[: trace.index(call)] if each.made is call.given]
    return made_it[0] if made_it else None


def has_weights(module: nn.Module) -> bool:
    """Whether it, or a part of it, has parameters."""
    return any(True for _ in module.parameters())
