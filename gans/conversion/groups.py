"""Which arrays of a checkpoint are the generator, and of which family."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from genmend.gans.families import LAYOUTS
from genmend.gans.families.layout import Layout, LayoutError, Shapes, State

__all__ = ["choose_group", "choose_layout", "groups_of"]

# The averaged generator is the one to use wherever there is one.
_PREFERRED = ("G_ema", "g_ema", "avgG", "netG_ema", "G", "g", "netG", "netG_state_dict", "generator", "state_dict", "")
_SHOWN = 12


def groups_of(arrays: Mapping[str, Tensor]) -> dict[str, State]:
    """The arrays of each group, i.e. those of one state dict or module, under the names that they have in it."""
    groups: dict[str, State] = {}
    for path, tensor in arrays.items():
        group, _, name = path.rpartition("/")
        groups.setdefault(group, {})[name] = tensor
    return {group: _unwrapped(state) for group, state in groups.items()}


def _unwrapped(state: State) -> State:
    """Without the prefix that DataParallel adds to every name."""
    wrapped = all(name.startswith("module.") for name in state)
    return {name.removeprefix("module.") if wrapped else name: tensor for name, tensor in state.items()}


def _shapes(state: State) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _layouts(family: str) -> list[Layout]:
    return list(LAYOUTS.values()) if family == "auto" else [LAYOUTS[family]]


def choose_group(groups: Mapping[str, State], family: str, group: str | None) -> str:
    """Return the group that was asked for, or the one that looks like a generator.

    Raises
    ------
    LayoutError
        If there is no such group, or none or several look like one.
    """
    if group is not None:
        if group not in groups:
            raise LayoutError(f"The file has no group {group!r}; it has {', '.join(map(repr, groups))}.")
        return group
    fitting = [name for name, state in groups.items() if any(lay.matches(_shapes(state)) for lay in _layouts(family))]
    if len(fitting) == 1:
        return fitting[0]
    for name in _PREFERRED:
        if name in fitting:
            return name
    if fitting:
        raise LayoutError(
            f"Several groups could be the generator: {', '.join(map(repr, fitting))}; name one with --group."
        )
    listed = "\n  ".join(f"{name!r}: {_example(state)}" for name, state in groups.items())
    wanted = ", ".join(layout.name for layout in _layouts(family))
    raise LayoutError(f"No group of the file's arrays looks like {wanted}. The groups and their arrays:\n  {listed}")


def choose_layout(state: State, family: str) -> Layout:
    """Return the family that was asked for, or the one whose names these are.

    Raises
    ------
    LayoutError
        If no family has such names.
    """
    if family != "auto":
        return LAYOUTS[family]
    fitting = [layout for layout in LAYOUTS.values() if layout.matches(_shapes(state))]
    if len(fitting) != 1:
        raise LayoutError(f"These arrays are of no known family: {_example(state)}; name one with --family.")
    return fitting[0]


def _example(state: State) -> str:
    shown = [f"{name} {tuple(tensor.shape)}" for name, tensor in list(state.items())[:_SHOWN]]
    more = len(state) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
