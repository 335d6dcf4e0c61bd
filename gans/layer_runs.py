"""Which layers of a module run, in which order and how often, in one forward pass; and which of them to inspect."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from genmend.activations import record
from genmend.activations.layers import find_layer, named_layers, plain_name, run_number

__all__ = ["FailedPassError", "LayerRun", "Trace", "inspected_layers", "is_activation", "ordered_layers", "trace"]

_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU,
                nn.Mish, nn.Hardswish, nn.Softplus)  # fmt: skip
# Classes of others, such as FusedLeakyReLU, ScaledLeakyReLU or Swish.
_CALLED_ACTIVATION = re.compile(r"relu|swish|silu|gelu|mish|selu|celu|elu(?![a-z])", re.IGNORECASE)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_CALLED_CONVOLUTION = re.compile(r"conv", re.IGNORECASE)
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm, nn.GroupNorm)
_CALLED_NORM = re.compile(r"norm|^bn|bn$|adain", re.IGNORECASE)
_ALONG_LAST = (nn.Linear, nn.LayerNorm, nn.MultiheadAttention, nn.Embedding, nn.RMSNorm)
_PARAMETRIZED = "parametrizations"


@dataclass(frozen=True)
class LayerRun:
    """One run of a layer in a forward pass.

    Attributes
    ----------
    name : str
        ``act``, or ``act#2`` for the second run of one that runs several times.
    layer : nn.Module
    shape : tuple of int
        Of its output, or the first tensor in it, batch first; empty where there is none.
    last_axis : bool
        Whether its units lie along the last axis, as those of the tokens of a transformer.
    digest : tuple of float
        Mean and length of the output: two runs of the same are recognised by it, and NaN.
    """

    name: str
    layer: nn.Module
    shape: tuple[int, ...]
    last_axis: bool
    digest: tuple[float, float]

    @property
    def has_maps(self) -> bool:
        """Whether the output is a stack of maps: (n, c, l), (n, c, h, w) or (n, c, d, h, w)."""
        return 3 <= len(self.shape) <= 5 and not self.last_axis


@dataclass(frozen=True)
class Trace:
    """A forward pass as seen by hooks on every layer.

    Attributes
    ----------
    runs : tuple of LayerRun
        In the order in which they ended.
    output
        What the pass returned.
    """

    runs: tuple[LayerRun, ...]
    output: Any


class FailedPassError(Exception):
    """A forward pass raised its cause.

    Attributes
    ----------
    entered : tuple of str
        The layers that had begun and not ended, from the outside in.
    n_axes : int
        Of what the innermost of them was given.
    finished : bool
        Whether any layer with weights had ended before.
    """

    def __init__(self, entered: Sequence[str], n_axes: int, finished: bool) -> None:
        super().__init__(*entered)
        self.entered = tuple(entered)
        self.n_axes = n_axes
        self.finished = finished


@torch.no_grad()
def trace(module: nn.Module, run: Callable[[], Any]) -> Trace:
    """Watch what `run()`, a forward pass of the module, does; layers that come into being in it are watched too.

    Raises
    ------
    FailedPassError
        If the pass raises; the error is its cause.
    """
    while True:
        before = len(list(module.modules()))
        seen = _Watch(module)
        try:
            with seen.watching():
                output = run()
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            finished = any(list(layer.parameters(recurse=False)) for layer, *_ in seen.ended)
            raise FailedPassError(seen.entered, seen.n_axes, finished) from error
        if len(list(module.modules())) == before:
            return Trace(seen.runs(), output)


class _Watch:
    """Hooks on every layer, and what they saw."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.names: dict[nn.Module, str] = {}
        for name, layer in named_layers(module).items():
            # Parametrizations run too, and put out weights; scripted layers take no hooks.
            if _PARAMETRIZED not in name.split(".") and not isinstance(layer, torch.jit.ScriptModule):
                self.names.setdefault(layer, name)
        self.entered: list[str] = []
        self.n_axes = 0  # of what the layer was given that was entered last
        self.ended: list[tuple[nn.Module, tuple[int, ...], bool, tuple[float, float]]] = []
        self._tokens: tuple[int, ...] = ()  # what the layer put out that acted last, where it acts along the last axis

    def watching(self) -> ExitStack:
        hooks = ExitStack()
        hooks.enter_context(record(self.module, []))  # compiled modules run uncompiled: they see no new hooks
        for layer in self.names:
            hooks.callback(layer.register_forward_pre_hook(self._begin).remove)
            hooks.callback(layer.register_forward_hook(self._end).remove)
        return hooks

    def _begin(self, layer: nn.Module, inputs: Any) -> None:
        self.entered.append(self.names[layer])
        given = _first_tensor(inputs)
        self.n_axes = 0 if given is None else given.ndim

    def _end(self, layer: nn.Module, inputs: Any, output: Any) -> None:
        if self.entered:
            self.entered.pop()
        tensor = _first_tensor(output)
        shape = () if tensor is None else tuple(tensor.shape)
        if isinstance(layer, _ALONG_LAST):
            self._tokens = shape if len(shape) >= 3 else ()
        elif _along_second(layer):
            self._tokens = ()
        last_axis = bool(shape) and shape == self._tokens
        digest = (0.0, 0.0)
        if tensor is not None and tensor.is_floating_point() and tensor.numel():
            values = tensor.detach().float()
            digest = (float(values.mean()), float(torch.linalg.vector_norm(values)))
        self.ended.append((layer, shape, last_axis, digest))

    def runs(self) -> tuple[LayerRun, ...]:
        total, so_far = Counter(layer for layer, *_ in self.ended), Counter[nn.Module]()
        found = []
        for layer, shape, last_axis, digest in self.ended:
            so_far[layer] += 1
            number = f"#{so_far[layer]}" if total[layer] > 1 else ""
            found.append(LayerRun(self.names[layer] + number, layer, shape, last_axis, digest))
        return tuple(run for run in found if run.name)


