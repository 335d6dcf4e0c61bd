"""The layers of a generator: found by one forward pass, in the order in which they run."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from genmend.gans.failed_pass import pass_error
from genmend.gans.image_output import image_tensor
from genmend.gans.layer_runs import FailedPassError, Trace, inspected_layers, ordered_layers, trace

if TYPE_CHECKING:
    from genmend.gans.generator import Generator

__all__ = ["checked_layers", "found_layers", "initialise", "traced"]


def traced(generator: Generator, n: int = 1) -> Trace:
    """Watch one forward pass of n latents: the runs of all layers in their order, and what was returned.

    Raises
    ------
    genmend.gans.failed_pass.GeneratorPassError
        If the module raises.
    """
    try:
        return trace(generator.module, lambda: generator.output(generator.latents(n, 0)))
    except FailedPassError as failed:
        found = pass_error(generator.module, generator.latent_shape, generator.call, generator.name, failed)
        raise found from failed.__cause__


def initialise(generator: Generator) -> None:
    """Run a module once whose lazy layers have no weights yet, the same ones each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        traced(generator)
    warnings.warn(
        f"{generator.name} has layers that had no weights before their first run, and were given random ones: load the "
        "module's weights after a first run of your own.",
        stacklevel=3,
    )


def found_layers(generator: Generator) -> tuple[str, ...]:
    """The generator's layers in the order in which they run, or those to inspect where it names none."""
    seen = traced(generator)
    if generator.layers:
        return ordered_layers(generator.module, generator.layers, seen.runs, generator.name)
    found = inspected_layers(seen.runs, tuple(image_tensor(seen.output, generator.name).shape))
    if not found:
        some = ", ".join(run.name for run in seen.runs if not list(run.layer.children()))
        tokens = (
            "Its tokens have their units along the last axis, which is not supported. "
            if any(run.last_axis for run in seen.runs)
            else ""
        )
        raise ValueError(
            f"{generator.name} has no activation modules with feature maps, nor convolutions before activations that "
            f"are no modules. {tokens}Name layers to inspect (layers=, or --layers on the command line) whose outputs "
            f"are (n, c), (n, c, l), (n, c, h, w) or (n, c, d, h, w); those that run are {some or 'none'}."
        )
    return found


def checked_layers(generator: Generator, layers: Sequence[str] | None) -> tuple[str, ...]:
    """Return named layers as `Generator.layers` has them: in the order they run, shared ones by run. None: its own.

    Raises
    ------
    UnknownLayerError
        If the generator has no such layer.
    ValueError, TypeError
        If the list is empty, or a plain string; or a layer does not run or puts out tokens.
    """
    if isinstance(layers, str):
        raise TypeError(f"layers is the string {layers!r}, but a list of layer names is needed; write [{layers!r}].")
    if layers is None:
        return generator.layers
    if not layers:
        raise ValueError("layers is empty; name at least one, or give None for the generator's own list.")
    if set(layers) <= set(generator.layers):
        return tuple(layer for layer in generator.layers if layer in set(layers))
    return ordered_layers(generator.module, layers, traced(generator).runs, generator.name)
