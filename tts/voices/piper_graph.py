"""The graph of a Piper voice (an ONNX file of a VITS model): where its layers are, and how to reach into them.

Names as in files that Piper's own exporter writes (checked on en_US-joe-medium, IR 8, opset 15).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from genmend.tts.voices.onnx.graph import VoiceFileError, graph_ends, read_onnx

__all__ = [
    "ENCODER_LAYER",
    "FRAMES",
    "expose_noise",
    "is_piper",
    "layer_tensors",
    "read_graph",
]

EMBEDDING = "/enc_p/encoder/Mul_1_output_0"
ENCODER_LAYER = "/enc_p/encoder/norm_layers_2.{}/Transpose_1_output_0"
FRAMES = "/Ceil_output_0"  # frames of each token, (b, 1, n)
# Two random tensors: of the duration predictor (b, 2, n), and of the latent frames (b, d, frames).
DURATION_NOISE, LATENT_NOISE = "/dp/RandomNormalLike", "/RandomNormalLike"


def read_graph(path: str | Path) -> Any:
    """Read the ONNX model of a voice file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    VoiceFileError
        If it is damaged, or has no VITS text encoder under the names that Piper gives.
    """
    model = read_onnx(path)
    if not is_piper(model):
        names = [", ".join(sorted(value.name for value in found)[:6]) or "none" for found in graph_ends(model)]
        raise VoiceFileError(
            f"{path} is an ONNX file, but not a Piper voice: it takes {names[0]} and gives {names[1]}, and has no "
            f"tensors {EMBEDDING} and {FRAMES}; give a VITS voice that Piper exported (it takes input, input_lengths, "
            "scales)."
        )
    return model


def is_piper(model: Any) -> bool:
    """Whether it is a graph that Piper exported, by the names of its tensors."""
    tensors = {name for node in model.graph.node for name in node.output}
    return {EMBEDDING, ENCODER_LAYER.format(0), FRAMES} <= tensors and "input" in {v.name for v in model.graph.input}


def layer_tensors(model: Any) -> dict[str, str]:
    """Find the layers: name -> tensor (b, d, n); "embedding", then "encoder.1" to the deepest."""
    found = {name for node in model.graph.node for name in node.output}
    numbers = (re.fullmatch(re.escape(ENCODER_LAYER).replace(r"\{\}", r"(\d+)"), name) for name in found)
    depth = 1 + max(int(match[1]) for match in numbers if match)
    return {"embedding": EMBEDDING} | {f"encoder.{i + 1}": ENCODER_LAYER.format(i) for i in range(depth)}


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
