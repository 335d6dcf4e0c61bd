"""The blocks of a network, one fed by the other, and the units that stand for each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from genmend.activations.layers import find_layer, named_layers
from genmend.activations.outputs import first_tensor, with_first_tensor
from genmend.activations.recording import record
from genmend.activations.runs import hooked
from genmend.concepts.scalar_target import as_module

__all__ = ["BlockCall", "call_blocks", "find_blocks", "handed_on", "unit_axis", "unit_means", "unit_scores"]


def find_blocks(model: nn.Module, inputs: Tensor) -> list[str]:
    """The longest chain of modules of one level, each fed by the output of the one before it.

    Stages that are chains themselves (``blocks.3`` of EfficientNet) are replaced by their blocks. Where a chain has
    three blocks with parts inside, single layers round them are left out (a stem, a last norm); where it has none, as
    in VGG, the nonlinearities stand for it.

    Parameters
    ----------
    model
        In evaluation mode.
    inputs
        Any batch that the model takes; it is run once.

    Returns
    -------
    list of str
        Dotted names, in order of execution.

    Raises
    ------
    ValueError
        If no three modules follow one another: name the blocks yourself.
    """
    calls = {call.name: call for call in _traced(model, inputs)}
    layers = named_layers(model)
    children: dict[str, list[str]] = {}
    for name in calls:  # in the order in which they end
        if name:
            children.setdefault(name.rpartition(".")[0], []).append(name)
    chains = [_chain(names, calls, children, layers) for names in children.values()]
    composite = [max(_runs(chain, lambda name: name in children), key=len, default=[]) for chain in chains]
    best = max(composite, key=len, default=[])
    if len(best) < 3:
        bends = [[name for name in chain if not _has_weights(layers[name])] for chain in chains]
        best = max(([n for n in chain if "pool" not in type(layers[n]).__name__.lower()] for chain in bends), key=len)
    if len(best) < 3:
        raise ValueError(
            "No three modules of the model follow one another, each fed by the one before it: "
            "name the blocks yourself, blocks=[...], in order of execution."
        )
    return best


@dataclass(frozen=True, eq=False)
class _Call:
    """One run of a module; the tensors are held, so that no two have one identity."""

    name: str
    module: nn.Module
    given: Any
    others: tuple[Any, ...]
    named: dict[str, Any]
    made: Any
    output: Tensor | None


def _traced(model: nn.Module, inputs: Tensor, keep: Collection[str] = ()) -> list[_Call]:
    """Every run of a module, in the order in which they end; the outputs of those to `keep` are copied."""
    calls: list[_Call] = []
    handles = []
    for name, module in named_layers(as_module(model)).items():

        def hook(
            module: nn.Module, args: tuple[Any, ...], named: dict[str, Any], output: Any, name: str = name
        ) -> None:
            items = [output] if isinstance(output, Tensor) else output if isinstance(output, tuple | list) else []
            made = next((item for item in items if isinstance(item, Tensor)), None)
            # What comes after may work in place.
            copy = made.clone() if made is not None and name in keep else None
            calls.append(_Call(name, module, args[0] if args else None, args[1:], named, made, copy))

        handles.append(module.register_forward_hook(hook, with_kwargs=True))
    try:
        with torch.no_grad():
            model(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _chain(
    names: Sequence[str],
    calls: Mapping[str, _Call],
    children: Mapping[str, list[str]],
    layers: Mapping[str, nn.Module],
) -> list[str]:
    """The longest run of siblings of which each is given what the one before it made; stages by their parts."""
    fed = _runs(names, lambda name: True, lambda before, name: calls[name].given is calls[before].made)
    flat: list[str] = []
    for name in max(fed, key=len, default=[]):
        inner = children.get(name, [])
        is_stage = isinstance(layers[name], nn.Sequential) and inner and all(part in children for part in inner)
        flat += _chain(inner, calls, children, layers) if is_stage else [name]
    return flat


def _runs(
    names: Sequence[str],
    counts: Callable[[str], bool],
    follows: Callable[[str, str], bool] = lambda before, name: True,
) -> list[list[str]]:
    """Stretches of consecutive names that count, each of which follows the one before it."""
    runs: list[list[str]] = [[]]
    for name in names:
        if not counts(name):
            runs.append([])
            continue
        if runs[-1] and not follows(runs[-1][-1], name):
            runs.append([])
        runs[-1].append(name)
    return runs


def _has_weights(module: nn.Module) -> bool:
    return any(True for _ in module.parameters())


@dataclass(frozen=True)
class BlockCall:
    """What a block made of one sample, and how to make it anew from the output of the block before.

    Attributes
    ----------
    name : str
    output : Tensor
        The first tensor of what it made, shape ``(1, ...)``.
    steps : tuple
        The modules between the block before and this one, itself included, with their further arguments; none for the
        first block, and where something else stands between (a sum, a reshaping).
    whole : callable or None
        Runs the whole model up to this block for given outputs of the block before; where there are no steps.
    """

    name: str
    output: Tensor
    steps: tuple[_Call, ...]
    whole: Callable[[Tensor], Tensor] | None = None

    def __call__(self, before: Tensor) -> Tensor:
        """Its output where the block before it gives other outputs ``(m, ...)``."""
        if self.whole is not None:
            return self.whole(before)
        for step in self.steps:
            before = first_tensor(step.module(before, *step.others, **step.named), step.name)
        return before


def call_blocks(model: nn.Module, blocks: Sequence[str], sample: Tensor) -> list[BlockCall]:
    """Run the model on one sample, and keep how each block follows from the one before it.

    Parameters
    ----------
    model
        In evaluation mode.
    blocks
        In order of execution, each fed by the one before it: directly or through further modules, of which alone the
        needed ones are run again; or in any other way, which takes runs of the whole model.
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
    trace = _traced(model, sample, keep=set(blocks))
    found: list[BlockCall] = []
    before: _Call | None = None
    for name in blocks:
        runs = [number for number, call in enumerate(trace) if call.name == name]
        if len(runs) != 1:
            raise ValueError(
                f"block {name!r} ran {len(runs)} times in one call of the model, but a block must run once."
            )
        call = trace[runs[0]]
        if call.output is None:
            raise TypeError(f"block {name!r} gave no tensor: choose a layer inside or around it.")
        if before is None:
            found.append(BlockCall(name, call.output, ()))
        elif trace.index(call) < trace.index(before):
            raise ValueError(
                f"block {name!r} does not follow block {before.name!r}: name blocks in order of execution."
            )
        else:
            steps = _between(trace[: runs[0] + 1], before)
            whole = None if steps else partial(_run_whole, as_module(model), before.name, name, sample)
            found.append(BlockCall(name, call.output, steps, whole))
        before = call
    return found


