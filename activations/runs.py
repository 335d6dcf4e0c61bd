"""Layers that run several times in one forward pass: which of their runs a name means.

``act`` is every run of the layer, ``act#2`` the second one of each pass. A pass begins when the model is called; where
only parts of it are called, `begin_pass` says when.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

from genmend.activations.layers import find_layer, run_number

__all__ = ["WhichRun", "begin_pass", "count_runs", "hooked"]


class WhichRun:
    """Whether a layer's present run is the one that a name means; it is to be asked once a run.

    An object, not a closure: ``copy.deepcopy`` of a model with hooks then copies what its hooks count.
    """

    def __init__(self, model: nn.Module, name: str) -> None:
        self.number = run_number(model, name)
        self.runs = 0

    def is_meant(self) -> bool:
        """Count a run, and say whether it is meant: any run where the name has no number."""
        if self.number is None:
            return True
        self.runs += 1
        return self.runs == self.number


class _Begin:
    """The hook of the whole model: a pass begins."""

    def __init__(self, counted: list[WhichRun]) -> None:
        self.counted = counted

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        for which in self.counted:
            which.runs = 0


def count_runs(model: nn.Module, counted: Iterable[WhichRun]) -> RemovableHandle | None:
    """Let the runs of each pass be counted from 1; None, and no hook, where no name has a number."""
    numbered = [which for which in counted if which.number is not None]
    return find_layer(model, "").register_forward_pre_hook(_Begin(numbered), prepend=True) if numbered else None


def begin_pass(model: nn.Module) -> None:
    """Count the runs of layers from 1 again; needed only where parts of the model are called in place of it."""
    for hook in find_layer(model, "")._forward_pre_hooks.values():
        if isinstance(hook, _Begin):
            hook(model, ())


@contextmanager
def hooked(model: nn.Module, name: str, hook: Callable[..., Any], *, before: bool = False) -> Iterator[None]:
    """Call a forward hook (a pre-hook where `before`) at the run of a layer that its name means, within a block."""
    layer, which = find_layer(model, name), WhichRun(model, name)

    def at_the_run(*given: Any) -> Any:
        return hook(*given) if which.is_meant() else None

    place = layer.register_forward_pre_hook if before else layer.register_forward_hook
    handles = [place(at_the_run), count_runs(model, [which])]
    try:
        yield
    finally:
        for handle in handles:
            if handle is not None:
                handle.remove()
