"""ONNX graphs of voices: read and checked, their layers laid open, their randomness seeded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

__all__ = [
    "VoiceFileError",
    "expose_layers",
    "graph_ends",
    "lay_open",
    "let_be_edited",
    "n_embedded",
    "open_graph",
    "read_onnx",
    "seed_randomness",
    "upstream_part",
]

_RANDOM = ("RandomNormalLike", "RandomUniformLike", "RandomNormal", "RandomUniform", "Bernoulli", "Multinomial")
_FIELDS = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")


class VoiceFileError(ValueError):
    """A voice file that is damaged, of another kind, or does not go together with the files beside it."""


def read_onnx(path: str | Path) -> Any:
    """Read an ONNX model with all its weights, those in files beside it too.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    VoiceFileError
        If it is no ONNX file, or some of its weights are cut off or missing.
    """
    import onnx
    from google.protobuf.message import DecodeError

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no voice file {path}: give the path of a voice (.onnx).")
    try:
        model = onnx.load(path, load_external_data=False)
        is_graph = bool(model.graph.node) and bool(model.graph.output)
    except (DecodeError, ValueError, OSError) as error:
        raise VoiceFileError(f"{path} is not an ONNX file, or a damaged one ({error}): get the voice again.") from error
    if not is_graph:
        raise VoiceFileError(f"{path} is not an ONNX file, or only the beginning of one: get the voice again.")
    _check_weights(model, path)
    if any(weights.data_location == onnx.TensorProto.EXTERNAL for weights in model.graph.initializer):
        onnx.load_external_data_for_model(model, str(path.parent))
    return model


def _check_weights(model: Any, path: Path) -> None:
    """Refuse weights that are shorter than their shape says, as half a download has them."""
    from onnx import TensorProto, helper

    for weights in model.graph.initializer:
        n = int(np.prod(weights.dims, dtype=np.int64))
        if weights.data_location == TensorProto.EXTERNAL:
            _check_external(weights, path)
        elif weights.raw_data:
            try:
                size = helper.tensor_dtype_to_np_dtype(weights.data_type).itemsize * n
            except KeyError:
                continue
            # Types of less than a byte are packed: several values share one.
            if len(weights.raw_data) < (size if size == n * 4 else min(size, (n + 1) // 4)):
                raise _cut(path, weights.name)
        elif n and not any(len(getattr(weights, field)) for field in _FIELDS):
            raise _cut(path, weights.name)


def _check_external(weights: Any, path: Path) -> None:
    where = {entry.key: entry.value for entry in weights.external_data}
    name = where.get("location", "")
    beside = path.parent / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise VoiceFileError(f"{path} keeps its weights in {name!r}, outside its own folder: get the voice again.")
    if not beside.is_file():
        raise VoiceFileError(f"{path} keeps its weights in {name}, and that file is not beside it: get both files.")
    end = int(where.get("offset", 0)) + int(where.get("length", 0))
    if beside.stat().st_size < end:
        raise VoiceFileError(
            f"{beside} is cut off: it has {beside.stat().st_size:,} bytes, and the weights of {path.name} reach to "
            f"{end:,}; get it again."
        )


def _cut(path: Path, name: str) -> VoiceFileError:
    return VoiceFileError(f"{path} is cut off: the values of its weights {name!r} are missing; get the voice again.")


def graph_ends(model: Any) -> tuple[list[Any], list[Any]]:
    """Its inputs, without weights that stand among them, and its outputs."""
    weights = {weight.name for weight in model.graph.initializer}
    return [given for given in model.graph.input if given.name not in weights], list(model.graph.output)


def n_embedded(model: Any, tokens: str) -> int | None:
    """How many symbols the embedding knows that the input `tokens` chooses from; None where none is found."""
    rows = {weights.name: int(weights.dims[0]) for weights in model.graph.initializer if len(weights.dims) == 2}
    found = [
        rows[node.input[0]]
        for node in model.graph.node
        if node.op_type == "Gather" and node.input[1] == tokens and node.input[0] in rows
    ]
    return min(found, default=None)


def expose_layers(model: Any, layers: Mapping[str, str], outputs: Iterable[str] = ()) -> Any:
    """Copy a model, with every layer as an output, and an input ``delta.LAYER``, 0 if not given, added to it.

    It stays a valid voice: what needed no more than text before needs no more now, and sounds the same.

    Parameters
    ----------
    layers
        Name -> tensor of three axes, in whatever order.
    outputs
        Further tensors to be laid open.
    """
    from onnx import ModelProto, TensorProto, helper, numpy_helper

    copy = ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    for layer, tensor in layers.items():
        edited, delta = f"{tensor}/edited", f"delta.{layer}"
        for node in graph.node:
            for i, name in enumerate(node.input):
                if name == tensor:
                    node.input[i] = edited
        graph.initializer.append(numpy_helper.from_array(np.zeros((1, 1, 1), dtype=np.float32), delta))
        graph.input.append(helper.make_tensor_value_info(delta, TensorProto.FLOAT, [f"{delta}.{i}" for i in range(3)]))
        _insert_after(graph, tensor, [helper.make_node("Add", [tensor, delta], [edited], name=f"/genmend/{delta}")])
    lay_open(copy, (*layers.values(), *outputs))
    return copy


def lay_open(model: Any, tensors: Iterable[str]) -> None:
    """Change a model in place: these tensors are outputs too."""
    from onnx import helper

    known = {value.name for value in model.graph.output}
    for tensor in dict.fromkeys(tensors):
        if tensor not in known:
            model.graph.output.append(helper.make_empty_tensor_value_info(tensor))


def seed_randomness(model: Any, seed: int) -> Any | None:
    """Copy a model, with its own randomness seeded; None where it has none.

    onnxruntime's generators cannot be set back between two calls: a session of the copy repeats what it said only if
    it is opened anew.
    """
    from onnx import ModelProto, helper

    copy = ModelProto()
    copy.CopyFrom(model)
    nodes = [node for node in copy.graph.node if node.op_type in _RANDOM]
    for number, node in enumerate(nodes):
        kept = [attribute for attribute in node.attribute if attribute.name != "seed"]
        del node.attribute[:]
        node.attribute.extend(kept)
        # Below 2^24, which a float keeps exactly.
        node.attribute.append(helper.make_attribute("seed", float((seed * 1009 + number) % 2**24)))
    return copy if nodes else None


def upstream_part(model: Any, tensors: list[str]) -> Any:
    """The part of a model that these tensors are computed by, with those of its inputs that they need."""
    from onnx import ModelProto, helper

    made_by = {name: i for i, node in enumerate(model.graph.node) for name in node.output}
    needed: set[str] = set()
    left = list(tensors)
    while left:
        name = left.pop()
        if name not in needed:
            needed.add(name)
            left += _read_by(model.graph.node[made_by[name]]) if name in made_by else ()
    part = ModelProto()
    part.CopyFrom(model)
    graph = part.graph
    for field in ("node", "initializer", "sparse_initializer", "input", "output", "value_info"):
        graph.ClearField(field)
    kept = {made_by[name] for name in needed if name in made_by}
    graph.node.extend(node for i, node in enumerate(model.graph.node) if i in kept)
    graph.initializer.extend(weights for weights in model.graph.initializer if weights.name in needed)
    graph.sparse_initializer.extend(w for w in model.graph.sparse_initializer if w.values.name in needed)
    graph.input.extend(given for given in model.graph.input if given.name in needed)
    graph.output.extend(helper.make_empty_tensor_value_info(tensor) for tensor in tensors)
    return part


def _read_by(node: Any) -> list[str]:
    """What a node reads, also from within its branches and loops."""
    inner = [part for attribute in node.attribute for part in (attribute.g, *attribute.graphs)]
    return [*node.input, *(name for graph in inner for one in graph.node for name in _read_by(one))]


def open_graph(model: Any, source: str | Path) -> Any:
    """Open an onnxruntime session on one thread (more are slower for one sentence).

    Raises
    ------
    VoiceFileError
        If onnxruntime refuses the graph.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exception classes are not public
        raise VoiceFileError(f"{source} cannot be run by onnxruntime ({error}): get the voice again.") from error


