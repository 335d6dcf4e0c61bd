"""A device "cuda" on a machine without one: CPU tensors that are labelled, and an error wherever labels mix.

torch's `FakeTensorMode` refuses operations between devices too, but has no values and, without a driver, no gradients.
Here every tensor is a CPU tensor with its values; each storage is labelled "cpu" or "cuda:0", and inside
`labelled_device` torch answers as it does on a GPU: `tensor.device` gives the label, `to` copies to the other one, an
operation between both raises, and so do `numpy()` and a generator of the wrong device. All library code can run in it,
with the results that the CPU gives; what CUDA kernels compute otherwise is left to benchmarks/gpu.py.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from types import FunctionType
from typing import Any
from unittest.mock import patch
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

aten = torch.ops.aten
CPU = torch.device("cpu")
CUDA = torch.device("cuda:0")
# By address; a weak reference to a storage keeps its address from being used again. Of the second kind are those that
# torch's own backward pass makes, whose device shows when they meet others.
_labelled: dict[int, StorageWeakRef] = {}
_undecided: dict[int, StorageWeakRef] = {}
_generators: WeakValueDictionary[int, torch.Generator] = WeakValueDictionary()
_to, _numpy, _deepcopy, _new_tensor = Tensor.to, Tensor.numpy, Tensor.__deepcopy__, Tensor.new_tensor
_as_tensor, _tensor = torch.as_tensor, torch.tensor
_backward = torch.autograd.graph._engine_run_backward
# Operations that copy between devices, and those whose indices may lie on the CPU.
_PACKED = aten._pack_padded_sequence.default  # takes lengths on the CPU, and gives sizes of batches there
_COPIES = {aten.copy_.default, aten._to_copy.default, aten.lift_fresh.default, aten.lift_fresh_copy.default}
_INDEXED = {
    aten.index.Tensor,
    aten._unsafe_index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten._index_put_impl_.default,
}
# Their number may be a tensor on any device; what they make lies on the one they name.
_MAKERS = {torch.full, torch.arange, torch.linspace, torch.scalar_tensor}
# Beside the pointwise ones, those that take a number as a CPU tensor without dimensions.
_NUMBERS = {aten.index_put_.default, aten._index_put_impl_.default, aten.index_put.default, aten.fill_.Tensor}


class Generator(torch.Generator):
    """A `torch.Generator` that tells the device it was asked for, and draws on the CPU."""

    def __new__(cls, device: torch.device | str = "cpu") -> "Generator":
        made = super().__new__(cls)
        if _named(device) == CUDA:
            _generators[made._cdata] = made
        return made

    def __init__(self, device: torch.device | str = "cpu") -> None:
        super().__init__()

    device = property(lambda self: CUDA if self._cdata in _generators else CPU)


class _Calls(TorchFunctionMode):
    """Tells `_Labels` what torch's own code makes for a tensor on the device, as by ``at::empty(tensor.options())``."""

    depth = 0
    backward = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if isinstance(func, FunctionType) or func in _MAKERS or kwargs.get("device") is not None:
            return func(*args, **kwargs)
        inside = any(map(_on_cuda, (*args, *kwargs.values())))
        _Calls.depth += inside
        try:
            return func(*args, **kwargs)
        finally:
            _Calls.depth -= inside


class _Labels(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        wanted = kwargs.get("device")
        if wanted is not None:
            wanted = CUDA if _Calls.depth else wanted
            kwargs["device"] = None if func is aten._to_copy.default else CPU
        given = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
        undecided = _Calls.backward and wanted is not None
        if any(map(_on_cuda, given)):
            for value in given:
                if _undecided.pop(_key(value), None):
                    _label(value)
        elif given and wanted is None:
            undecided = all(_key(value) in _undecided for value in given)
        place = _named(wanted) if wanted is not None else _place(func, args, given)
        _check_generator(func, place, kwargs)
        found = func(*args, **kwargs)
        if func is not aten.copy_.default and (place == CUDA or undecided):
            held = {_key(value) for value in given}
            for value in [found[0]] if func is _PACKED else tree_flatten(found)[0]:
                if isinstance(value, Tensor) and _key(value) not in held:
                    _label(value, _undecided if undecided else _labelled)
        return found


@contextmanager
def labelled_device() -> Iterator[torch.device]:
    """Within it torch has a device "cuda:0", which is given."""
    patches = {
        Tensor: {
            "device": property(device_of),
            "is_cuda": property(lambda self: device_of(self) == CUDA),
            "is_cpu": property(lambda self: device_of(self) == CPU),
            "get_device": lambda self: 0 if device_of(self) == CUDA else -1,
            "to": _to_labelled,
            "cpu": lambda self, *_, **__: _move(self, CPU),
            "cuda": lambda self, *_, **__: _move(self, CUDA),
            "numpy": _numpy_labelled,
            "new_tensor": _new_tensor_labelled,
            "__deepcopy__": _deepcopy_labelled,
        },
        nn.Module: {"cuda": lambda self, device=None: self.to(CUDA)},
        torch: {"Generator": Generator, "as_tensor": _as_tensor_labelled, "tensor": _tensor_labelled},
        torch.cuda: {
            "_lazy_init": lambda: None,
            "manual_seed": lambda seed: None,
            "get_rng_state": lambda *_: torch.get_rng_state(),
            "set_rng_state": lambda *_: None,
            "device": lambda *_: nullcontext(),
        },
        torch.autograd.graph: {"_engine_run_backward": _backward_labelled},
        torch.autograd: {"_engine_run_backward": _backward_labelled},
        torch.backends.cudnn: {"is_acceptable": lambda *_: False},
    }
    with ExitStack() as stack:
        for place, attributes in patches.items():
            for name, value in attributes.items():
                stack.enter_context(patch.object(place, name, value, create=True))
        stack.enter_context(_Calls())
        stack.enter_context(_Labels())
        yield CUDA


def device_of(tensor: Tensor) -> torch.device:
    """The device that the label of `tensor` says."""
    return CUDA if _key(tensor) in _labelled else CPU


def _on_cuda(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_on_cuda, value))
    return isinstance(value, Tensor) and _key(value) in _labelled


