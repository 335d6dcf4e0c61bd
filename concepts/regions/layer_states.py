"""What a layer does for many samples, kept piece by piece: a bit a neuron, and the layer's mean over positions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from genmend.activations.layers import find_layer
from genmend.concepts.regions.configurations import (
    N_LEARNED_FROM,
    Configurations,
    Threshold,
    is_gate,
    measured_thresholds,
    positions,
    preactivations,
    threshold_kind,
)
from genmend.concepts.scalar_target import warn_of_spread
from genmend.storage.pieces import Work

__all__ = ["LayerStates", "best_classes", "last_gate", "layer_states"]

PIECE = 128
_PARTS = ("bits", "features", "classes")


@dataclass(frozen=True)
class LayerStates:
    """A layer's states for n samples.

    Attributes
    ----------
    configurations : Configurations
    features : ndarray
        float32, shape ``(n, channels)``: the layer's output, mean over positions.
    classes : ndarray
        Whole numbers ``(n,)``: the class that the model gives the highest score; -1 if it returns no scores.
    """

    configurations: Configurations
    features: np.ndarray
    classes: np.ndarray

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, samples: Any) -> LayerStates:
        """Some of the samples, by a slice, numbers or a mask."""
        return LayerStates(self.configurations[samples], self.features[samples], self.classes[samples])


def layer_states(
    model: nn.Module,
    layer: str,
    load: Callable[[Sequence[int]], Tensor],
    n: int,
    *,
    run: Callable[[Tensor], Any] | None = None,
    threshold: Threshold = "learned",
    pooled: bool = False,
    batch_size: int = 32,
    seed: int = 0,
    work: Work | None = None,
    facts: Sequence[Any] = (),
) -> LayerStates:
    """See n samples, whose order does not matter: thresholds come from some at random, up to 512 (512 MB).

    Parameters
    ----------
    model, layer, threshold, pooled
        See `configurations`.
    load
        Gives the inputs of samples by their numbers.
    run
        See `preactivations`.
    batch_size
        Samples run together.
    seed
        Of the samples that thresholds come from.
    work, facts
        Where pieces are kept, and all that the samples and the weights depend on.

    Raises
    ------
    UnknownLayerError, ValueError
        As `configurations`.
    """
    work = work or Work()
    gate = find_layer(model, layer)
    kind = threshold_kind(gate, threshold, pooled)
    order = np.random.default_rng(seed).permutation(n)
    one = load([int(order[0])])
    size = preactivations(model, layer, one, pooled=pooled, run=run).size
    warn_of_spread(lambda some: torch.from_numpy(preactivations(model, layer, some, run=run)), one, f"layer {layer!r}")
    n_first = min(n, N_LEARNED_FROM, max(32, 2**27 // size))
    first, rest = order[:n_first], order[n_first:]
    facts = [*map(str, facts), layer, kind, pooled, seed]

    def seen(numbers: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray], tuple[int, ...]]:
        values, features, classes = [], [], []

        def running(inputs: Tensor) -> None:
            classes.append(best_classes((run or model)(inputs), len(inputs)))

        for batch in np.array_split(numbers, -(-len(numbers) // batch_size)):
            found = preactivations(model, layer, load(batch.tolist()), run=running)
            output = _output(gate, found)
            features.append(output.mean(positions(output)) if output.ndim > 2 else output)
            values.append(found.max(positions(found)) if pooled and found.ndim > 2 else found)
        whole = np.concatenate(values)
        kept = {"features": np.concatenate(features), "classes": np.concatenate(classes)}
        return whole.reshape(len(whole), -1), kept, whole.shape[1:]

    def begin() -> dict[str, np.ndarray]:
        values, kept, shape = seen(first)
        limits = np.zeros(values.shape[1]) if kind == "zero" else measured_thresholds(values, kind)
        limits = limits.astype(np.float32)
        return {
            "bits": np.packbits(values > limits, axis=1),
            **kept,
            "thresholds": limits,
            "shape": np.array(shape),
        }

    begun = work.kept("layer-states", {"samples": first.tolist(), "of": facts}, begin)
    limits, parts = begun["thresholds"], [{name: begun[name] for name in _PARTS}]

    def compute(start: int, stop: int) -> dict[str, np.ndarray]:
        values, kept, _ = seen(rest[start:stop])
        return {"bits": np.packbits(values > limits, axis=1), **kept}

    if len(rest):
        parts.append(work.pieces(compute, len(rest), PIECE, inputs=facts, description=f"{layer} of samples"))
    back = np.argsort(order)
    bits, features, classes = (np.concatenate([part[name] for part in parts])[back] for name in _PARTS)
    shape = tuple(begun["shape"].tolist())
    return LayerStates(Configurations(bits, len(limits), limits, kind, layer, shape, pooled), features, classes)


@torch.no_grad()
def _output(gate: nn.Module, values: np.ndarray) -> np.ndarray:
    """What a layer puts out where `values` are what `preactivations` gives of it."""
    if not is_gate(gate):
        return values
    device = next((parameter.device for parameter in gate.parameters()), torch.device("cpu"))
    return gate(torch.tensor(values, device=device)).float().cpu().numpy()


def best_classes(output: Any, n: int) -> np.ndarray:
    """The class of the highest score in each of n rows of a model's output; -1 where it holds no scores of classes."""
    scores = getattr(output, "logits", output)
    if isinstance(scores, Tensor) and scores.ndim == 2 and scores.shape[1] > 1:
        return scores.argmax(1).cpu().numpy()
    return np.full(n, -1)


def last_gate(model: nn.Module, inputs: Tensor) -> str:
    """The nonlinearity that runs last.

    Raises
    ------
    ValueError
        If none runs as a module.
    """
    ran: list[str] = []
    handles = [
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
        for name, module in model.named_modules()
        if is_gate(module)
    ]
    try:
        with torch.no_grad():
            model(inputs)
    finally:
        for handle in handles:
            handle.remove()
    if not ran:
        raise ValueError(
            "No nonlinearity of this model is a module of its own: name a layer (--layer) whose output to look at."
        )
    return ran[-1]
