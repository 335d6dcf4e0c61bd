"""Edits that treat every sample of a batch in its own way: scale its units, or replace some of them by given maps.

Each holds one row per sample, in the order of the batch, and refuses a batch of another size.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from genmend.activations import Edit, edit_type
from genmend.activations.contract import checked_floating, working_dtype

__all__ = ["ReplaceUnits", "ScaleEachSample"]


@edit_type("gans.scale_each_sample")
@dataclass(frozen=True, eq=False)
class ScaleEachSample(Edit):
    """Multiply the units of each sample by its own factors: ``r * (1 + strength * (scale - 1))``.

    Attributes
    ----------
    layer : str
        Dotted name; its output is ``(n, units, ...)``.
    scale : Tensor
        Floating, ``(n, units)``, or ``(n, units, ...)`` with an axis of length 1 or full length for each position axis:
        0 switches off, 1 changes nothing. Gradients flow to it, also through `activations.edited`, which copies only
        tensors that need no gradient.
    strength : float
        In [0, 1].

    Examples
    --------
    >>> scale = torch.tensor([[1.0, 0.5], [0.0, 1.0]])
    >>> ScaleEachSample("main.5", scale).apply(torch.tensor([[2.0, 3.0], [2.0, 3.0]]))
    tensor([[2.0000, 1.5000],
            [0.0000, 3.0000]])
    """

    layer: str
    scale: Tensor
    strength: float = 1.0
    # Attaching an edit copies its tensors, cut from the graph; one that is being learnt is kept out of reach.
    _learnt: tuple[Tensor, ...] = field(init=False, repr=False, default=())

    def __post_init__(self) -> None:
        super().__post_init__()
        scale = checked_floating("scale", self.scale, detach=False)
        if scale.dim() < 2:
            raise ValueError(f"scale has shape {tuple(scale.shape)}; give one row of unit factors per sample, (n, C).")
        object.__setattr__(self, "scale", scale)
        object.__setattr__(self, "_learnt", (scale,) if scale.requires_grad else ())

    def apply(self, output: Tensor, strength: Tensor | float | None = None) -> Tensor:
        """Return ``(n, units, ...)``; where a factor is 1 the output keeps every bit."""
        dtype = working_dtype(output, self.layer)
        scale = self._learnt[0] if self._learnt else self.scale
        _check_batch(self, "scale", scale, output, all_units=True)
        amount = self.strength if strength is None else strength
        # float64 factors (of a float64 fit) shall not turn a float32 network into float64.
        factors = 1 + amount * (_spread(self, "scale", scale, output).to(output.device, dtype) - 1)
        scaled = (output * factors).to(output.dtype)
        # With gradients also where a factor is 1, or it could never leave that value.
        return scaled if factors.requires_grad else torch.where(factors == 1, output, scaled)


@edit_type("gans.replace_units")
@dataclass(frozen=True, eq=False)
class ReplaceUnits(Edit):
    """Put given maps in the place of some units, others in each sample: ``(1 - strength) * r + strength * values``.

    Attributes
    ----------
    layer : str
        Dotted name; its output is ``(n, units, ...)``.
    units : Tensor
        int64 ``(n, m)``: for each sample m channel indices, each once, from 0; -1 stands for none and fills up the
        rows of samples with fewer.
    values : Tensor
        Floating ``(n, m, ...)``: what to put there; position axes of length 1 or full length, or none at all.
    strength : float
        In [0, 1].

    Examples
    --------
    >>> edit = ReplaceUnits("main.5", torch.tensor([[0], [1]]), torch.tensor([[9.0], [8.0]]))
    >>> edit.apply(torch.tensor([[2.0, 3.0], [2.0, 3.0]]))
    tensor([[9., 3.],
            [2., 8.]])
    """

    layer: str
    units: Tensor
    values: Tensor
    strength: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        units, values = torch.as_tensor(self.units), checked_floating("values", self.values, detach=False)
        if units.dtype != torch.int64 or units.dim() != 2:
            raise TypeError(
                f"units has shape {tuple(units.shape)} and dtype {units.dtype}; give channel indices (n, m), int64."
            )
        if values.shape[:2] != units.shape:
            raise ValueError(
                f"values has shape {tuple(values.shape)} for units of shape {tuple(units.shape)}; give one map a unit."
            )
        ordered = units.sort(1).values
        repeated = (ordered.diff(dim=1) == 0) & (ordered[:, 1:] >= 0)
        if (units < -1).any() or repeated.any():
            raise ValueError("units has an index below -1, or one twice in the same sample; give each once, from 0.")
        object.__setattr__(self, "units", units)
        object.__setattr__(self, "values", values)

    def apply(self, output: Tensor, strength: Tensor | float | None = None) -> Tensor:
        """Return ``(n, units, ...)`` with the listed units replaced; the others keep every bit."""
        dtype = working_dtype(output, self.layer)
        _check_batch(self, "units", self.units, output, all_units=False)
        n_units = output.shape[1]
        if not (self.units >= 0).any():
            return output
        if self.units.max() >= n_units:
            raise ValueError(
                f"ReplaceUnits lists unit {int(self.units.max())} of layer {self.layer!r}, which has "
                f"{n_units}; count from 0."
            )
        # One unit more, cut off at the end, takes what is put into none.
        padded = torch.cat([output, output[:, :1]], 1) if (self.units < 0).any() else output
        units = torch.where(self.units < 0, n_units, self.units).to(output.device)
        index = units.reshape(*units.shape, *[1] * (output.dim() - 2)).expand(*units.shape, *output.shape[2:])
        listed = padded.gather(1, index)
        values = _spread(self, "values", self.values, listed).to(output.device, dtype)
        amount = torch.as_tensor(self.strength if strength is None else strength, dtype=dtype, device=output.device)
        replaced = ((1 - amount) * listed.to(dtype) + amount * values).to(output.dtype)
        return padded.scatter(1, index, torch.where(amount > 0, replaced, listed))[:, :n_units]


def _check_batch(edit: Edit, name: str, rows: Tensor, output: Tensor, *, all_units: bool) -> None:
    if output.dim() < 2 or len(rows) != len(output) or (all_units and rows.shape[1] != output.shape[1]):
        raise ValueError(
            f"{type(edit).__name__} cannot act on layer {edit.layer!r}: its {name} has shape {tuple(rows.shape)} and "
            f"the layer's output {tuple(output.shape)}, (samples, units, ...); ask for the edits of this very batch."
        )


def _spread(edit: Edit, name: str, values: Tensor, like: Tensor) -> Tensor:
    """Give ``(n, m)`` position axes of length 1; refuse position axes that do not fit."""
    if values.dim() == 2:
        return values.reshape(*values.shape, *[1] * (like.dim() - 2))
    wanted = like.shape[2:]
    if len(values.shape[2:]) != len(wanted) or any(
        have not in (1, want) for have, want in zip(values.shape[2:], wanted, strict=True)
    ):
        raise ValueError(
            f"{type(edit).__name__} cannot act on layer {edit.layer!r}: its {name} has shape {tuple(values.shape)} and "
            f"the layer's positions are {tuple(wanted)}; check the resolution."
        )
    return values