def _key(tensor: Tensor) -> int:
    key: int = tensor.untyped_storage()._cdata
    return key


def _label(tensor: Tensor, labels: dict[int, StorageWeakRef] = _labelled) -> Tensor:
    if len(labels) > 4096:
        for key in [key for key, storage in labels.items() if storage.expired()]:
            del labels[key]
    storage = tensor.untyped_storage()
    labels[storage._cdata] = StorageWeakRef(storage)
    return tensor


def _named(device: torch.device | str | int) -> torch.device:
    device = torch.device("cuda", device) if isinstance(device, int) else torch.device(device)
    if device.type == "meta":
        return device
    return CPU if device.type == "cpu" else CUDA


def _place(func: Any, args: Any, given: list[Tensor]) -> torch.device:
    """Where the result of `func` lies; RuntimeError where its tensors lie on two devices."""
    places = [device_of(tensor) for tensor in given]
    if CUDA not in places:
        return CPU
    if func in _COPIES or func is _PACKED:
        return places[0]
    counted = [
        place
        for tensor, place in zip(given, places, strict=True)
        if not (place == CPU and tensor.ndim == 0 and (torch.Tag.pointwise in func.tags or func in _NUMBERS))
    ]
    if func in _INDEXED:
        indexed = device_of(args[0])
        outside = [one for one in args[1] if one is not None and device_of(one) == CUDA] if indexed == CPU else []
        values = [one for one in args[2:3] if isinstance(one, Tensor) and one.ndim and device_of(one) != indexed]
        counted = [indexed] if not outside and not values else [CPU, CUDA]
    if CPU in counted:
        shapes = ", ".join(f"{tuple(one.shape)} on {place}" for one, place in zip(given, places, strict=True))
        raise RuntimeError(f"{func}: expected all tensors to be on the same device, found {shapes}.")
    return CUDA


def _check_generator(func: Any, place: torch.device, kwargs: dict[str, Any]) -> None:
    generator = kwargs.get("generator")
    if generator is not None and place.type != "meta":
        found = CUDA if generator._cdata in _generators else CPU  # torch passes it on as an object of its own class
        if found != place:
            raise RuntimeError(f"{func}: expected a {place} generator but found one of {found}.")


class _Move(torch.autograd.Function):
    """A copy on the other device; its gradient comes back."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, place: torch.device) -> Tensor:
        ctx.place, ctx.other = device_of(tensor), place
        return _copied(tensor, place)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _copied(gradient, ctx.place), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        return _copied(tangent, ctx.other)


def _copied(tensor: Tensor, place: torch.device) -> Tensor:
    with torch._C._DisableTorchDispatch():
        copied = tensor.detach().clone()
    return _label(copied) if place == CUDA else copied


def _move(tensor: Tensor, place: torch.device) -> Tensor:
    if device_of(tensor) == place:
        return tensor
    moved: Tensor = _Move.apply(tensor, place)
    return moved


def _backward_labelled(outputs: Any, *args: Any, **kwargs: Any) -> Any:
    before, _Calls.backward = _Calls.backward, True
    try:
        return _backward(outputs, *args, **kwargs)
    finally:
        _Calls.backward = before


def _to_labelled(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    if args and isinstance(args[0], Tensor):
        return _move(_to(self, args[0].dtype, *args[1:], **kwargs), device_of(args[0]))
    if "other" in kwargs:
        other = kwargs.pop("other")
        return _move(_to(self, other.dtype, *args, **kwargs), device_of(other))
    device = kwargs.pop("device", None)
    if args and (args[0] is None or isinstance(args[0], (torch.device, str, int))):
        device, args = args[0], (None, *args[1:])
    if device is not None and torch.device(device).type == "meta":
        return _to(self, device, *args[1:], **kwargs)
    converted = _to(self, *args, **kwargs) if args or kwargs else self
    return converted if device is None else _move(converted, _named(device))


def _numpy_labelled(self: Tensor, *, force: bool = False) -> Any:
    if device_of(self) != CPU:
        if not force:
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy it first.")
        self = _move(self.detach(), CPU)
    return _numpy(self, force=force)


def _new_tensor_labelled(self: Tensor, data: Any, **kwargs: Any) -> Tensor:
    kwargs.setdefault("device", device_of(self))
    kwargs.setdefault("dtype", self.dtype)
    return torch.tensor(data, **kwargs)


def _deepcopy_labelled(self: Tensor, memo: dict[int, Any]) -> Tensor:
    copied = _deepcopy(self, memo)
    return _label(copied) if device_of(self) == CUDA else copied


def _as_tensor_labelled(data: Any, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
    if isinstance(data, Tensor):
        return data.to(device=device, dtype=dtype)
    return _move(_as_tensor(data, dtype=dtype), _named(device or CPU))


def _tensor_labelled(data: Any, *, device: Any = None, **kwargs: Any) -> Tensor:
    return _tensor(data, **kwargs) if device is None else _move(_tensor(data, **kwargs), _named(device))
