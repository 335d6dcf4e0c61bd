"""On which side of its threshold each neuron of a layer stands, sample by sample, as packed bits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from genmend.activations.layers import find_layer
from genmend.activations.outputs import first_tensor
from genmend.activations.runs import hooked
from genmend.concepts.layers_that_ran import never_ran
from genmend.concepts.scalar_target import as_module, warn_of_spread

__all__ = [
    "Configurations",
    "Threshold",
    "configurations",
    "is_gate",
    "measured_thresholds",
    "positions",
    "preactivations",
    "threshold_kind",
]

Threshold = Literal["auto", "zero", "median", "learned"]
N_LEARNED_FROM = 512  # samples behind thresholds that are measured
#: Gates whose output is another line on either side of 0.
SIGN_GATES = (nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.Threshold)
#: Nonlinearities that bend somewhere else, or everywhere: a threshold has to be measured.
OTHER_GATES = (nn.ReLU6, nn.Hardtanh, nn.Hardswish, nn.SiLU, nn.GELU, nn.Mish, nn.Softplus, nn.Tanh, nn.Sigmoid)
#: Where libraries keep their own.
GATE_MODULES = ("transformers.activations", "timm.layers.activations", "timm.layers.activations_me")


@dataclass(frozen=True)
class Configurations:
    """Which neurons are on, for n samples.

    Attributes
    ----------
    bits : ndarray
        uint8, shape ``(n, ceil(n_neurons / 8))``, the first neuron in the highest bit.
    n_neurons : int
    thresholds : ndarray
        float32, shape ``(n_neurons,)``; a neuron is on above its threshold.
    threshold : str
        Where they come from: 'zero', 'median' or 'learned' of the first samples, or 'given'.
    layer : str
    shape : tuple of int
        Of the layer's neurons in one sample; ``(channels,)`` where they are pooled.
    pooled : bool
        Whether a neuron is a channel, by its largest value over positions.
    """

    bits: np.ndarray
    n_neurons: int
    thresholds: np.ndarray
    threshold: str
    layer: str
    shape: tuple[int, ...]
    pooled: bool

    def __len__(self) -> int:
        return len(self.bits)

    def __getitem__(self, samples: Any) -> Configurations:
        """Some of the samples, by a slice, numbers or a mask."""
        return replace(self, bits=np.atleast_2d(self.bits[samples]))

    def states(self, neurons: np.ndarray) -> np.ndarray:
        """Whether each of some neurons is on, booleans of shape ``(n, len(neurons))``."""
        neurons = np.asarray(neurons)
        return (self.bits[:, neurons // 8] >> (7 - neurons % 8).astype(np.uint8) & 1).astype(bool)

    @cached_property
    def on_in_all(self) -> np.ndarray:
        """In how many of all samples each neuron is on; whole numbers of shape ``(n_neurons,)``."""
        return self.on_counts(np.arange(len(self)))

    def on_counts(self, samples: np.ndarray) -> np.ndarray:
        """In how many of some samples, by their numbers, each neuron is on; whole numbers of shape ``(n_neurons,)``."""
        counts = np.zeros(self.n_neurons, dtype=np.int64)
        for number in samples:
            counts += np.unpackbits(self.bits[number], count=self.n_neurons)
        return counts


def configurations(
    model: nn.Module,
    layer: str,
    batches: Tensor | Iterable[Tensor],
    *,
    threshold: Threshold = "auto",
    thresholds: np.ndarray | None = None,
    pooled: bool = False,
    batch_size: int = 32,
) -> Configurations:
    """Run the model, and keep one bit of each neuron of a layer, taken before the nonlinearity.

    Parameters
    ----------
    model
        In evaluation mode: a classifier of images, a generator of latents, an encoder.
    layer
        A nonlinearity, whose input counts, or any other layer, whose output counts.
    batches
        All inputs ``(n, ...)``, or batches of them, one after the other: only their bits are kept.
    threshold
        'zero' as published; 'median' of each neuron over the first batches (512 samples, or all if there are fewer);
        'learned' splits the same values of each neuron into two groups with the least variance inside them (Otsu,
        1979); 'auto' takes zero for gates at 0 (ReLU, LeakyReLU, PReLU, ELU), learned ones for all else and for pooled
        maps, whose largest value is above 0 in nearly every sample.
    thresholds
        Those of other configurations, to see new samples by them, shape ``(n_neurons,)``.
    pooled
        One neuron a channel, by its largest value over positions, so that a shifted object stays in its region.
    batch_size
        Where `batches` is one tensor.

    Raises
    ------
    UnknownLayerError
        If the layer is none of the model.
    ValueError
        If the layer never ran, its output has NaN, no sample was given, or the model is in training mode.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)).eval()
    >>> configurations(net, "1", torch.randn(10, 2)).bits.shape
    (10, 1)
    """
    gate = find_layer(model, layer)
    kind = threshold_kind(gate, threshold, pooled) if thresholds is None else "given"
    waiting: list[np.ndarray] = []
    packed: list[np.ndarray] = []
    limits, shape = thresholds, None

    def pack() -> None:
        for values in waiting:
            packed.append(np.packbits(values > limits, axis=1))
        waiting.clear()

    for batch in _batches(batches, batch_size):
        if shape is None:
            warn_of_spread(lambda some: torch.from_numpy(preactivations(model, layer, some)), batch, f"layer {layer!r}")
        values = preactivations(model, layer, batch, pooled=pooled)
        shape = values.shape[1:]
        waiting.append(values.reshape(len(values), -1))
        if limits is None and kind == "zero":
            limits = np.zeros(waiting[0].shape[1], dtype=np.float32)
        if limits is None and sum(map(len, waiting)) >= N_LEARNED_FROM:
            limits = measured_thresholds(np.concatenate(waiting), kind)
        if limits is not None:
            if waiting[0].shape[1] != len(limits):
                raise ValueError(
                    f"layer {layer!r} has {waiting[0].shape[1]} neurons here, but {len(limits)} thresholds are given "
                    "or were measured: inputs must all have one size."
                )
            pack()
    if shape is None:
        raise ValueError("No sample was given: batches is empty.")
    if limits is None:
        limits = measured_thresholds(np.concatenate(waiting), kind)
    pack()
    return Configurations(np.concatenate(packed), len(limits), limits, kind, layer, tuple(shape), pooled)


def preactivations(
    model: nn.Module,
    layer: str,
    inputs: Tensor,
    *,
    pooled: bool = False,
    run: Callable[[Tensor], Any] | None = None,
) -> np.ndarray:
    """What a layer's nonlinearity is given, float32 of shape ``(n, ...)``; pooled ``(n, channels)``.

    `run` runs the model where it is not called with the inputs alone, as generators are.

    Raises
    ------
    UnknownLayerError, ValueError
        As `configurations`.
    """
    module = as_module(model)
    before = is_gate(find_layer(model, layer))
    seen: list[Tensor] = []

    def keep(_: nn.Module, given: Any, output: Any = None) -> None:
        # The next layer may work in place.
        seen[:] = [first_tensor(given[0] if before else output, layer).detach().float().clone()]

    with torch.no_grad(), hooked(model, layer, keep, before=before):
        (run or module)(inputs)
    if not seen:
        raise never_ran(module, layer, inputs, run)
    values = seen[0]
    if len(values) != len(inputs):
        raise ValueError(
            f"layer {layer!r} gave {len(values)} rows for {len(inputs)} samples: "
            "choose one that gives one row a sample."
        )
    if pooled:
        values = values.amax(positions(values)) if values.ndim > 2 else values
    if not bool(torch.isfinite(values).all()):
        raise ValueError(f"layer {layer!r} gave NaN or infinity: look at its inputs first.")
    return values.cpu().numpy()


def is_gate(module: nn.Module) -> bool:
    """Whether a module is a nonlinearity, of torch, transformers or timm."""
    return isinstance(module, (*SIGN_GATES, *OTHER_GATES)) or type(module).__module__ in GATE_MODULES


def positions(values: Any) -> tuple[int, ...]:
    """The axes that are places: of tokens ``(n, tokens, channels)`` and of maps ``(n, channels, h, w)``."""
    return (1,) if values.ndim == 3 else tuple(range(2, values.ndim))


def measured_thresholds(values: np.ndarray, kind: str) -> np.ndarray:
    """The 'median' or 'learned' threshold of each neuron, float32 ``(d,)``, from its values ``(n, d)``."""
    if kind == "median":
        limits: np.ndarray = np.median(values, axis=0)
        return limits
    blocks = np.array_split(values, max(1, values.size // 2**22), axis=1)
    return np.concatenate([_best_split(block) for block in blocks]).astype(np.float32)


def _best_split(values: np.ndarray) -> np.ndarray:
    """Where each column falls into two groups whose means are farthest apart for their sizes; half-way between them."""
    n = len(values)
    if n < 2:
        return values[0]
    ordered = np.sort(values, axis=0)
    sums = np.cumsum(ordered, axis=0, dtype=np.float64)
    low = np.arange(1, n)[:, None]
    between = (sums[:-1] / low - (sums[-1] - sums[:-1]) / (n - low)) ** 2 * low * (n - low)
    best = between.argmax(0)
    columns = np.arange(values.shape[1])
    split: np.ndarray = (ordered[best, columns] + ordered[best + 1, columns]) / 2
    return split


def threshold_kind(gate: nn.Module, threshold: Threshold, pooled: bool) -> str:
    """Which thresholds 'auto' means for a layer; ValueError for a kind that there is not."""
    if threshold not in ("auto", "zero", "median", "learned"):
        raise ValueError(f"threshold is {threshold!r}; accepted are 'auto', 'zero', 'median' and 'learned'.")
    if threshold != "auto":
        return threshold
    return "zero" if isinstance(gate, SIGN_GATES) and not pooled else "learned"


def _batches(batches: Tensor | Iterable[Tensor], batch_size: int) -> Iterable[Tensor]:
    return batches.split(batch_size) if isinstance(batches, Tensor) else batches