def _first_tensor(output: Any) -> Tensor | None:
    if isinstance(output, Tensor):
        return output
    values = output.values() if isinstance(output, dict) else output if isinstance(output, tuple | list) else ()
    return next((value for value in values if isinstance(value, Tensor)), None)


def _along_second(layer: nn.Module) -> bool:
    """Whether a layer's own weights act along the second axis."""
    kernel = any(values.ndim >= 4 for values in layer.parameters(recurse=False))
    return kernel or _is(layer, (*_CONVOLUTIONS, *_NORMS), _CALLED_CONVOLUTION)


def is_activation(layer: nn.Module) -> bool:
    """Whether a layer is an activation of the ReLU family, by its class or, where it is another's, by its name."""
    return _is(layer, _ACTIVATIONS, _CALLED_ACTIVATION)


def inspected_layers(runs: Sequence[LayerRun], images: tuple[int, ...]) -> tuple[str, ...]:
    """Choose the layers to inspect, in the order in which they run; none where there is nothing to choose.

    Activations with maps; where there are none (activations that are functions, not modules), what the convolutions or
    the norms behind them put out; where there are no maps at all, activations or dense layers that put out vectors.

    Parameters
    ----------
    images : tuple of int
        Shape of the output, batch first: the layer that puts out the images is none to inspect.
    """
    maps = [run for run in runs if run.has_maps]
    found = [run for run in maps if is_activation(run.layer)]
    if not found:
        found = _before_functions(maps, images)
    vectors = [run for run in runs if len(run.shape) == 2]
    if not found:
        found = [run for run in vectors if is_activation(run.layer)]
    if not found and not maps and not any(run.last_axis for run in runs):
        found = [run for run in vectors if isinstance(run.layer, nn.Linear)][:-1]
    return tuple(run.name for run in found)


def _before_functions(maps: Sequence[LayerRun], images: tuple[int, ...]) -> list[LayerRun]:
    """The outputs of convolutions, or of the norms that follow them: what activation functions take."""
    found: list[LayerRun] = []
    for run in maps:
        if run.shape == images:
            continue
        norm = _is(run.layer, _NORMS, _CALLED_NORM)
        if norm and found and found[-1].shape == run.shape:
            found[-1] = run
        elif norm or _is(run.layer, _CONVOLUTIONS, _CALLED_CONVOLUTION):
            found.append(run)
    # Layers that paint, at each size, have as many channels as the image.
    return [run for run in found if run.shape[1:2] != images[1:2]] or found


def _is(layer: nn.Module, classes: tuple[type, ...], called: re.Pattern[str]) -> bool:
    """Whether a layer is of some classes, or, where it has no layers inside, its class is called like them."""
    return isinstance(layer, classes) or (not list(layer.children()) and bool(called.search(type(layer).__name__)))


def ordered_layers(module: nn.Module, layers: Iterable[str], runs: Sequence[LayerRun], name: str) -> tuple[str, ...]:
    """Return named layers in the order in which they run; one that runs several times as ``act#1``, ``act#2``, ...

    Raises
    ------
    UnknownLayerError
        If there is no such layer.
    ValueError
        If one does not run, has no tensor for output, or puts out tokens, whose units lie along the last axis.
    """
    places: dict[int, str] = {}
    for given in layers:
        layer, number = find_layer(module, given), run_number(module, given)
        theirs = [place for place, run in enumerate(runs) if run.layer is layer]
        if not theirs or (number is not None and number > len(theirs)):
            raise ValueError(_never_ran(given, len(theirs), name, runs))
        plain = plain_name(given)
        for count, place in enumerate(theirs, start=1):
            if number is None and len(theirs) > 1:
                # Those runs of a shared activation that have no maps are left out where others have.
                if runs[place].has_maps or not any(runs[other].has_maps for other in theirs):
                    places[place] = f"{plain}#{count}"
            elif number in (None, count):
                places[place] = plain if len(theirs) > 1 or number is None else plain.rpartition("#")[0]
    for place, layer_name in places.items():
        _check_units(layer_name, runs[place])
    return tuple(places[place] for place in sorted(places))


def _never_ran(given: str, times: int, name: str, runs: Sequence[LayerRun]) -> str:
    ran = f"runs {times} times" if times > 1 else "runs once" if times else "does not run"
    some = ", ".join(run.name for run in runs if run.has_maps and is_activation(run.layer)) or "those of layer_names"
    return f"Layer {given!r} was named, but it {ran} when {name} makes images; choose among {some}."


def _check_units(name: str, run: LayerRun) -> None:
    if len(run.shape) < 2:
        raise ValueError(f"Layer {name!r} puts out no tensor (n, units, ...); choose a layer inside or behind it.")
    if run.last_axis:
        raise ValueError(
            f"Layer {name!r} puts out tokens {('n', *run.shape[1:])}, whose units lie along the last axis; units are "
            "taken along the second: name layers with outputs (n, c), (n, c, l), (n, c, h, w) or (n, c, d, h, w), such "
            "as convolutions."
        )
