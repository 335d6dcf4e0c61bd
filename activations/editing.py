"""Attach edits to a model, change their strength, and take them off again."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from genmend.activations.compiled import compiled_and_run, mark, unmark
from genmend.activations.contract import Edit
from genmend.activations.correction import Correction
from genmend.activations.edits import ApplyFunction
from genmend.activations.layers import find_layer
from genmend.activations.runs import WhichRun, count_runs

__all__ = ["Handle", "attach", "edited"]

Functions = Mapping[str, Callable[[Tensor], Tensor]]


class _EditHook:
    """One attached edit. An object, not a closure: ``copy.deepcopy`` of the model then copies its tensors too."""

    def __init__(self, edit: Edit, layer: nn.Module, model: nn.Module) -> None:
        self.edit = edit
        self.which = WhichRun(model, edit.layer)
        self.ran = False
        device, dtype = _place(layer, model)
        # Tensors made under torch.inference_mode could neither be filled nor used in training later on.
        with torch.inference_mode(False), torch.no_grad():
            self.strength = torch.tensor(edit.strength, device=device, dtype=dtype)
            self.placed = _on_device(edit, device)

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...], named_inputs: dict[str, Any], output: Any) -> Any:
        if not self.which.is_meant():
            return output
        self.ran = True
        return self.placed.edit_output(output, inputs, named_inputs, self.strength)

    def set(self, edit: Edit) -> None:
        self.edit = edit
        self.strength.fill_(edit.strength)

    def refit(self, edit: Edit) -> None:
        self.set(edit)
        with torch.inference_mode(False), torch.no_grad():
            self.placed = _on_device(edit, self.strength.device)


class Handle:
    """What `attach` returns: the way to change and to remove the edits it attached. A context manager.

    Dropping it without `remove` leaves the edits on the model.
    """

    def __init__(self, attached: list[tuple[nn.Module, _EditHook, RemovableHandle]]) -> None:
        self._attached = attached
        self._beginning: RemovableHandle | None = None

    @property
    def edits(self) -> tuple[Edit, ...]:
        """The attached edits with their present strengths, in the order given; empty once removed."""
        return tuple(hook.edit for _, hook, _ in self._attached)

    def set(self, *, strength: float, edit: int | None = None) -> None:
        """Change the strength of all edits, or of the one with this position in the order given.

        Takes effect at the next call of the model and recompiles nothing.

        Raises
        ------
        ValueError, TypeError
            If the strength is out of range; none has been changed then.
        IndexError
            If there is no such edit.
        RuntimeError
            If the handle has been removed.
        """
        if not self._attached:
            raise RuntimeError("set() was called on a handle that has no edits attached; attach them again first.")
        if edit is not None and not 0 <= edit < len(self._attached):
            raise IndexError(f"edit is {edit}, but accepted are 0 to {len(self._attached) - 1}; see repr(handle).")
        hooks = [hook for position, (_, hook, _) in enumerate(self._attached) if edit in (None, position)]
        changed = [replace(hook.edit, strength=strength) for hook in hooks]  # type: ignore[type-var]
        for hook, new in zip(hooks, changed, strict=True):
            hook.set(new)

    def refit(self, edits: Sequence[Edit]) -> None:
        """Put other edits of the same layers in the place of the attached ones, in the same order.

        Unlike attaching anew it is seen by a compiled model that has run, which is compiled again.

        Raises
        ------
        ValueError
            If they are not as many, or of other layers; nothing has been changed then.
        """
        if [edit.layer for edit in edits] != [edit.layer for edit in self.edits]:
            raise ValueError("refit() needs one edit for each attached one, of the same layer; attach others anew.")
        for (_, hook, _), edit in zip(self._attached, edits, strict=True):
            hook.refit(edit)

    def suspend(self) -> None:
        """Take the edits off until `resume`; the handle keeps them. Suspended already: does nothing."""
        for layer, _, handle in reversed(self._attached):
            handle.remove()
            _unmark_if_bare(layer)

    def resume(self) -> None:
        """Put suspended edits back, behind whatever has been attached since."""
        self.suspend()
        self._attached = [
            (layer, hook, layer.register_forward_hook(hook, with_kwargs=True)) for layer, hook, _ in self._attached
        ]
        for layer, _, _ in self._attached:
            mark(layer)

    def remove(self, *, warn: bool = True) -> None:
        """Take the edits off; the model is as it was before. A second call does nothing.

        Parameters
        ----------
        warn
            Warn, by name, of layers that never ran: their edits had no effect.
        """
        idle = self._take_off()
        if idle and warn:
            warnings.warn(
                f"Edits had no effect because their layers never ran while attached: {', '.join(map(repr, idle))}; "
                "check that the model uses them.",
                stacklevel=2,
            )

    def _take_off(self) -> list[str]:
        attached, self._attached = self._attached, []
        if self._beginning is not None:
            self._beginning.remove()
        for layer, _, handle in reversed(attached):
            handle.remove()
            _unmark_if_bare(layer)
        return list(dict.fromkeys(hook.edit.layer for _, hook, _ in attached if not hook.ran))

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        self.remove(warn=kind is None)  # an error says why a layer did not run

    def __repr__(self) -> str:
        listed = (f"{type(edit).__name__} on {edit.layer!r} at strength {edit.strength:g}" for edit in self.edits)
        return f"<Handle: {', '.join(listed) or 'nothing attached'}>"


def attach(
    model: nn.Module,
    *edits: Edit | Functions | Correction,
    rung: int | None = None,
    allow_other_weights: bool = False,
    even_if_compiled: bool = False,
) -> Handle:
    """Attach edits, or one rung of a correction, until ``handle.remove()``.

    Edits act as forward hooks, out of place. On different layers they act in the order the layers run, each seeing what
    the earlier ones did; on the same layer in the order given. An edit of ``act#2`` acts on the second run of the layer
    ``act`` in each call of the model, one of ``act`` on all. Either all are attached or, on any error, none. Tensors
    of the edits are copied to the layer's device, and follow if the output is on another one.

    Parameters
    ----------
    model
        Any module; nothing but hook tables (and, while attached, the instance attribute ``forward`` of edited layers,
        see `genmend.activations.compiled`) is touched.
    *edits
        Edits, also as functions by layer, ``{"main.5": torch.relu}`` (see `ApplyFunction`), or one `Correction` alone.
    rung
        With a correction: which rung of its ladder, from 0, weak to strong.
    allow_other_weights
        With a correction: attach it although the model's weights are not those it was made for.
    even_if_compiled
        Also where a compiled module has already run, whose graphs are then built anew at the next call.

    Returns
    -------
    Handle

    Raises
    ------
    UnknownLayerError
        If an edit names a layer the model does not have.
    CorrectionMismatchError
        If the correction was made for another model.
    RuntimeError
        If a layer lies in a compiled module that has already run.
    TypeError
        If a layer lies in a scripted or traced module, which runs without hooks.

    Notes
    -----
    **torch.compile**: attach before the first compiled call, with strength 0 what ``handle.set`` is to switch on later.
    Modules compiled by ``torch.compile(module)`` and ``module.compile()``
    which have run are recognised and refused, also if they only contain the model or are a part of it around the layer.
    A compiled *function* that calls the model is not recognised; its graph is rebuilt with the edits at the next call.

    **Threads**: edits belong to the model, not to the thread that attached them, so two threads that edit one model at
    the same time see each other's edits, also inside `edited`. Give each thread a copy of the model, or a lock.

    **Activation checkpointing** (``torch.utils.checkpoint``) computes parts of the forward pass anew during
    ``backward``, with the edits that are attached then: call ``backward`` before they are removed, inside the block.

    **copy.deepcopy** of a model with edits copies the edits: the copy's are its own, and no handle removes them. Copy
    before attaching. ``nn.DataParallel`` over an edited model is not supported.
    """
    chosen = _chosen(model, edits, rung, allow_other_weights)
    layers = [find_layer(model, edit.layer) for edit in chosen]
    refused = None if even_if_compiled else compiled_and_run(layers)
    if refused is not None:
        name = next(edit.layer for edit, layer in zip(chosen, layers, strict=True) if layer is refused)
        raise RuntimeError(
            f"attach() got an edit of layer {name!r}, which is in a compiled module that has already run, but edits "
            "are accepted only before the first compiled call; attach first, or call torch._dynamo.reset() before."
        )
    hooks = [_EditHook(edit, layer, model) for edit, layer in zip(chosen, layers, strict=True)]
    handle = Handle([])
    with ExitStack() as undo:
        undo.callback(handle._take_off)
        for layer, hook in zip(layers, hooks, strict=True):
            handle._attached.append((layer, hook, layer.register_forward_hook(hook, with_kwargs=True)))
            mark(layer)
        handle._beginning = count_runs(model, [hook.which for hook in hooks])
        undo.pop_all()
    return handle


@contextmanager
def edited(
    model: nn.Module, *edits: Edit | Functions | Correction, rung: int | None = None, allow_other_weights: bool = False
) -> Iterator[Handle]:
    """Attach edits for the length of a block; arguments and errors are those of `attach`.

    Examples
    --------
    >>> from genmend.activations import ScaleUnits
    >>> net = nn.Sequential(nn.Identity())
    >>> with edited(net, ScaleUnits("0", [0], 0.0)):
    ...     net(torch.ones(1, 2))
    tensor([[0., 1.]])
    >>> with edited(net, {"0": lambda output: output + 1}):
    ...     net(torch.ones(1, 2))
    tensor([[2., 2.]])
    >>> net(torch.ones(1, 2))
    tensor([[1., 1.]])
    """
    with attach(model, *edits, rung=rung, allow_other_weights=allow_other_weights) as handle:
        yield handle


def _chosen(
    model: nn.Module, edits: tuple[Edit | Functions | Correction, ...], rung: int | None, allow_other_weights: bool
) -> tuple[Edit, ...]:
    if len(edits) == 1 and isinstance(edits[0], Correction):
        correction = edits[0]
        if isinstance(rung, bool) or not isinstance(rung, int) or not 0 <= rung < len(correction.ladder):
            raise ValueError(f"rung is {rung!r}, but accepted are 0 to {len(correction.ladder) - 1}; pass one.")
        correction.check(model, allow_other_weights=allow_other_weights)
        return correction.ladder[rung]
    if rung is not None or allow_other_weights:
        raise TypeError("rung and allow_other_weights go with one correction, but edits were given; leave them out.")
    chosen: list[Edit] = []
    for given in edits:
        if isinstance(given, Mapping):
            chosen += [ApplyFunction(layer, function) for layer, function in given.items()]
        elif isinstance(given, Edit):
            chosen.append(given)
        else:
            kinds = ", ".join(type(edit).__name__ for edit in edits)
            raise TypeError(
                f"attach() got ({kinds}), but edits, functions by layer, or one correction alone, are needed; "
                "unpack lists with *."
            )
    return tuple(chosen)


def _unmark_if_bare(layer: nn.Module) -> None:
    if not any(isinstance(hook, _EditHook) for hook in layer._forward_hooks.values()):
        unmark(layer)


def _place(layer: nn.Module, model: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Where the layer's output will probably be, and a dtype at least as precise."""
    for tensor in chain(layer.parameters(), layer.buffers(), model.parameters(), model.buffers()):
        # Offloaded parameters are on "meta" between calls, where tensors have no contents to keep.
        if tensor.is_floating_point() and not tensor.is_meta:
            return tensor.device, torch.promote_types(tensor.dtype, torch.float32)
    return torch.device("cpu"), torch.float32


def _on_device(edit: Edit, device: torch.device) -> Edit:
    placed = copy.copy(edit)
    for name, value in vars(edit).items():
        if isinstance(value, Tensor):
            object.__setattr__(placed, name, value.detach().clone().to(device))
    return placed