def _between(trace: Sequence[_Call], before: _Call) -> tuple[_Call, ...]:
    """The modules that make the last call's output of an earlier one's, in order; none where not only modules do."""
    steps = [trace[-1]]
    # A layer that works in place returns the tensor that it was given: the run that ended last made it.
    start = trace.index(before) if before in trace else len(trace)
    earlier = [call for call in trace[start:-1] if call.name and not before.name.startswith(f"{call.name}.")]
    while steps[0].given is not before.made or steps[0].given is None:
        ended = earlier.index(steps[0]) if steps[0] in earlier else len(earlier)
        made_it = [call for call in earlier[:ended] if call.made is steps[0].given]
        if not made_it or made_it[-1] is before:
            return ()
        steps.insert(0, made_it[-1])
    return tuple(steps)


def _run_whole(model: nn.Module, before: str, block: str, sample: Tensor, given: Tensor) -> Tensor:
    """The block's output where the one before hands on other outputs ``(m, ...)``; one sample runs up to there."""
    with handed_on(model, before, given), record(model, [block], stop=True, detach=False) as outputs:
        model(sample)
    made: Tensor = outputs[block]
    if len(made) != len(given):
        raise ValueError(f"block {block!r} does not depend on block {before!r}: name blocks that feed one another.")
    return made


@contextmanager
def handed_on(model: nn.Module, block: str, given: Tensor) -> Iterator[None]:
    """While open, the block hands on these outputs ``(m, ...)``, whatever it is given.

    Raises
    ------
    ValueError
        If what follows cannot take several outputs for one sample.
    """

    def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
        return with_first_tensor(output, given, block)

    with hooked(model, block, hook):
        try:
            yield
        except RuntimeError as error:
            raise ValueError(
                f"What follows block {block!r} cannot take {len(given)} outputs for one sample, as where it joins them "
                f"with what came before ({error}): name later blocks."
            ) from error


def unit_scores(output: Tensor, share: float = 0.1) -> Tensor:
    """How strongly each unit answers to each sample: the mean of its largest values.

    Parameters
    ----------
    output
        Maps ``(n, units, h, w)``, tokens ``(n, tokens, units)``, or ``(n, units)``.
    share
        Of the positions that count, published 0.1; at least one does.

    Returns
    -------
    Tensor
        Shape ``(n, units)``.
    """
    values = _by_position(output)
    count = max(1, int(values.shape[2] * share))
    if count == 1:
        return values.amax(2)
    return values.topk(count, dim=2, sorted=False).values.mean(2)


def unit_means(output: Tensor) -> Tensor:
    """The mean of each unit over positions, shape ``(n, units)``; of the same outputs as `unit_scores`."""
    return _by_position(output).mean(2)


def unit_axis(output: Tensor) -> int:
    """Along which axis the units of an output lie."""
    return 2 if output.ndim == 3 else 1


def _by_position(output: Tensor) -> Tensor:
    if output.ndim < 2:
        raise ValueError(f"A block's output has shape {tuple(output.shape)}, but (n, units, ...) is needed.")
    if output.ndim == 3:
        return output.transpose(1, 2)
    return output.flatten(2) if output.ndim > 2 else output.unsqueeze(2)
