"""Layers by name: the dotted module path that ``named_modules()`` prints, with ``#2`` behind it for a second run."""

from __future__ import annotations

import re
from difflib import get_close_matches

import torch
from torch import nn

__all__ = ["UnknownLayerError", "find_layer", "layer_names", "named_layers", "plain_name", "run_number"]

# torch.compile wraps a module in another one and inserts this part into every name below it. A correction made on
# the plain model must find the same layers in the compiled one, so the part is dropped wherever a name is read.
_COMPILED_PART = "_orig_mod"
_NUMBERED = re.compile(r"(.+)#([1-9][0-9]*)")


class UnknownLayerError(LookupError):
    """No layer of the model has the name asked for; the message lists the three nearest names."""


def plain_name(name: str) -> str:
    """Return a dotted name without the parts that ``torch.compile`` inserted.

    >>> plain_name("_orig_mod.main.5")
    'main.5'
    """
    return ".".join(part for part in name.split(".") if part != _COMPILED_PART)


def named_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return every layer by name, in registration order; the model itself is ``""``.

    A module that is registered in two places stands under both names; a compiled wrapper stands for the module
    inside it.
    """
    # The wrapper comes before the module inside it and both have the same plain name: the inner one stays.
    return {plain_name(name): module for name, module in model.named_modules(remove_duplicate=False)}


def layer_names(model: nn.Module) -> list[str]:
    """List the names that `find_layer`, `record` and every edit accept, in registration order.

    >>> layer_names(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    ['0', '1']
    """
    return [name for name in named_layers(model) if name]


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """Return the layer with this dotted name; ``""`` is the model itself.

    A number of a run behind it (``act#2``, see `run_number`) is left out of account.

    Raises
    ------
    UnknownLayerError
        If there is none; the message has the three nearest names.
    TypeError
        If it lies in a scripted or traced module, which runs without the hooks of its parts, or is a scripted one.

    >>> find_layer(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), "1")
    ReLU()
    """
    layers = named_layers(model)
    numbered = _NUMBERED.fullmatch(name)
    for known in (name, numbered and numbered[1]):
        if known is not None and plain_name(known) in layers:
            _refuse_script(layers, plain_name(known))
            return layers[plain_name(known)]
    raise UnknownLayerError(_miss(name, [known for known in layers if known]))


def run_number(model: nn.Module, name: str) -> int | None:
    """Return which run of its layer, in each forward pass, the name means, from 1; None: all.

    >>> run_number(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), "1#2")
    2
    """
    numbered = _NUMBERED.fullmatch(name)
    return None if numbered is None or plain_name(name) in named_layers(model) else int(numbered[2])


def _refuse_script(layers: dict[str, nn.Module], name: str) -> None:
    parts = name.split(".") if name else []
    for depth in range(len(parts) + 1):
        above = layers[".".join(parts[:depth])]
        # A traced module is called from Python like any other, so its own output can be had, that of its parts can't.
        hooks_run = isinstance(above, torch.jit.TopLevelTracedModule) and depth == len(parts)
        if isinstance(above, torch.jit.ScriptModule) and not hooks_run:
            where = f"{'.'.join(parts[:depth])!r}" if depth else "the model"
            raise TypeError(
                f"Layer {name!r} can be neither recorded nor edited, because {where} is a scripted or traced module, "
                "which runs without hooks; use the module it was made of, before torch.jit."
            )


def _miss(name: str, names: list[str]) -> str:
    nearest = ", ".join(repr(near) for near in get_close_matches(name, names, n=3, cutoff=0.0))
    return (
        f"No layer is named {name!r}; the nearest names are {nearest or 'none (the model has no layers)'}; "
        f"activations.layer_names(model) lists all {len(names)}."
    )
