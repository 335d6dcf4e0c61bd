"""How a public checkpoint is laid out, and how its arrays become those of our module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

from torch import Tensor, nn

from genmend.activations.digests import layout_difference, model_layout
from genmend.gans.generator import Generator

__all__ = ["Config", "FamilyOptions", "Layout", "LayoutError", "Shapes", "State", "check_shapes", "load_weights"]

State = dict[str, Tensor]
Shapes = Mapping[str, tuple[int, ...]]
Config = dict[str, Any]


class FamilyOptions(TypedDict, total=False):
    """What can be chosen when a converted generator is loaded; each family has some of these.

    Attributes
    ----------
    psi : float
        Truncation of StyleGAN2, 0 (one image) to 1 (none).
    space : str
        Latent space of StyleGAN2: ``z``, ``w`` or ``w+``.
    truncation : float
        Bound of BigGAN-deep's truncated normal latents.
    label : int or None
        Class of a conditional generator; where None the latent's last number chooses it.
    """

    psi: float
    space: str
    truncation: float
    label: int | None


class LayoutError(ValueError):
    """Arrays that are not those of the family; the message lists every name and shape that doesn't fit."""


@dataclass(frozen=True)
class Layout:
    """One way in which generators of a family are stored.

    Attributes
    ----------
    name : str
        As in ``genmend convert --family``.
    source : str
        Where names and shapes were read: repository, commit, file.
    marks : tuple of str
        Beginnings of names that every such checkpoint has, and no other layout has all of.
    config : callable
        ``config(shapes, stored)``: what `build` needs, plain JSON values. `shapes` are the file's; `stored` is what
        else the file said of itself. Raises LayoutError where sizes can't be told.
    expected : callable
        ``expected(config)``: names and shapes of a checkpoint of this layout.
    translate : callable
        ``translate(state, config)``: the arrays under the names of our module.
    build : callable
        ``build(config)``: our module, in eval mode, without weights.
    adapt : callable
        ``adapt(module, config, name, options)``: the `Generator`.
    options : dict
        What a user can choose when loading, with the defaults.
    extras : tuple of str
        Arrays that may stand beside the generator's in the file, and are used where they do.
    recognises : callable, optional
        ``recognises(shapes)``: whether a file is of this layout, where beginnings of names do not tell.
    """

    name: str
    source: str
    marks: tuple[str, ...]
    config: Callable[[Shapes, Mapping[str, Any]], Config]
    expected: Callable[[Config], Shapes]
    translate: Callable[[State, Config], State]
    build: Callable[[Config], nn.Module]
    adapt: Callable[[nn.Module, Config, str, Mapping[str, Any]], Generator]
    options: Mapping[str, Any]
    extras: tuple[str, ...] = ()
    recognises: Callable[[Shapes], bool] | None = None

    def matches(self, shapes: Shapes) -> bool:
        """Whether the names look like this layout's."""
        if self.recognises is not None:
            return self.recognises(shapes)
        return all(any(name.startswith(mark) for name in shapes) for mark in self.marks)


def check_shapes(layout: str, expected: Shapes, shapes: Shapes) -> None:
    """Raise LayoutError with every missing, unexpected and wrongly shaped array, if there is one."""
    differences = layout_difference(expected, shapes)
    if differences:
        listed = "\n  ".join(differences)
        raise LayoutError(f"The file does not fit the layout {layout} in {len(differences)} arrays:\n  {listed}")


def load_weights(module: nn.Module, state: State) -> nn.Module:
    """Load these weights into the module and freeze it.

    One that was built on the meta device takes memory now that the weights are known to fit.

    Raises
    ------
    LayoutError
        With every name and shape that doesn't fit.
    """
    check_shapes("of our module", model_layout(module), {name: tuple(tensor.shape) for name, tensor in state.items()})
    if any(tensor.is_meta for tensor in module.state_dict().values()):
        module.to_empty(device="cpu")
    module.load_state_dict(state)
    return module.eval().requires_grad_(False)
