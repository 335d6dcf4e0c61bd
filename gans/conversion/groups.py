"""Which arrays of a checkpoint are the generator, and of which family."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from genmend.gans.families import LAYOUTS
from genmend.gans.families.layout import Layout, LayoutError, Shapes, State

__all__ = ["choose_group", "choose_layout", "groups_of"]

# The averaged generator is the one to use wherever there is one.
_PREFERRED = ("G_ema", "g_ema", "avgG", "netG_ema", "generator_smooth", "generator_ema", "params_ema")
_PLAIN = ("G", "g", "netG", "netG_state_dict", "generator", "params", "state_dict", "")
_AVERAGED = re.compile(r"(^|[._/-])(ema|avg|averaged?|smooth|shadow)([._/-]|$)|(Ema|Avg)([._/-]|$|[A-Z])|EMA")
_WRAPPED = re.compile(r"^((module|_orig_mod|G|generator|G_ema)\.)+")
_DEEPEST = 4  # names before a generator's own
_SHOWN = 12
# Generators that are not read, by parts of names that all of theirs have. Sources: NVlabs/stylegan3,
# ajbrock/BigGAN-PyTorch, POSTECH-CVLab/PyTorch-StudioGAN, odegeasslbc/FastGAN-pytorch, XPixelGroup/BasicSR,
# lucidrains/stylegan2-pytorch.
_UNREAD = {
    "StyleGAN3": (r"^mapping\.fc0\.", r"^synthesis\.input\.", r"^synthesis\.L\d+_"),
    "BigGAN-PyTorch": (r"^linear\.", r"^blocks\.0\.0\.(conv1|bn1)\.", r"^output_layer\."),
    "StudioGAN": (r"^linear0\.", r"^blocks\.0\.0\."),
    "FastGAN": (r"^init\.init\.0\.", r"^feat_\d+\.", r"^se_\d+\."),
    "BasicSR's StyleGAN2": (r"^style_mlp\.", r"^style_convs\.", r"^constant_input\."),
    "lucidrains' StyleGAN2": (r"initial_block", r"to_style1\."),
    "GenForce's StyleGAN": (r"^mapping\.dense0\.", r"^synthesis\.layer0\.", r"^synthesis\.output0\."),
}


def groups_of(arrays: Mapping[str, Tensor]) -> dict[str, State]:
    """The arrays of each group, i.e. those of one state dict or module, under the names that they have in it.

    A group without a generator's names may hold one under a name of its own, ``G.`` or ``_orig_mod.``: that part is a
    group too.
    """
    groups: dict[str, State] = {}
    for path, tensor in arrays.items():
        group, _, name = path.rpartition("/")
        groups.setdefault(group, {})[name] = tensor
    found: dict[str, State] = {}
    for group, state in groups.items():
        state = _unwrapped(state)
        found |= {group: state} if _layouts_of(state) else _parts(group, state) or {group: state}
    return found


def _unwrapped(state: State) -> State:
    """Without the prefixes that wrappers add to every name, as DataParallel and torch.compile do."""
    for prefix in ("module.", "_orig_mod.", "module."):
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _parts(group: str, state: State) -> dict[str, State]:
    """Those parts of a state dict that look like a generator: what stands under one dotted name."""
    found: dict[str, State] = {}
    prefixes = {".".join(name.split(".")[:depth]) for name in state for depth in range(1, _DEEPEST)}
    for prefix in sorted(prefixes, key=lambda one: (one.count("."), one)):
        if any(prefix.startswith(f"{outer}.") for outer in found):
            continue
        part = {name[len(prefix) + 1 :]: tensor for name, tensor in state.items() if name.startswith(f"{prefix}.")}
        if _layouts_of(part):
            found[prefix] = part
    return {f"{group}/{prefix}" if group else prefix: part for prefix, part in found.items()}


def _shapes(state: State) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _layouts(family: str) -> list[Layout]:
    return list(LAYOUTS.values()) if family == "auto" else [LAYOUTS[family]]


def _layouts_of(state: State, family: str = "auto") -> list[Layout]:
    shapes = _shapes(state)
    return [layout for layout in _layouts(family) if layout.matches(shapes)]


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
    fitting = [name for name, state in groups.items() if _layouts_of(state, family)]
    if len(fitting) == 1:
        return fitting[0]
    averaged = [name for name in fitting if _AVERAGED.search(name)]
    for name in (*_PREFERRED, *(averaged if len(averaged) == 1 else ()), *_PLAIN):
        if name in fitting:
            return name
    if fitting:
        raise LayoutError(
            f"Several groups could be the generator: {', '.join(map(repr, fitting))}; name one with --group."
        )
    listed = "\n  ".join(f"{name!r}: {_example(state)}" for name, state in groups.items())
    wanted = ", ".join(layout.name for layout in _layouts(family))
    raise LayoutError(
        f"No group of the file's arrays looks like {wanted}.{_known(groups)} The groups and their arrays:\n  {listed}"
    )


def choose_layout(state: State, family: str) -> Layout:
    """Return the family that was asked for, or the one whose names these are.

    Raises
    ------
    LayoutError
        If no family has such names.
    """
    if family != "auto":
        return LAYOUTS[family]
    fitting = _layouts_of(state)
    if len(fitting) != 1:
        raise LayoutError(
            f"These arrays are of no known family: {_example(state)}; name one with --family.{_known({'': state})}"
        )
    return fitting[0]


def _known(groups: Mapping[str, State]) -> str:
    """What the file is where we know it, and what to do with a model that is not read."""
    names = {_WRAPPED.sub("", name) for state in groups.values() for name in state}
    what = "Build any other model"
    for model, parts in _UNREAD.items():
        if all(any(re.search(part, name) for name in names) for part in parts):
            what = f"The names are those of {model}, which convert does not read: build it"
            break
    return (
        f" {what} with its own code, in a function without arguments that returns the nn.Module in eval mode (or a "
        "gans.Generator), and give MODEL as module:callable."
    )


def _example(state: State) -> str:
    shown = [f"{name} {tuple(tensor.shape)}" for name, tensor in list(state.items())[:_SHOWN]]
    more = len(state) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
