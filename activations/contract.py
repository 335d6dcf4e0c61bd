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

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import fields
from importlib import import_module
from numbers import Real
from typing import Any, TypeVar

import torch
from torch import Tensor

from genmend.activations.outputs import first_tensor, with_first_tensor

__all__ = [
    "Edit",
    "check_strength",
    "edit_class",
    "edit_name",
    "edit_type",
    "field_names",
    "same_values",
    "working_dtype",
]

# The only names a correction file may use, and the module that defines each. The module is imported when its name is
# met, never before: this room imports none of the others. A name that is not here is refused, so a file can choose
# among these classes and reach nothing else.
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


def edit_type(name: str) -> Callable[[EditClass], EditClass]:
    """Register an edit class under the name that correction files use for it.

    Raises
    ------
    ValueError
        If the name is not in this module's table, or another class has it.
    """
    if name not in _MODULES:
        raise ValueError(f"edit type {name!r} is not in the table {sorted(_MODULES)}; add it there.")

    def register(cls: EditClass) -> EditClass:
        known = _classes.get(name)
        # A module that is reloaded defines its classes again, under the same qualified name.
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(f"edit type {name!r} is already {known.__qualname__}; name {cls.__qualname__} otherwise.")
        _classes[name] = cls
        return cls

    return register


def edit_class(name: str) -> type[Edit]:
    """Return the class of a registered name, importing the room that defines it.

    Raises
    ------
    ValueError
        If the name is not in the table, or its room is not installed or does not define it.
    """
    module = _MODULES.get(name)
    if module is None:
        raise ValueError(f"edit type {name!r} is unknown; accepted are {sorted(_MODULES)}; update genmend.")
    if name not in _classes:
        try:
            import_module(module)
        except ImportError as error:
            raise ValueError(
                f"edit type {name!r} needs {module!r}, which does not import ({error}); install it."
            ) from error
    if name not in _classes:
        raise ValueError(f"edit type {name!r} is not defined by the installed {module!r}; update genmend.")
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
    raise ValueError(f"{type(edit).__qualname__} has no name in correction files; register it with @edit_type.")


def check_strength(strength: float) -> float:
    """Return a strength as a float in [0, 1], or raise ValueError (TypeError for what is no number)."""
    if isinstance(strength, bool) or not isinstance(strength, Real):
        raise TypeError(f"strength is {strength!r}, but a number in [0, 1] is needed; give 1.0 for the whole edit.")
    if not 0 <= strength <= 1:  # also NaN
        raise ValueError(f"strength is {strength}, but it must lie in [0, 1]; 0 is nothing and 1 the whole edit.")
    return float(strength)


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
