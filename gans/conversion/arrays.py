"""The arrays in what a pickle would have made: tensors, numpy arrays and whole modules, by name.

Names: the keys of nested dicts joined by "/", and inside a module the dotted names of its own state dict.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genmend.gans.conversion.unpickling import Made, Name

__all__ = ["Storage", "flat_arrays", "is_harmless"]

#: ``storage(made)`` gives the numbers behind a tensor, flat, as they lie in the file.
Storage = Callable[[Any], Tensor]

_TENSORS = {
    Name("torch._utils", "_rebuild_tensor_v2"),
    Name("torch._utils", "_rebuild_tensor"),
    Name("torch._utils", "_rebuild_parameter"),
    Name("torch._utils", "_rebuild_parameter_with_state"),
}
_RECONSTRUCTORS = (Name("copy_reg", "_reconstructor"), Name("copyreg", "_reconstructor"))
_PLAIN = {
    Name("collections", "OrderedDict"),
    Name("_codecs", "encode"),
    Name("torch", "Size"),
    Name("builtins", "set"),
    Name("__builtin__", "set"),
    Name("builtins", "object"),
    Name("__builtin__", "object"),
    *_RECONSTRUCTORS,
}
_NUMPY = {"numpy", "numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric"}
_NUMPY_NAMES = {"ndarray", "dtype", "_reconstruct", "scalar", "_frombuffer"}
_PERSISTENT_CLASS = Name("torch_utils.persistence", "_reconstruct_persistent_obj")
_DTYPES = {
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool,
}  # fmt: skip
_MOST_REPEATED = 16  # how often a view may repeat its numbers, as an expanded tensor does
_MOST_NODES, _DEEPEST = 2_000_000, 60


def is_harmless(name: Name) -> bool:
    """Whether a name is one that arrays themselves need, so that it tells nothing about the file."""
    return (
        name in _TENSORS
        or name in _PLAIN
        or (name.module in {"torch", "torch.storage"} and (name.name.endswith("Storage") or name.name[0] == "_"))
        or (name.module in _NUMPY and name.name in _NUMPY_NAMES)
    )


def flat_arrays(root: Any, storage: Storage) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Every array by name, and by the name of each module the plain settings it was made with.

    Raises
    ------
    ValueError
        If a tensor reaches outside its numbers, or the tree is too deep or too large to be a checkpoint.
    """
    arrays: dict[str, Tensor] = {}
    settings: dict[str, Any] = {}
    for path, value, made_with in _leaves(root, storage):
        if isinstance(value, Tensor):
            arrays[path] = _dense(path, value.detach())
        else:
            settings[path] = made_with
    return arrays, settings