def let_be_edited(model: Any, tensor: str, name: str) -> str:
    """Change a model in place: an input ``delta.NAME``, 0 if not given, is added to a tensor; what reads it reads that.

    Returns
    -------
    str
        The tensor with what was added.
    """
    from onnx import TensorProto, helper, numpy_helper

    made = next(node for node in model.graph.node if tensor in node.output)
    casts = [attribute.i for attribute in made.attribute if made.op_type == "Cast" and attribute.name == "to"]
    kind = casts[0] if casts else TensorProto.FLOAT
    edited, delta = f"{tensor}/edited", f"delta.{name}"
    for node in model.graph.node:
        for i, read in enumerate(node.input):
            if read == tensor:
                node.input[i] = edited
    # No axes: any shape can be given, and 0 alone changes none.
    zero = np.zeros((), helper.tensor_dtype_to_np_dtype(kind))
    model.graph.initializer.append(numpy_helper.from_array(zero, delta))
    model.graph.input.append(helper.make_tensor_value_info(delta, kind, None))
    _insert_after(model.graph, tensor, [helper.make_node("Add", [tensor, delta], [edited])])
    return edited


def _insert_after(graph: Any, tensor: str, nodes: list[Any]) -> None:
    position = next(i for i, node in enumerate(graph.node) if tensor in node.output)
    for offset, node in enumerate(nodes, start=1):
        graph.node.insert(position + offset, node)
