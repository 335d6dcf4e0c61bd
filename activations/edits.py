"""The edits that fit any network: scale units, ablate or cap neurons, pull towards the mean, apply a function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from genmend.activations.contract import (
    Edit,
    checked_floating,
    checked_mask,
    checked_units,
    edit_type,
    working_dtype,
)

__all__ = ["AblateNeurons", "ApplyFunction", "CapNeurons", "PullToMean", "ScaleUnits"]


@edit_type("activations.scale_units")
@dataclass(frozen=True, eq=False)
class ScaleUnits(Edit):
    """Multiply whole units: ``r * (1 + strength * (scale - 1))``.

    Attributes
    ----------
    layer : str
        Dotted name; its output is ``(n, units, ...)``.
    units : sequence of int
        Channel indices, each once, from 0; kept as a tuple. None listed: nothing changes.
    scale : float or Tensor
        One factor, or one per listed unit, shape ``(len(units),)``: 0 switches off, 1 changes nothing.
    strength : float
        In [0, 1].

    Examples
    --------
    >>> ScaleUnits("main.5", [1], 0.0).apply(torch.tensor([[2.0, 3.0]]))
    tensor([[2., 0.]])
    """

    layer: str
    units: Sequence[int]
    scale: float | Tensor
    strength: float = 1.0
    _index: Tensor = field(init=False, repr=False)
    _change: Tensor = field(init=False, repr=False)  # scale - 1 of each listed unit

    def __post_init__(self) -> None:
        super().__post_init__()
        units = checked_units("units", self.units)
        scale: Any = self.scale
        if isinstance(scale, Real) and not isinstance(scale, bool):
            factors = torch.full((len(units),), float(scale), dtype=torch.float64)
            object.__setattr__(self, "scale", float(scale))
        else:
            factors = checked_floating("scale", scale)
            object.__setattr__(self, "scale", factors)
            if factors.shape != (len(units),):
                raise ValueError(
                    f"scale has shape {tuple(factors.shape)} for {len(units)} units; "
                    f"give one number, or a tensor of shape ({len(units)},)."
                )
        checked_floating("scale", factors)
        object.__setattr__(self, "units", units)
        object.__setattr__(self, "_index", torch.tensor(units, dtype=torch.int64))
        object.__setattr__(self, "_change", factors.to(torch.promote_types(factors.dtype, torch.float32)) - 1)

    def apply(self, output: Tensor, strength: Tensor | float | None = None) -> Tensor:
        """Return ``(n, units, ...)`` with the listed units multiplied; the others keep every bit."""
        dtype = working_dtype(output, self.layer)
        _fit_units(self, self.units, output)
        if not self.units:
            return output
        amount = self.strength if strength is None else strength
        index = self._index.to(output.device)
        factors = _along_units(1 + amount * self._change.to(output.device, dtype), output)
        listed = output.index_select(1, index)
        # Multiplying by 1 is not always nothing: half precision goes through float32, which rewrites NaN.
        scaled = torch.where(factors == 1, listed, (listed * factors).to(output.dtype))
        return output.index_copy(1, index, scaled)


@edit_type("activations.ablate_neurons")
@dataclass(frozen=True, eq=False)
class AblateNeurons(Edit):
    """Weaken or switch off single neurons, by default only where they are active: ``r * (1 - strength)``.

    Attributes
    ----------
    layer : str
        Dotted name.
    mask : Tensor
        bool, shaped like the layer's output for one sample; True where the edit may act.
    only_positive : bool
        Leave values <= 0 as they are.
    strength : float
        In [0, 1]; 1 sets to zero.

    Examples
    --------
    >>> AblateNeurons("main.5", torch.tensor([True, True, False])).apply(torch.tensor([[2.0, -3.0, 4.0]]))
    tensor([[ 0., -3.,  4.]])
    """

    layer: str
    mask: Tensor
    only_positive: bool = True
    strength: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "mask", checked_mask("mask", self.mask))
        if not isinstance(self.only_positive, bool):
            raise TypeError(f"only_positive is {self.only_positive!r}; accepted are True and False; choose one.")

    def apply(self, output: Tensor, strength: Tensor | float | None = None) -> Tensor:
        """Return ``(n, ...)`` with the masked neurons weakened; all others keep every bit."""
        dtype = working_dtype(output, self.layer)
        if output.shape[1:] != self.mask.shape:
            raise _misfit(self, "mask", self.mask, output, f"{tuple(output.shape[1:])}")
        amount = torch.as_tensor(self.strength if strength is None else strength, dtype=dtype, device=output.device)
        chosen = self.mask.to(output.device) & (amount > 0)
        if self.only_positive:
            chosen = chosen & (output > 0)
        weakened = (output.to(dtype) * (1 - amount)).to(output.dtype)
        return torch.where(chosen, weakened, output)


@edit_type("activations.cap_neurons")
@dataclass(frozen=True, eq=False)
class CapNeurons(Edit):
    """Cut single neurons down to a ceiling where they exceed it: ``r - strength * max(r - ceiling, 0)``.

    Milder than `AblateNeurons`: a neuron keeps what it has on normal samples and loses the excess.

    Attributes
    ----------
    layer : str
        Dotted name.
    ceiling : Tensor
        Floating, shaped like the layer's output for one sample, such as a mean over normal samples.
    mask : Tensor
        bool, of the same shape; True where the edit may act.
    strength : float
        In [0, 1]; 1 leaves nothing above the ceiling.

    Examples
    --------
    >>> mask = torch.tensor([True, True, False])
    >>> CapNeurons("main.5", torch.tensor([1.0, 1.0, 1.0]), mask).apply(torch.tensor([[0.5, 3.0, 4.0]]))
    tensor([[0.5000, 1.0000, 4.0000]])
    """

    layer: str
    ceiling: Tensor
    mask: Tensor
    strength: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "ceiling", checked_floating("ceiling", self.ceiling))
        object.__setattr__(self, "mask", checked_mask("mask", self.mask))
        if self.ceiling.shape != self.mask.shape:
            raise ValueError(
                f"ceiling has shape {tuple(self.ceiling.shape)} and mask {tuple(self.mask.shape)}; both must be shaped "
                "like the layer's output for one sample."
            )

    def apply(self, output: Tensor, strength: Tensor | float | None = None) -> Tensor:
        """Return ``(n, ...)`` with the masked neurons capped; all others keep every bit."""
        dtype = working_dtype(output, self.layer)
        if output.shape[1:] != self.mask.shape:
            raise _misfit(self, "mask", self.mask, output, f"{tuple(output.shape[1:])}")
        amount = torch.as_tensor(self.strength if strength is None else strength, dtype=dtype, device=output.device)
        values, ceiling = output.to(dtype), self.ceiling.to(output.device, dtype)
        chosen = self.mask.to(output.device) & (values > ceiling) & (amount > 0)
        return torch.where(chosen, (values - amount * (values - ceiling)).to(output.dtype), output)


@edit_type("activations.pull_to_mean")
@dataclass(frozen=True, eq=False)
class PullToMean(Edit):
    """Move activations towards a mean: ``(1 - strength) * r + strength * mean``.

    Attributes
    ----------
    layer : str
        Dotted name; its output is ``(n, units, ...)``.
    mean : Tensor
        Floating: one value per unit, ``(units,)``, or per neuron, shaped like the output for one sample.
    mask : Tensor or None
        bool, of either of these shapes: where the edit acts. None: everywhere.
    strength : float
        In [0, 1].
    units : sequence of int or None
        In place of `mask`, the indices of the units on which the edit acts.

    Examples
    --------
    >>> PullToMean("main.5", torch.tensor([1.0, 1.0]), units=[0], strength=0.5).apply(torch.tensor([[3.0, 3.0]]))
    tensor([[2., 3.]])
    """

    layer: str
    mean: Tensor
    mask: Tensor | None = None
    strength: float = 1.0
    units: Sequence[int] | None = None
    _index: Tensor | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "mean", checked_floating("mean", self.mean))
        if self.mask is not None and self.units is not None:
            raise ValueError("both mask and units are given, but only one can say where to act; leave one out.")
        if self.mask is not None:
            object.__setattr__(self, "mask", checked_mask("mask", self.mask))
        if self.units is not None:
            units = checked_units("units", self.units)
            object.__setattr__(self, "units", units)
            object.__setattr__(self, "_index", torch.tensor(units, dtype=torch.int64))

    def apply(self, output: Tensor, strength: Tensor | float | None = None) -> Tensor:
        """Return ``(n, units, ...)`` moved towards the mean where the edit acts; the rest keeps every bit."""
        dtype = working_dtype(output, self.layer)
        _fit_units(self, self.units or (), output)
        mean = self._spread("mean", self.mean, output).to(dtype)
        amount = torch.as_tensor(self.strength if strength is None else strength, dtype=dtype, device=output.device)
        pulled = ((1 - amount) * output.to(dtype) + amount * mean).to(output.dtype)
        # Adding 0 * mean is not always nothing: it turns -0.0 into 0.0.
        chosen = amount > 0
        if self.mask is not None:
            chosen = chosen & self._spread("mask", self.mask, output)
        elif self._index is not None:
            listed = torch.zeros(output.shape[1], dtype=torch.bool, device=output.device)
            listed = listed.index_fill(0, self._index.to(output.device), True)
            chosen = chosen & _along_units(listed, output)
        return torch.where(chosen, pulled, output)

    def _spread(self, name: str, values: Tensor, output: Tensor) -> Tensor:
        """Shape `values` so that they broadcast against the output."""
        if values.shape == output.shape[1:]:
            return values.to(output.device)
        if values.shape == output.shape[1:2]:
            return _along_units(values.to(output.device), output)
        raise _misfit(self, name, values, output, f"{tuple(output.shape[1:2])} or {tuple(output.shape[1:])}")


@dataclass(frozen=True, eq=False)
class ApplyFunction(Edit):
    """Put what a function returns in the place of the output: ``(1 - strength) * r + strength * function(r)``.

    For a quick try, without a class of its own; ``edited(model, {layer: function})`` makes one. A correction file can't
    hold it: for that, write a class and register it with `edit_type`.

    Attributes
    ----------
    layer : str
        Dotted name.
    function : callable
        Tensor -> tensor of the same shape and dtype. It gets a copy, so whatever it does with it in place is harmless.
    strength : float
        In [0, 1].

    Examples
    --------
    >>> ApplyFunction("main.5", torch.neg).apply(torch.tensor([[2.0, 3.0]]))
    tensor([[-2., -3.]])
    """

    layer: str
    function: Callable[[Tensor], Tensor]
    strength: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.function):
            raise TypeError(
                f"{self.function!r} was given for layer {self.layer!r}, but a function of a tensor is needed, e.g. "
                "lambda output: output * 0."
            )

    def apply(self, output: Tensor, strength: Tensor | float | None = None) -> Tensor:
        """Return the function's result where strength is 1, the output where it is 0, and else a mean of both.

        Raises
        ------
        TypeError
            If the function returns no tensor.
        ValueError
            If it returns a tensor of another shape or dtype.
        """
        dtype = working_dtype(output, self.layer)
        made = self.function(output.clone())
        if not isinstance(made, Tensor):
            raise TypeError(
                f"The function for layer {self.layer!r} returned {type(made).__name__}, but a tensor is needed; "
                "return the edited output."
            )
        if made.shape != output.shape or made.dtype != output.dtype:
            raise ValueError(
                f"The function for layer {self.layer!r} returned {made.dtype} of shape {tuple(made.shape)} for "
                f"{output.dtype} of shape {tuple(output.shape)}; return a tensor of the same dtype and shape."
            )
        amount = torch.as_tensor(self.strength if strength is None else strength, dtype=dtype, device=output.device)
        mixed = ((1 - amount) * output.to(dtype) + amount * made.to(dtype)).to(output.dtype)
        return torch.where(amount < 1, torch.where(amount > 0, mixed, output), made)


def _fit_units(edit: Edit, units: Sequence[int], output: Tensor) -> None:
    if output.dim() < 2 or (units and max(units) >= output.shape[1]):
        raise ValueError(
            f"{type(edit).__name__} cannot act on layer {edit.layer!r}: it lists units up to {max(units, default=0)}, "
            f"and the layer's output has shape {tuple(output.shape)}, (samples, units, ...); check both."
        )


def _along_units(values: Tensor, output: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (output.dim() - 2))


def _misfit(edit: Edit, name: str, values: Tensor, output: Tensor, accepted: str) -> ValueError:
    return ValueError(
        f"{type(edit).__name__} cannot act on layer {edit.layer!r}: its {name} has shape {tuple(values.shape)} "
        f"and the layer's output for one sample needs {accepted}; check the layer and the resolution."
    )
