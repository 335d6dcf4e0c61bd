"""How hooks and ``torch.compile`` live together.

A compiled graph is reused as long as its guards hold, and by default Dynamo guards no *empty* hook table: a hook placed
after the graph was built is silently ignored, in the same model and in any other model of the same structure, which
shares the graph. A table that is not empty is guarded (its length, the hooks' types and constants), so one change that
Dynamo does guard, made together with the first hook, is enough for all that follow.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Iterator
from inspect import getclosurevars
from types import MethodType
from typing import Any

import torch
from torch import nn

__all__ = ["compiled_and_run", "mark", "unmark"]


def mark(layer: nn.Module) -> None:
    """Make every compiled graph that has this layer without hooks fail its guards.

    Dynamo guards that a module has no ``forward`` of its own beside that of its class. The layer is given one: the very
    same method, bound. (As a bound method it survives ``copy.deepcopy``: the copy's is bound to the copy.)
    """
    own = vars(layer)
    if "forward" not in own and not isinstance(layer, torch.jit.ScriptModule):
        own["forward"] = MethodType(type(layer).forward, layer)


def unmark(layer: nn.Module) -> None:
    """Undo `mark`; a ``forward`` that somebody else has put there stays."""
    forward = vars(layer).get("forward")
    if isinstance(forward, MethodType) and forward.__self__ is layer and forward.__func__ is type(layer).forward:
        del vars(layer)["forward"]


def compiled_and_run(layers: Iterable[nn.Module]) -> nn.Module | None:
    """Return one of the layers that lies in a compiled module which has already run, or None.

    It sees modules wrapped by ``torch.compile(module)`` and those on which ``module.compile()`` was called, wherever
    they are. It does not see a compiled *function* that calls the module, or a compiled module that has run only on a
    graph built for another one of the same structure; `mark` covers both.
    """
    # Nothing can have been compiled before Dynamo was imported; importing it here would cost seconds.
    if "torch._dynamo" not in sys.modules:
        return None
    # Each call of torch.compile has a backend object of its own, and each graph remembers the one that built it.
    used = {id(backend) for backend in _backends_of_graphs()}
    if not used:
        return None
    wanted = {id(layer): layer for layer in layers}
    for module, backend in _compiled_modules():
        if id(backend) in used:
            for part in module.modules():
                if id(part) in wanted:
                    return wanted[id(part)]
    return None


def _backends_of_graphs() -> Iterator[Any]:
    from torch._dynamo.convert_frame import input_codes
    from torch._dynamo.eval_frame import _debug_get_cache_entry_list

    for reference in input_codes.seen:
        code = reference()
        if code is not None:
            for entry in _debug_get_cache_entry_list(code):
                yield _innermost(entry.backend)


def _compiled_modules() -> Iterator[tuple[nn.Module, Any]]:
    for candidate in gc.get_objects():  # 20 ms or so, paid only where something was compiled
        if not issubclass(type(candidate), nn.Module):
            continue
        if type(candidate) is torch._dynamo.OptimizedModule:
            yield candidate._orig_mod, _innermost(candidate.dynamo_ctx.callback)
        elif vars(candidate).get("_compiled_call_impl") is not None:
            yield candidate, _innermost(getclosurevars(candidate._compiled_call_impl).nonlocals.get("callback"))


def _innermost(backend: Any) -> Any:
    while hasattr(backend, "_torchdynamo_orig_backend"):
        backend = backend._torchdynamo_orig_backend
    return backend
