"""Kinds of voices that exporters write: how each is recognised by its graph, and how it is laid out.

The names of inputs and outputs are those of Kokoro's exports, of Matcha-TTS' and icefall's, of Coqui's, of sherpa-onnx'
scripts for VITS and MMS, of transformers' VITS, and of hibari-tts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from genmend.tts.voices.onnx.graph import graph_ends

__all__ = ["KINDS", "graph_kind", "kokoro_table", "layout_of"]

# Name of a kind -> what to call it.
KINDS = {
    "hibari": "hibari (hibari-tts)",
    "kokoro": "Kokoro",
    "matcha": "Matcha-TTS",
    "vits": "VITS or MMS, as sherpa-onnx exports them",
    "coqui": "a VITS voice of Coqui",
    "transformers": "VITS or MMS, as transformers.js has them",
    "vocoder": "a vocoder, which has no text to read",
}
_SPECTRA = ["lh", "theta", "ln", "lr", "phi", "f0"]
_FIXED_KOKORO = {"sample_rate": 24_000, "begin": 0, "end": 0, "reads": "ipa", "language": "en-us"}
_MATCHA_SCALES = {"scales": ["noise", "length"], "noise_scale": "noise", "length_scale": "length"}
_VITS_SCALES = {"noise_scale": "noise", "length_scale": "length", "noise_scale_w": "duration_noise"}


def graph_kind(model: Any) -> str:
    """Which of `KINDS` a graph is by the names of its inputs and outputs; "" where it is none."""
    inputs, outputs = ({value.name for value in found} for found in graph_ends(model))
    if inputs == {"ids", "speed"} and set(_SPECTRA) <= outputs:
        return "hibari"
    if {"style", "speed"} <= inputs and inputs & {"tokens", "input_ids"}:
        return "kokoro"
    if set(_VITS_SCALES) | {"x"} <= inputs:
        return "vits"
    if "x" in inputs and ("scales" in inputs or {"noise_scale", "length_scale"} <= inputs):
        return "matcha"
    if {"input", "input_lengths", "scales"} <= inputs:
        return "coqui"
    if {"input_ids", "attention_mask"} <= inputs and outputs & {"waveform", "spectrogram"}:
        return "transformers"
    if len(inputs) == 1 and inputs & {"mel", "mels", "log_mel"}:
        return "vocoder"
    return ""


def layout_of(kind: str, model: Any) -> dict[str, Any]:
    """What a description would say of a graph of this kind, as far as the graph tells it."""
    inputs, outputs = ([value.name for value in found] for found in graph_ends(model))
    if kind == "hibari":
        return {**_FIXED_KOKORO, **kokoro_table(), "inputs": {"ids": "tokens", "speed": "speed"}, "spectra": _SPECTRA,
                "layers": _hibari_layers(model), "frames": _frames(model), "pitch": "f0"}  # fmt: skip
    if kind == "kokoro":
        meanings = {"tokens": "tokens", "input_ids": "tokens", "style": "style", "speed": "speed"}
        return {**_FIXED_KOKORO, **kokoro_table(), "inputs": _given(meanings, inputs), "audio": outputs[0],
                "layers": _kokoro_layers(model), "frames": _frames(model), "longest": 512,
                **_kokoro_pitch(model)}  # fmt: skip
    output: dict[str, Any]
    lengths = {"x_lengths": "lengths", "x_length": "lengths", "input_lengths": "lengths", "sid": "speaker"}
    named: dict[str, Any] = {"x": "tokens", **lengths, "spks": "speaker", "speaker": "speaker"}
    if kind == "matcha":
        named |= _MATCHA_SCALES
        output = {"audio": "wav"} if "wav" in outputs else {"mel": outputs[0]}
        output |= {"blank": 0, "blank_outside": True}
    elif kind == "vits":
        named, output = named | _VITS_SCALES, {"audio": outputs[0]}
    elif kind == "coqui":
        named |= {"input": "tokens", "scales": ["noise", "length", "duration_noise"], "langid": 0}
        output = {"audio": outputs[0]}
    elif kind == "transformers":
        named = {"input_ids": "tokens", "attention_mask": "mask", "speaker_id": "speaker"}
        output = {"audio": "waveform", "blank": 0, "blank_outside": True, "reads": "characters"}
    else:
        return {}
    tokens = next(name for name in inputs if named.get(name) == "tokens")
    return {"inputs": _given(named, inputs), **output, "layers": _encoder_layers(model, tokens),
            "frames": _frames(model)}  # fmt: skip


@cache
def kokoro_table() -> dict[str, Any]:
    """The symbols of Kokoro-82M, and what it was trained with in place of espeak-ng's, for each language."""
    found = json.loads(Path(__file__).with_name("kokoro.json").read_text(encoding="utf-8"))
    return {"symbols": found["symbols"], "replace": found["replace"]}


