"""What each block made of one sample, and how to make it anew where the block before it gives something else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from genmend.activations.layers import find_layer
from genmend.activations.outputs import with_first_tensor
from genmend.activations.recording import record
from genmend.activations.runs import hooked
from genmend.concepts.circuits.trace import LayerCall, between, has_weights, maker, trace_calls
from genmend.concepts.circuits.units import unit_means, unit_scores
from genmend.concepts.layers_that_ran import never_ran
from genmend.concepts.scalar_target import as_module, check_inputs

__all__ = ["BlockCall", "call_blocks", "one_sample", "run_handed_on", "runs_instead"]

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class BlockCall:
    """What a block made of one sample, and how to make it anew from the output of the block before.

    Attributes
    ----------
    name : str
    output : Tensor
        The first tensor of what it made, shape ``(1, ...)``.
    axis : int
        Of its units.
    steps : tuple
        The layers between the block before and this one, itself included, with their further arguments; none for the
        first block, and where something else stands between (a sum, a reshaping).
    otherwise : callable or None
        Makes its output for given ones of the block before, where there are no steps.
    made_by : LayerCall or None
        A linear layer that gives it its input, each unit's by itself: it need not make them all.
    read_by : LayerCall or None
        A linear layer that is given its output.
    """

    name: str
    output: Tensor
    axis: int
    steps: tuple[LayerCall, ...] = ()
    otherwise: Callable[[Tensor], Tensor] | None = None
    made_by: LayerCall | None = None
    read_by: LayerCall | None = None

    @property
    def n_units(self) -> int:
        """How many units it has."""
        return self.output.shape[self.axis]

    @property
    def scores(self) -> Tensor:
        """How strongly each answers to the sample, see `unit_scores`, shape ``(units,)``."""
        return unit_scores(self.output, self.axis)[0]

    def means(self, output: Tensor) -> Tensor:
        """The mean of each unit over positions, of outputs of this block, shape ``(n, units)``."""
        return unit_means(output, self.axis)

    def __call__(self, before: Tensor, only: Tensor | None = None) -> Tensor:
        """Its output where the block before it gives other outputs ``(m, ...)``; of some units only, by number."""
        by_itself = only is not None and self.made_by is not None
        with _makes_only(self.made_by.module, only) if by_itself else nullcontext():  # type: ignore[union-attr, arg-type]
            if self.otherwise is not None:
                made = self.otherwise(before)
            else:
                made = before
                for step in self.steps:
                    made = step.again(made)
        return made if only is None or by_itself else made.index_select(self.axis, only)


def one_sample(sample: Tensor) -> Tensor:
    """The sample as it is, shape ``(1, ...)``.

    Raises
    ------
    TypeError, ValueError
        As `check_inputs`, and if there are several.
    """
    if len(check_inputs(sample)) != 1:
        raise ValueError(f"sample has {len(sample)} rows, but circuits are of one sample: sample[:1].")
    return sample


def call_blocks(model: nn.Module, blocks: Sequence[str], sample: Tensor) -> list[BlockCall]:
    """Run the model on one sample, and keep how each block follows from the one before it.

    Parameters
    ----------
    model
        In evaluation mode.
    blocks
        In order of execution, each fed by the one before it: directly or through further layers, of which alone the
        needed ones are run again; or in any other way, which takes runs of the modules that both lie in where one feeds
        the other (a transformer's blocks), else of the whole model.
    sample
        Shape ``(1, ...)``.

    Raises
    ------
    UnknownLayerError
        If a block is no layer of the model.
    ValueError
        If a block never ran, ran twice, or ran before the one that is named before it.
    """
    for name in blocks:
        find_layer(model, name)
    trace = trace_calls(model, sample, keep=set(blocks))
    found: list[BlockCall] = []
    before: LayerCall | None = None
    for name in blocks:
        runs = [number for number, call in enumerate(trace) if call.name == name]
        if not runs:
            raise never_ran(model, name, sample)
        if len(runs) > 1:
            raise ValueError(
                f"block {name!r} ran {len(runs)} times in one call of the model, but a block must run once: name "
                "another."
            )
        call = trace[runs[0]]
        if call.output is None:
            raise TypeError(f"block {name!r} gave no tensor: choose a layer inside or around it.")
        steps: tuple[LayerCall, ...] = ()
        otherwise = None
        if before is not None:
            if trace.index(call) < trace.index(before):
                raise ValueError(
                    f"block {name!r} does not follow block {before.name!r}: name blocks in order of execution."
                )
            steps = between(trace[: runs[0] + 1], before)
            if not steps:
                otherwise = _otherwise(as_module(model), trace, before, call, sample)
        made_by, read_by = _made_by(trace, call), _read_by(trace, call)
        found.append(BlockCall(name, call.output, call.axis, steps, otherwise, made_by, read_by))
        before = call
    return found


def _made_by(trace: Sequence[LayerCall], call: LayerCall) -> LayerCall | None:
    """A linear layer in front of a nonlinearity that takes each unit by itself."""
    made_by = maker(trace, call)
    if made_by is None or type(made_by.module) is not nn.Linear or has_weights(call.module) or made_by.made is None:
        return None
    if call.output is None or made_by.made.shape != call.output.shape or made_by.made is call.made:
        return None
    some = slice(0, None, max(2, made_by.made.shape[-1] // 64))
    with torch.no_grad():
        by_itself = call.again(made_by.made[..., some])
    intact = call.output[..., some]
    return made_by if by_itself.shape == intact.shape and torch.allclose(by_itself, intact, rtol=1e-4) else None


def _read_by(trace: Sequence[LayerCall], call: LayerCall) -> LayerCall | None:
    """A linear layer that is given what a call made."""
    for later in trace[trace.index(call) + 1 :]:
        if later.given is call.made and type(later.module) is nn.Linear:
            return later
    return None


def _otherwise(
    model: nn.Module, trace: Sequence[LayerCall], before: LayerCall, call: LayerCall, sample: Tensor
) -> Callable[[Tensor], Tensor]:
    """How to run what lies between two blocks that not only layers join."""
    mine, theirs = call.name.split("."), before.name.split(".")
    depth = next((n for n, (one, other) in enumerate(zip(mine, theirs, strict=False)) if one != other), len(mine))
    outer = [[each for each in trace if each.name == ".".join(parts[: depth + 1])] for parts in (theirs, mine)]
    if all(len(each) == 1 for each in outer) and depth < min(len(mine), len(theirs)):
        (start,), (end,) = outer
        chain = between(trace[: trace.index(end) + 1], start) if trace.index(start) < trace.index(end) else ()
        if chain and isinstance(start.given, Tensor):
            return partial(_run_enclosing, model, before.name, call.name, start, chain)
    return partial(_run_whole, model, before.name, call.name, sample)


def _run_enclosing(
    model: nn.Module, before: str, block: str, start: LayerCall, chain: Sequence[LayerCall], given: Tensor
) -> Tensor:
    """The block's output, by the modules from the one that the block before lies in to the one that it lies in."""

    def run(first: Tensor) -> Tensor:
        with record(model, [block], stop=True, detach=False) as outputs:
            made = start.again(first)
            for step in chain:
                made = step.again(made)
        found: Tensor = outputs[block]
        return found

    return run_handed_on(model, before, given, run, start.given)


def _run_whole(model: nn.Module, before: str, block: str, sample: Tensor, given: Tensor) -> Tensor:
    """The block's output, by the whole model up to there."""

    def run(inputs: Tensor) -> Tensor:
        with record(model, [block], stop=True, detach=False) as outputs:
            model(inputs)
        made: Tensor = outputs[block]
        return made

    made = run_handed_on(model, before, given, run, sample)
    if len(made) != len(given):
        raise ValueError(f"block {block!r} does not depend on block {before!r}: name blocks that feed one another.")
    return made


def run_handed_on(
    model: nn.Module, block: str, given: Tensor, run: Callable[[Tensor], Result], inputs: Tensor
) -> Result:
    """What `run` makes of one input where the block hands on several outputs ``(m, ...)``, whatever it is given.

    One input runs up to the block; where what follows joins its outputs with what came before (a U-Net), and cannot
    take several for one, as many copies of the input do.
    """

    def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
        return with_first_tensor(output, given, block)

    with hooked(model, block, hook):
        try:
            return run(inputs)
        except RuntimeError:
            if len(given) == len(inputs):
                raise
            return run(inputs.expand(len(given), *inputs.shape[1:]))


@contextmanager
def runs_instead(layer: nn.Module, function: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """While open, a layer's own work is done by a function; its hooks stay."""
    own = layer.__dict__.get("forward")
    layer.forward = function
    try:
        yield
    finally:
        if own is None:
            del layer.forward
        else:
            layer.forward = own


@contextmanager
def _makes_only(linear: nn.Module, units: Tensor) -> Iterator[None]:
    """While open, a linear layer makes some of its units only."""
    assert isinstance(linear, nn.Linear)
    weight, bias = linear.weight[units], None if linear.bias is None else linear.bias[units]
    with runs_instead(linear, lambda given: functional.linear(given, weight, bias)):
        yield