def _dense(path: str, tensor: Tensor) -> Tensor:
    """A copy with memory of its own, of a tensor that can have one."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        kind = "quantised" if tensor.is_quantized else str(tensor.layout).removeprefix("torch.").replace("_", " ")
        where = "" if tensor.device.type == "cpu" else f" on the device {tensor.device}"
        raise ValueError(f"its tensor {path!r} is {kind}{where}, and convert reads plain dense ones")
    if tensor.dtype not in _DTYPES:
        raise ValueError(f"its tensor {path!r} holds {tensor.dtype}, and no generator that convert reads does")
    given = tensor.untyped_storage().nbytes()
    if tensor.numel() * tensor.element_size() > _MOST_REPEATED * max(given, 1):
        raise ValueError(f"its tensor {path!r} of size {tuple(tensor.shape)} is made of {given} bytes")
    return tensor.clone(memory_format=torch.contiguous_format)


def _leaves(root: Any, storage: Storage) -> Iterator[tuple[str, Tensor | None, Any]]:
    """(path, array, None) of every array, and (path, None, settings) of every module that kept some."""
    waiting: list[tuple[str, Any, int, bool]] = [("", root, 0, False)]
    seen = 0
    while waiting:
        path, value, depth, in_module = waiting.pop()
        seen += 1
        if depth > _DEEPEST or seen > _MOST_NODES:
            raise ValueError("it is nested more deeply, or has more parts, than a checkpoint has")
        array = _array(value, storage)
        if array is not None:
            yield path, array, None
            continue
        attributes = _attributes(value) if isinstance(value, Made) else {}
        is_module = "_modules" in attributes
        if is_module and not in_module:
            yield path, None, _plain(attributes.get("_init_kwargs") or {})
        parts = _module_parts(attributes) if is_module else _parts(value)
        for key in reversed(list(parts)):  # for the stack gives back the last first
            name = f"{path}{'.' if in_module else '/'}{key}" if path else str(key)
            waiting.append((name, parts[key], depth + 1, in_module or is_module))


def _parts(value: Any) -> dict[Any, Any]:
    """What a container holds, by key or place."""
    if isinstance(value, list | tuple):
        return dict(enumerate(value))
    if isinstance(value, Made):
        return _entries(value) or _attributes(value)
    return value if isinstance(value, dict) else {}


def _attributes(made: Made) -> dict[Any, Any]:
    """The attributes that an object would have had."""
    state = made.state
    if made.of == _PERSISTENT_CLASS and made.args:
        meta = made.args[0]
        state = _entries(meta).get("state")
    if isinstance(state, tuple) and len(state) == 2:  # (attributes, slots)
        state = state[0]
    return _entries(state)


def _entries(value: Any) -> dict[Any, Any]:
    if isinstance(value, Made):
        # Protocols 0 and 1 hand a dict's own class the entries as its last argument.
        given = value.args[-1] if value.of in _RECONSTRUCTORS and value.args else None
        return value.entries or (given if isinstance(given, dict) else {})
    return value if isinstance(value, dict) else {}


def _module_parts(attributes: dict[Any, Any]) -> dict[Any, Any]:
    """Parameters, buffers that a state dict has, and children of an nn.Module."""
    skipped = attributes.get("_non_persistent_buffers_set") or set()
    buffers = {key: value for key, value in _entries(attributes.get("_buffers")).items() if key not in skipped}
    return {**_entries(attributes.get("_parameters")), **buffers, **_entries(attributes["_modules"])}


def _plain(value: Any, depth: int = 0) -> Any:
    """The value as JSON has it; what has no such form is left out."""
    if isinstance(value, Made | dict) and depth < 8:
        plain = {str(key): _plain(item, depth + 1) for key, item in _entries(value).items()}
        return {key: item for key, item in plain.items() if item is not None or _entries(value).get(key) is None}
    if isinstance(value, list | tuple) and depth < 8:
        return [_plain(item, depth + 1) for item in value]
    return value if isinstance(value, str | int | float | bool) else None


def _array(value: Any, storage: Storage) -> Tensor | None:
    """The tensor that a value is, or would have been."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value) if value.dtype.kind in "fiub" else None
    if not isinstance(value, Made) or not isinstance(value.of, Name):
        return None
    if value.of in _TENSORS:
        if "parameter" in value.of.name:
            return _array(value.args[0], storage)
        return _strided(storage(value.args[0]), *value.args[1:4])
    if value.of.module in _NUMPY:
        return _numpy_array(value)
    return None


def _strided(numbers: Tensor, offset: int, size: Any, stride: Any) -> Tensor:
    """A tensor's view of its numbers, checked: as_strided itself trusts its arguments."""
    size, stride = (value.args[0] if isinstance(value, Made) else value for value in (size, stride))
    if len(size) != len(stride) or not all(type(n) is int and n >= 0 for n in (offset, *size, *stride)):
        raise ValueError(f"a tensor has size {size}, stride {stride} and offset {offset}")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if 0 not in size and last >= len(numbers):
        raise ValueError(f"a tensor of size {tuple(size)} reaches to number {last}, and there are {len(numbers)}")
    if math.prod(size) > _MOST_REPEATED * max(len(numbers), 1):
        raise ValueError(f"a tensor of size {tuple(size)} is made of {len(numbers)} numbers")
    return numbers.as_strided(tuple(size), tuple(stride), offset)


def _numpy_array(made: Made) -> Tensor | None:
    if made.of.name == "_reconstruct" and isinstance(made.state, tuple) and len(made.state) == 5:
        _, shape, dtype, fortran, data = made.state
    elif made.of.name == "_frombuffer" and len(made.args) == 4:
        data, dtype, shape, order = made.args
        fortran = order == "F"
    elif made.of.name == "scalar" and len(made.args) == 2:
        (dtype, data), shape, fortran = made.args, (), False
    else:
        return None
    if isinstance(data, Made) and data.of == Name("_codecs", "encode"):
        data = str(data.args[0]).encode("latin1")
    code = dtype.args[0] if isinstance(dtype, Made) and dtype.args else None
    order = dtype.state[1] if isinstance(dtype, Made) and isinstance(dtype.state, tuple) else "<"
    if not isinstance(data, bytes | bytearray) or not isinstance(code, str) or code[0] not in "fiub" or order == ">":
        return None
    array = np.frombuffer(data, dtype=np.dtype(f"<{code}")).reshape(shape, order="F" if fortran else "C")
    return torch.from_numpy(np.array(array, order="C"))
