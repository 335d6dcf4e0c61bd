"""Why a generator's module can't be run as it is: one sentence that names the remedy."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from torch import nn

from genmend.activations.layers import find_layer
from genmend.gans.layer_runs import FailedPassError
from genmend.storage.named_object import error_told, users_line

__all__ = ["GeneratorPassError", "needed_inputs", "pass_error"]

_OF_SHAPES = (RuntimeError, ValueError, IndexError, TypeError, AssertionError)


class GeneratorPassError(ValueError):
    """The module raised when it was run on latents of the given shape; the error itself is the cause."""


def needed_inputs(module: nn.Module, *, optional: bool = False) -> tuple[str, ...]:
    """Names of what ``forward`` needs beside the latents; with `optional` those that have a default too."""
    try:
        parameters = list(inspect.signature(module.forward).parameters.values())[1:]
    except (TypeError, ValueError):  # forward is no Python function
        return ()
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return tuple(
        one.name
        for one in parameters
        if one.kind not in several and (optional or one.default is inspect.Parameter.empty)
    )


def pass_error(
    module: nn.Module, latent_shape: Sequence[int], call: Any, name: str, failed: FailedPassError
) -> GeneratorPassError:
    """Say what a failed pass means and what to do: give a label, another latent shape, or mend the module."""
    error = failed.__cause__
    assert isinstance(error, BaseException)
    needed = needed_inputs(module) if call is None else ()
    if needed and isinstance(error, TypeError):
        also = ", ".join(needed)
        return GeneratorPassError(
            f"{name} takes more than latents: its forward needs {also}. Where that is a class, give --label N (label=N "
            f"of load_generator); else return a gans.Generator with call=lambda module, z: module(z, {also}) that "
            "fixes it, as docs/generators.md shows under 'An adapter'."
        )
    where = next((layer for layer in reversed(failed.entered) if layer), "")
    layer = find_layer(module, where) if where else module
    told = error_told(error, users_line(error))
    sentence = f"{name} could not be run on latents of shape {('n', *latent_shape)}: "
    sentence += f"layer {where!r}, {_of_kind(layer)}, raised {told}. " if where else f"it raised {told}. "
    if not isinstance(error, _OF_SHAPES) or isinstance(error, NotImplementedError):
        return GeneratorPassError(f"{sentence}Mend it there; more with --traceback.")
    if failed.finished:
        remedy = "Mend it, or give the latent shape that it takes (--latent-shape)"
    else:
        example = _example(layer, failed.n_axes, latent_shape)
        remedy = f"Give the latent shape that it takes with --latent-shape (latent_shape= in Python){example}"
    takes = needed_inputs(module, optional=True) if call is None else ()
    if takes and not needed:
        remedy += f"; its forward also takes {', '.join(takes)}: where that is a class, give --label N"
    return GeneratorPassError(f"{sentence}{remedy}; more with --traceback.")


def _of_kind(layer: nn.Module) -> str:
    width = _width(layer)
    return type(layer).__name__ + (f" that takes {width}" if width else "")


def _example(layer: nn.Module, n_axes: int, latent_shape: Sequence[int]) -> str:
    """The latent shape that the layer takes, less the axes that the module adds by itself."""
    width = _width(layer)
    if not width:
        return ""
    needed = next((count for count in (1, 2, 3) if type(layer).__name__.endswith(f"{count}d")), 0)
    added = max(0, n_axes - 1 - len(latent_shape))
    return f", e.g. {','.join([str(width), *['1'] * max(0, needed - added)])}"


def _width(layer: nn.Module) -> int:
    """How many numbers a layer takes along the axis it acts on; 0 where that is unknown."""
    for attribute in ("in_features", "in_channels", "num_features"):
        width = getattr(layer, attribute, None)
        if isinstance(width, int) and width > 0:
            return width
    return 0
