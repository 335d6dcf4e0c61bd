"""The graph of a Piper voice (an ONNX file of a VITS model): where its layers are, and how to reach into them.

Names as in files that Piper's own exporter writes (checked on en_US-joe-medium, IR 8, opset 15).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

__all__ = [
    "ENCODER_LAYER",
    "FRAMES",
    "PiperGraphError",
    "expose_layers",
    "layer_tensors",
    "n_symbols",
    "open_graph",
    "read_graph",
]

EMBEDDING = "/enc_p/encoder/Mul_1_output_0"
ENCODER_LAYER = "/enc_p/encoder/norm_layers_2.{}/Transpose_1_output_0"
FRAMES = "/Ceil_output_0"  # frames of each token, (b, 1, n)
# Two random tensors: of the duration predictor (b, 2, n), and of the latent frames (b, d, frames).
DURATION_NOISE, LATENT_NOISE = "/dp/RandomNormalLike", "/RandomNormalLike"


class PiperGraphError(ValueError):
    """The file is no Piper voice, or a damaged one."""


def read_graph(path: str | Path) -> Any:
    """Read the ONNX model of a voice file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    PiperGraphError
        If it is damaged, or has no VITS text encoder under the names that Piper gives.
    """
    import onnx
    from google.protobuf.message import DecodeError

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no voice file {path}: give the path of a Piper voice (.onnx).")
    try:
        model = onnx.load(path, load_external_data=False)
        tensors = {name for node in model.graph.node for name in node.output}
    except (DecodeError, ValueError, OSError) as error:
        raise PiperGraphError(
            f"{path} is not an ONNX file, or a damaged one ({error}): get the voice again."
        ) from error
    if EMBEDDING not in tensors or ENCODER_LAYER.format(0) not in tensors or FRAMES not in tensors:
        names = [", ".join(sorted(value.name for value in found)[:6]) or "none" for found in _ends(model.graph)]
        raise PiperGraphError(
            f"{path} is an ONNX file, but not a Piper voice: it takes {names[0]} and gives {names[1]}, and has no "
            f"tensors {EMBEDDING} and {FRAMES}; give a VITS voice that Piper exported (it takes input, input_lengths, "
            "scales)."
        )
    return model


def _ends(graph: Any) -> tuple[list[Any], list[Any]]:
    """Its inputs, without weights that stand among them, and its outputs."""
    weights = {weight.name for weight in graph.initializer}
    return [given for given in graph.input if given.name not in weights], list(graph.output)


def layer_tensors(model: Any) -> dict[str, str]:
    """Find the layers: name -> tensor (b, d, n); "embedding", then "encoder.1" to the deepest."""
    found = {name for node in model.graph.node for name in node.output}
    numbers = (re.fullmatch(re.escape(ENCODER_LAYER).replace(r"\{\}", r"(\d+)"), name) for name in found)
    depth = 1 + max(int(match[1]) for match in numbers if match)
    return {"embedding": EMBEDDING} | {f"encoder.{i + 1}": ENCODER_LAYER.format(i) for i in range(depth)}


def n_symbols(model: Any) -> int:
    """How many symbols the embedding knows, which is what the ids of "input" choose from."""
    (embedding,) = (node.input[0] for node in model.graph.node if node.op_type == "Gather" and "input" in node.input)
    return next(int(weights.dims[0]) for weights in model.graph.initializer if weights.name == embedding)


def expose_layers(model: Any) -> Any:
    """Copy a model, with every layer as an output, and an input ``delta.LAYER`` (b, d, n), 0 if not given, added to it.

    It stays a valid Piper voice: what needed no more than text before needs no more now, and sounds the same.
    """
    from onnx import ModelProto, TensorProto, helper, numpy_helper

    copy = ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    for layer, tensor in layer_tensors(model).items():
        edited, delta = f"{tensor}/edited", f"delta.{layer}"
        for node in graph.node:
            for i, name in enumerate(node.input):
                if name == tensor:
                    node.input[i] = edited
        graph.initializer.append(numpy_helper.from_array(np.zeros((1, 1, 1), dtype=np.float32), delta))
        graph.input.append(helper.make_tensor_value_info(delta, TensorProto.FLOAT, [f"{delta}.{i}" for i in "bdn"]))
        _insert_after(graph, tensor, [helper.make_node("Add", [tensor, delta], [edited], name=f"/genmend/{delta}")])
        graph.output.append(helper.make_empty_tensor_value_info(tensor))
    graph.output.append(helper.make_empty_tensor_value_info(FRAMES))
    return copy


def expose_noise(model: Any) -> Any:
    """Copy a model, with its random tensors as inputs ``noise.durations`` and ``noise.latents``.

    onnxruntime's own generator cannot be set back between two calls.
    """
    from onnx import ModelProto, TensorProto, helper

    copy = ModelProto()
    copy.CopyFrom(model)
    for name, given in ((DURATION_NOISE, "noise.durations"), (LATENT_NOISE, "noise.latents")):
        nodes = [node for node in copy.graph.node if node.op_type == "RandomNormalLike" and node.name == name]
        for node in nodes:
            made = node.output[0]
            copy.graph.node.remove(node)
            for user in copy.graph.node:
                for i, used in enumerate(user.input):
                    if used == made:
                        user.input[i] = given
        if nodes:
            shape = [f"{given}.{i}" for i in "bdn"]
            copy.graph.input.append(helper.make_tensor_value_info(given, TensorProto.FLOAT, shape))
    return copy


def open_graph(model: Any, source: str | Path) -> Any:
    """Open an onnxruntime session on one thread (more are slower for one sentence)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exception classes are not public
        raise PiperGraphError(f"{source} cannot be run by onnxruntime ({error}): get the voice again.") from error


def _insert_after(graph: Any, tensor: str, nodes: list[Any]) -> None:
    position = next(i for i, node in enumerate(graph.node) if tensor in node.output)
    for offset, node in enumerate(nodes, start=1):
        graph.node.insert(position + offset, node)
