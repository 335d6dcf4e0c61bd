"""The blocks of a network, one fed by the other, whose units stand for what it sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn

from genmend.activations.layers import named_layers
from genmend.concepts.circuits.trace import LayerCall, has_weights, maker, trace_calls

__all__ = ["find_blocks"]


def find_blocks(model: nn.Module, inputs: Tensor) -> list[str]:
    """The longest chain of modules of one level, each fed by the output of the one before it.

    Stages that are chains themselves (``blocks.3`` of EfficientNet) are replaced by their blocks. Where a chain has
    three blocks with parts inside, single layers round them are left out (a stem, a last norm); where it has none, as
    in VGG, the nonlinearities stand for it. Of a transformer's blocks the hidden units of their MLPs are meant, as
    published: the nonlinearities behind their widening linear layers.

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
    trace = trace_calls(model, inputs)
    calls = {call.name: call for call in trace}
    layers = named_layers(model)
    children: dict[str, list[str]] = {}
    for name in calls:  # in the order in which they end
        if name:
            children.setdefault(name.rpartition(".")[0], []).append(name)
    chains = [_chain(names, calls, children, layers) for names in children.values()]
    composite = [max(_runs(chain, lambda name: name in children), key=len, default=[]) for chain in chains]
    best = max(composite, key=len, default=[])
    if len(best) < 3:
        bends = [[name for name in chain if not has_weights(layers[name])] for chain in chains]
        best = max(([n for n in chain if "pool" not in type(layers[n]).__name__.lower()] for chain in bends), key=len)
    if len(best) < 3:
        raise ValueError(
            "No three modules of the model follow one another, each fed by the one before it: "
            "name the blocks yourself, blocks=[...], in order of execution."
        )
    hidden = [_hidden(calls[name], trace) for name in best]
    return best if None in hidden else [call.name for call in hidden if call is not None]


def _hidden(block: LayerCall, trace: Sequence[LayerCall]) -> LayerCall | None:
    """The nonlinearity behind the first linear layer inside a block that makes tokens wider; None where none does."""
    if block.made is None or block.made.ndim < 3 or block.axis != block.made.ndim - 1:
        return None
    for call in trace:
        if call.name.startswith(f"{block.name}.") and call.made is not None and not has_weights(call.module):
            widened = maker(trace, call)
            is_linear = widened is not None and isinstance(widened.module, nn.Linear)
            if is_linear and call.made.ndim >= 3 and call.made.shape[-1] > block.made.shape[-1]:
                return call
    return None


def _chain(
    names: Sequence[str],
    calls: Mapping[str, LayerCall],
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
