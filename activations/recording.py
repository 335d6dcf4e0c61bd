"""Record what layers output, whole or reduced on the way."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from genmend.activations.layers import find_layer
from genmend.activations.outputs import first_tensor
from genmend.activations.runs import WhichRun, count_runs

__all__ = ["Recorded", "Statistic", "record"]


class Statistic(Protocol):
    """Anything that takes batches one by one, such as the classes of `genmend.activations.statistics`."""

    def update(self, batch: Tensor) -> None:
        """Take one batch, shape ``(n, ...)``."""


class Recorded(dict[str, Any]):
    """The outputs by layer name; asking for a layer that did not run says so."""

    def __missing__(self, layer: str) -> Any:
        raise KeyError(
            f"layer {layer!r} is not among the recorded ones {sorted(self)}: "
            "name it in record(...) and run the model inside the block, so that this layer runs"
        )


class _StopForwardError(Exception):
    """Ends a forward pass once all that is asked for has been recorded; never leaves `record`."""


@contextmanager
def record(
    model: nn.Module,
    layers: Sequence[str],
    *,
    stop: bool = False,
    reduce: Callable[[Tensor], Any] | Mapping[str, Statistic] | None = None,
    detach: bool = True,
) -> Iterator[Recorded]:
    """Record the outputs of some layers while the block runs the model.

    Parameters
    ----------
    model
        Any module. A compiled one runs uncompiled inside the block: a compiled graph does not see hooks that were
        added after it was built.
    layers
        Dotted names; all are found before the first hook is placed, so a bad name leaves none behind. ``act#2`` is the
        second run of a layer that runs several times in each call of the model, ``act`` any run.
    stop
        End the forward pass as soon as every layer has run once (``act#2``: twice). **This also ends the block**, so
        with ``stop`` the model call is its last statement; for many batches, open one block per batch around the same
        statistics.
    reduce
        A function of the tensor whose result is kept instead of it, or one streaming statistic per layer, which is
        updated with each batch and stands in the result; layers the mapping does not name are kept whole.
    detach
        Whether what is recorded is cut from the gradient graph.

    Yields
    ------
    Recorded
        A dict from layer name to tensor (shape and dtype as output, the first tensor of a tuple), filled while the
        model runs; a later call of a layer (``act#2``: of the model) replaces earlier ones.

    Notes
    -----
    Tensors are cloned. The next layer may overwrite its input (``Conv2d`` then ``ReLU(inplace=True)``), and when the
    hook runs nobody can know whether it will; one copy costs little beside the layer that made it. The result of a
    reduction is copied only if it still shares memory with the output.

    Hooks run in the order they were placed: ``record`` inside ``edited`` sees the edited output, ``edited`` inside
    ``record`` leaves the recorded output unedited.

    Raises
    ------
    UnknownLayerError
        If a name is not a layer.
    TypeError, ValueError
        If `layers` is a plain string or names a layer twice, a layer lies in a scripted or traced module, or `reduce`
        names a layer that is not recorded.

    Examples
    --------
    >>> net = nn.Sequential(nn.Identity(), nn.ReLU())
    >>> with record(net, ["1"]) as outputs:
    ...     _ = net(torch.tensor([[-1.0, 2.0]]))
    >>> outputs["1"]
    tensor([[0., 2.]])
    """
    found = _find_all(model, layers)
    statistics = _statistics(found, reduce)
    outputs = Recorded(statistics)
    waiting = set(found)
    counted = {name: WhichRun(model, name) for name in found}
    finished = _StopForwardError()

    def hook_for(name: str, which: WhichRun) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if not which.is_meant():
                return
            tensor = first_tensor(output, name)
            tensor = tensor.detach() if detach else tensor
            if name in statistics:
                statistics[name].update(tensor)
            else:
                outputs[name] = _kept(tensor, reduce if callable(reduce) else None)
            waiting.discard(name)
            if stop and not waiting:
                raise finished

        return hook

    with ExitStack() as hooks:
        hooks.enter_context(_uncompiled())
        for name, module in found.items():
            hooks.callback(module.register_forward_hook(hook_for(name, counted[name])).remove)
        beginning = count_runs(model, counted.values())
        if beginning is not None:
            hooks.callback(beginning.remove)
        try:
            yield outputs
        except _StopForwardError as error:
            if error is not finished:  # it belongs to another record block around this one
                raise
        finally:
            # The traceback of the exception holds the frames of the whole forward pass, and through them its tensors.
            finished.__traceback__ = None


def _find_all(model: nn.Module, layers: Sequence[str]) -> dict[str, nn.Module]:
    if isinstance(layers, str):
        raise TypeError(f"layers is the string {layers!r}, but a list of layer names is needed; write [{layers!r}].")
    found = {name: find_layer(model, name) for name in layers}
    if len(found) < len(layers):
        raise ValueError(f"layers {list(layers)} names a layer twice; give each name once.")
    return found


def _statistics(found: Mapping[str, nn.Module], reduce: object) -> dict[str, Statistic]:
    if reduce is None or callable(reduce):
        return {}
    if not isinstance(reduce, Mapping):
        raise TypeError(
            f"reduce is a {type(reduce).__name__}, but a function or a dict from layer name to statistic is needed; "
            "wrap a single statistic as {layer: statistic}."
        )
    for name, statistic in reduce.items():
        if name not in found:
            raise ValueError(f"reduce names layer {name!r}, but the recorded layers are {list(found)}; add it.")
        if not callable(getattr(statistic, "update", None)):
            raise TypeError(
                f"reduce[{name!r}] is a {type(statistic).__name__} without update(batch); give a Statistic."
            )
    return dict(reduce)


def _kept(tensor: Tensor, reduce: Callable[[Tensor], Any] | None) -> Any:
    result = tensor if reduce is None else reduce(tensor)
    if isinstance(result, Tensor) and _same_memory(result, tensor):
        return result.clone()
    return result


def _same_memory(one: Tensor, other: Tensor) -> bool:
    return one is other or one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()


def _uncompiled() -> AbstractContextManager[Any]:
    # Importing Dynamo takes seconds; where nobody has, nothing is compiled.
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    return torch.compiler.set_stance("force_eager")
