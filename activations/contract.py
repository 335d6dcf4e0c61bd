"""What an edit is, and by which name a file may call for one.

An edit is a frozen dataclass: which layer, what to do with its output, with which tensors::

    @edit_type("activations.scale_units")
    @dataclass(frozen=True, eq=False)
    class ScaleUnits(Edit):
        layer: str
        units: tuple[int, ...]
        scale: float | Tensor
        strength: float = 1.0

        def apply(self, output, strength=None): ...

Its fields are strings, numbers, tuples of numbers, None, or tensors; so any edit can be compared, saved and loaded.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from importlib import import_module
from numbers import Real
from typing import Any, TypeVar

import torch
from torch import Tensor

from genmend.activations.outputs import first_tensor, with_first_tensor

__all__ = [
    "Edit",
    "check_strength",
    "checked_floating",
    "checked_mask",
    "checked_units",
    "edit_class",
    "edit_name",
    "edit_type",
    "field_names",
    "same_values",
    "working_dtype",
]

# Names that a correction file may use, and the module that defines each. The module is imported when its name is met,
# never before: this room imports none of the others. Beside these a file may name a user's own edit type, as
# ``module:Class``, which must have been registered before: no file can have anything else imported or run.
_MODULES = {
    "activations.scale_units": "genmend.activations.edits",
    "activations.ablate_neurons": "genmend.activations.edits",
    "activations.pull_to_mean": "genmend.activations.edits",
    "activations.cap_neurons": "genmend.activations.edits",
    "diffusion.amplify_band": "genmend.diffusion.amplification.control_bands",
    "diffusion.amplify_low_frequencies": "genmend.diffusion.amplification.low_frequencies",
    "diffusion.amplify_token_update": "genmend.diffusion.amplification.token_update",
    "gans.replace_units": "genmend.gans.correctors.sample_edits",
    "gans.scale_each_sample": "genmend.gans.correctors.sample_edits",
    "tts.replace_vectors": "genmend.tts.voices.replace_vectors",
}
_classes: dict[str, type[Edit]] = {}

EditClass = TypeVar("EditClass", bound="type[Edit]")


class Edit(ABC):
    """Base of all edits; subclasses are frozen dataclasses with ``eq=False`` (tensors compare badly otherwise).

    Attributes
    ----------
    layer : str
        Dotted name of the layer whose output is edited.
    strength : float
        How much of the edit is applied, from 0 (nothing: the output keeps every bit) to 1 (all).
    """

    layer: str
    strength: float

    def __post_init__(self) -> None:
        if not isinstance(self.layer, str):
            raise TypeError(f"layer is {self.layer!r}, but the name of a layer is needed; see activations.layer_names.")
        object.__setattr__(self, "strength", check_strength(self.strength))

    @abstractmethod
    def apply(self, output: Tensor, strength: Tensor | float | None = None) -> Tensor:
        """Return the edited output.

        Parameters
        ----------
        output
            What the layer returned, ``(n, units, ...)``, of any floating dtype and on any device; it is never changed.
        strength
            In place of the edit's own; a 0-d tensor when the edit is attached, so that changing it recompiles nothing.

        Raises
        ------
        ValueError
            If the shape does not fit the edit, naming the layer.
        """

    def edit_output(self, output: Any, inputs: tuple[Any, ...], named_inputs: dict[str, Any], strength: Tensor) -> Any:
        """Return what the layer is to return in place of `output`; called by the hook that `attach` registers.

        By default the first tensor is replaced by what `apply` makes of it. A subclass overrides this where it needs
        the layer's inputs, or another one of several tensors.
        """
        tensor = first_tensor(output, self.layer)
        return with_first_tensor(output, self.apply(tensor, strength.to(tensor.device)), self.layer)

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(same_values(getattr(self, name), getattr(other, name)) for name in field_names(type(self)))

    def __hash__(self) -> int:
        return hash((type(self), self.layer))


def edit_type(name: str | None = None) -> Callable[[EditClass], EditClass]:
    """Register an edit class, so that correction files can hold its edits.

    Parameters
    ----------
    name
        For genmend's own: the name in files. Leave it out for a class of yours, whose name in files is
        ``module:Class``; such a file can be loaded where that module has been imported.

    Raises
    ------
    ValueError
        If the name is not in this module's table, another class has it, or a class of yours is defined in a function.
    TypeError
        If the class is no frozen dataclass derived from `Edit`.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @edit_type()
    ... @dataclass(frozen=True, eq=False)
    ... class Negate(Edit):
    ...     layer: str
    ...     strength: float = 1.0
    ...
    ...     def apply(self, output, strength=None):
    ...         return output * (1 - 2 * (self.strength if strength is None else strength))
    """
    if name is not None and name not in _MODULES:
        raise ValueError(f"edit type {name!r} is not in the table {sorted(_MODULES)}; leave the name out for your own.")

    def register(cls: EditClass) -> EditClass:
        called = _own_name(cls) if name is None else name
        known = _classes.get(called)
        # A module that is reloaded defines its classes again, under the same qualified name.
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(
                f"edit type {called!r} is already {known.__qualname__}; name {cls.__qualname__} otherwise."
            )
        _classes[called] = cls
        return cls

    return register


def _own_name(cls: type[Edit]) -> str:
    if not (isinstance(cls, type) and issubclass(cls, Edit) and is_dataclass(cls)):
        raise TypeError(f"{cls!r} is no dataclass derived from Edit; write @edit_type() above @dataclass(frozen=True).")
    if "<locals>" in cls.__qualname__:
        raise ValueError(f"{cls.__qualname__} is defined in a function, where no file finds it; define it in a module.")
    return f"{cls.__module__}:{cls.__qualname__}"


def edit_class(name: str) -> type[Edit]:
    """Return the class of a registered name, importing the room of genmend that defines it, and no other module.

    Raises
    ------
    ValueError
        If the name is not known, its room is not installed or does not define it, or it is of a module that has not
        been imported.
    """
    if name in _classes:
        return _classes[name]
    module, colon, _ = name.partition(":")
    if colon:
        remedy = f"import {module} first, if you trust it"
        if module in sys.modules:  # also __main__, the user's own script
            remedy = "define it there, with @edit_type(), first"
        raise ValueError(f"edit type {name!r} is of no class that is registered here; {remedy}.")
    room = _MODULES.get(name)
    if room is None:
        raise ValueError(f"edit type {name!r} is unknown; accepted are {sorted(_MODULES)}; update genmend.")
    try:
        import_module(room)
    except ImportError as error:
        raise ValueError(f"edit type {name!r} needs {room!r}, which does not import ({error}); install it.") from error
    if name not in _classes:
        raise ValueError(f"edit type {name!r} is not defined by the installed {room!r}; update genmend.")
    return _classes[name]


def edit_name(edit: Edit) -> str:
    """Return the name an edit's class is registered under.

    Raises
    ------
    ValueError
        If it is not registered, so that no file could name it.
    """
    for name, cls in _classes.items():
        if cls is type(edit):
            return name
    raise ValueError(f"{type(edit).__qualname__} has no name in correction files; register a class with @edit_type().")


def check_strength(strength: float) -> float:
    """Return a strength as a float in [0, 1], or raise ValueError (TypeError for what is no number)."""
    if isinstance(strength, bool) or not isinstance(strength, Real):
        raise TypeError(f"strength is {strength!r}, but a number in [0, 1] is needed; give 1.0 for the whole edit.")
    if not 0 <= strength <= 1:  # also NaN
        raise ValueError(f"strength is {strength}, but it must lie in [0, 1]; 0 is nothing and 1 the whole edit.")
    return float(strength)


def checked_units(name: str, indices: Sequence[int]) -> tuple[int, ...]:
    """Return indices, of channels or tokens, as a tuple of different numbers from 0; none at all are accepted.

    Raises
    ------
    TypeError
        If they are no flat list of whole numbers, a boolean mask for one.
    ValueError
        If one is below 0, or stands there twice.
    """
    values = _as_tensor(name, indices)
    if values.numel() == 0:
        return ()
    if values.dim() != 1 or values.is_floating_point() or values.is_complex() or values.dtype == torch.bool:
        raise TypeError(
            f"{name} has shape {tuple(values.shape)} and dtype {values.dtype}, but a flat list of indices is needed; "
            "for a boolean mask pass mask.nonzero()[:, 0]."
        )
    listed = tuple(values.tolist())
    if min(listed) < 0 or len(set(listed)) < len(listed):
        raise ValueError(f"{name} is {listed}, but indices count from 0, each at most once; remove the others.")
    return listed


def checked_floating(name: str, values: Any, *, detach: bool = True) -> Tensor:
    """Return values as a tensor of finite floating numbers, cut from the graph unless `detach` is False.

    Raises
    ------
    TypeError
        If they are no floating numbers.
    ValueError
        If one is NaN or infinite.
    """
    tensor = _as_tensor(name, values)
    if not tensor.is_floating_point():
        raise TypeError(f"{name} has dtype {tensor.dtype}, but floating values are needed; convert it with .float().")
    if not tensor.isfinite().all():
        raise ValueError(f"{name} has NaN or infinite values, but finite ones are needed; check where it comes from.")
    return tensor.detach() if detach else tensor


def checked_mask(name: str, values: Any) -> Tensor:
    """Return values as a boolean tensor, or raise TypeError for another dtype."""
    tensor = _as_tensor(name, values)
    if tensor.dtype != torch.bool:
        raise TypeError(
            f"{name} has dtype {tensor.dtype}, but a boolean mask is needed; write `values > threshold`, "
            "or pass indices as units where the edit takes them."
        )
    return tensor.detach()


def _as_tensor(name: str, values: Any) -> Tensor:
    try:
        return torch.as_tensor(values)
    except (RuntimeError, ValueError) as error:  # torch raises RuntimeError for what it cannot convert
        raise TypeError(f"{name} cannot be made a tensor ({error}); give a tensor, an array or a flat list.") from error


def working_dtype(output: Tensor, layer: str) -> torch.dtype:
    """Return the dtype an edit computes in: at least float32, so that half precision is rounded once, at the end.

    Raises
    ------
    ValueError
        If the output is not floating.
    """
    if not output.is_floating_point():
        raise ValueError(
            f"Layer {layer!r} returned {output.dtype}, but edits need a floating one; choose another layer."
        )
    return torch.promote_types(output.dtype, torch.float32)


def same_values(one: Any, other: Any) -> bool:
    """Whether two nests of dicts, sequences, tensors and plain values are equal, tensors in dtype and every element."""
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        if not (isinstance(one, Tensor) and isinstance(other, Tensor)):
            return False
        return one.dtype == other.dtype and one.shape == other.shape and torch.equal(one.cpu(), other.cpu())
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_values(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same_values, one, other))
    return bool(one == other)


def field_names(cls: type[Edit]) -> list[str]:
    """List the fields an edit is constructed from, which are those that are compared and saved."""
    return [field.name for field in fields(cls) if field.init]  # type: ignore[arg-type]