def _given(meanings: dict[str, Any], inputs: list[str]) -> dict[str, Any]:
    return {name: meanings[name] for name in inputs if name in meanings}


def _modules(model: Any, pattern: str) -> Iterator[tuple[re.Match[str], str]]:
    """What each module gives whose scope matches, in the order of the graph: the match, the last of its tensors."""
    last: dict[str, tuple[re.Match[str], str]] = {}
    for node in model.graph.node:
        found = re.match(pattern, node.name)
        if found and node.op_type != "Constant":
            last[found[0]] = (found, node.output[0])
    yield from last.values()


def _embedding(model: Any, tokens: str) -> dict[str, list[str]]:
    for node in model.graph.node:
        if node.op_type == "Gather" and len(node.input) > 1 and node.input[1] == tokens:
            made = node.output[0]
            # An embedding in 8 bits is made floating by the next node.
            after = [n for n in model.graph.node if made in n.input and n.op_type == "DequantizeLinear"]
            return {"embedding": [after[0].output[0] if after else made, "bnd"]}
    return {}


def _encoder_layers(model: Any, tokens: str) -> dict[str, list[str]]:
    """Transformer layers of the text encoders of VITS and Matcha, under the names of their exporters."""
    layers = _embedding(model, tokens)
    for pattern, axes in (
        (r".*/norm_layers_2\.(\d+)/", "bdn"),
        (r".*text_encoder/encoder/layers\.(\d+)/final_layer_norm/", "bnd"),
    ):
        for found, tensor in _modules(model, pattern):
            if "/decoder/" not in found[0] and "/flow/" not in found[0] and "/dp/" not in found[0]:
                layers[f"encoder.{int(found[1]) + 1}"] = [tensor, axes]
    return layers


def _kokoro_layers(model: Any) -> dict[str, list[str]]:
    """Of the sounds (convolutions, LSTM), then of the prosody (ALBERT, and the last LSTM of the durations)."""
    tensors = {name for node in model.graph.node for name in node.output}
    named = {
        "embedding": ["/encoder/text_encoder/Transpose_output_0", "bdn"],
        "sounds.1": ["/encoder/text_encoder/cnn.1/cnn.0.2/LeakyRelu_output_0", "bdn"],
        "sounds.2": ["/encoder/text_encoder/Transpose_2_output_0", "bdn"],
        "prosody.1": ["/encoder/bert_encoder/Add_output_0", "bnd"],
        "prosody.2": ["/encoder/predictor/text_encoder/lstms.5/Add_2_output_0", "bnd"],
    }
    return {name: found for name, found in named.items() if found[0] in tensors}


def _kokoro_pitch(model: Any) -> dict[str, str]:
    """Where the pitch that its predictor gives enters the decoder."""
    tensor = "/encoder/F0_proj/Conv_output_0"
    return {"pitch": tensor} if any(tensor in node.output for node in model.graph.node) else {}


def _hibari_layers(model: Any) -> dict[str, list[str]]:
    """Of two encoders, one for the sounds and one for the prosody: after the convolutions, half-way, and at the end.

    Both share the names of their modules; the names of weights say which encoder a tensor is of.
    """
    layers: dict[str, list[str]] = {}
    for weights, name in (("m.text", "sounds"), ("pn.text", "prosody")):
        norms = [node for node in model.graph.node if node.op_type == "LayerNormalization"]
        before = [node.input[0] for node in norms if node.input[1] == f"{weights}.attn.norm1.weight"]
        after = [node.output[0] for node in norms if node.input[1] == f"{weights}.norm.weight"]
        if name == "sounds":
            for node in model.graph.node:
                if f"{weights}.emb.weight" in node.input:
                    layers["embedding"] = [node.output[0], "bnd"]
        kept = [*before[:1], *before[len(before) // 2 :][:1], *after]
        layers |= {f"{name}.{i + 1}": [tensor, "bnd"] for i, tensor in enumerate(kept)}
    return layers


def _frames(model: Any) -> str | None:
    """Whole frames of each token: rounded up, or rounded and held above 0; times the slowness where that comes last."""
    readers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for node in model.graph.node:
        if node.op_type not in ("Ceil", "Round"):
            continue
        made = str(node.output[0])
        while len(readers.get(made, ())) == 1 and readers[made][0].op_type in ("Clip", "Mul"):
            made = str(readers[made][0].output[0])
        return made
    return None
