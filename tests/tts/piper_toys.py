"""A tiny Piper voice that runs: the inputs and the names of tensors that Piper's exporter gives, random weights."""

import json

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

SYMBOLS = "_^$ .abdeimnostuɐɔəˈː"
HOP = 256


def piper_graph(speakers=1, width=6, latents=4, seed=0):
    """Embedding, two layers, durations by the first latent and the speaker, frames, and one sample pattern a frame."""
    rng = np.random.default_rng(seed)
    weights = {
        "enc_p.emb.weight": rng.normal(size=(len(SYMBOLS), width)),
        "emb_g.weight": rng.normal(size=(speakers, latents)),
        "enc_p.proj.weight": rng.normal(size=(2 * latents, width, 1)),
        "enc_p.proj.used": rng.normal(size=(latents, width, 1)),
        "layer.0": rng.normal(size=(width, width, 3)),
        "layer.1": rng.normal(size=(width, width, 3)),
        "dec": 0.1 * rng.normal(size=(latents, 1, HOP)),
        "half": np.array(0.5),
        "scale": np.array(width**0.5),
    }
    numbers = {"zero": 0, "one": 1, "two": 2, "first": [0], "second": [1], "third": [2], "axis2": [2], "axis1": [1]}
    nodes = [
        ("Gather", ["enc_p.emb.weight", "input"], "/enc_p/emb/Gather_output_0", {}),
        ("Mul", ["/enc_p/emb/Gather_output_0", "scale"], "scaled", {}),
        ("Shape", ["input"], "shape", {}),
        ("Gather", ["shape", "one"], "n", {}),
        ("Range", ["zero", "n", "one"], "places", {}),
        ("Unsqueeze", ["input_lengths", "axis1"], "length", {}),
        ("Less", ["places", "length"], "within", {}),
        ("Cast", ["within"], "mask", {"to": TensorProto.FLOAT}),
        ("Unsqueeze", ["mask", "axis2"], "masks", {}),
        ("Mul", ["scaled", "masks"], "masked", {}),
        ("Transpose", ["masked"], "/enc_p/encoder/Mul_1_output_0", {"perm": [0, 2, 1]}),
        ("Conv", ["/enc_p/encoder/Mul_1_output_0", "layer.0"], "conv.0", {"pads": [1, 1]}),
        ("Tanh", ["conv.0"], "/enc_p/encoder/norm_layers_2.0/Transpose_1_output_0", {}),
        ("Conv", ["/enc_p/encoder/norm_layers_2.0/Transpose_1_output_0", "layer.1"], "conv.1", {"pads": [1, 1]}),
        ("Tanh", ["conv.1"], "/enc_p/encoder/norm_layers_2.1/Transpose_1_output_0", {}),
        ("Conv", ["/enc_p/encoder/norm_layers_2.1/Transpose_1_output_0", "enc_p.proj.used"], "prior", {}),
        *(
            [
                ("Gather", ["emb_g.weight", "sid"], "/emb_g/Gather_output_0", {}),
                ("Unsqueeze", ["/emb_g/Gather_output_0", "axis2"], "speaker", {}),
                ("Add", ["prior", "speaker"], "spoken", {}),
            ]
            if speakers > 1
            else [("Identity", ["prior"], "spoken", {})]
        ),
        ("Gather", ["scales", "zero"], "noise_scale", {}),
        ("Gather", ["scales", "one"], "length_scale", {}),
        ("Gather", ["scales", "two"], "noise_w", {}),
        ("Slice", ["spoken", "first", "third", "axis1"], "two_rows", {}),
        ("RandomNormalLike", ["two_rows"], "dp_noise", {"name": "/dp/RandomNormalLike"}),
        ("Mul", ["dp_noise", "noise_w"], "dp_scaled", {}),
        ("Add", ["dp_scaled", "two_rows"], "logs", {}),
        ("Slice", ["logs", "first", "second", "axis1"], "log", {}),
        ("Mul", ["log", "half"], "less", {}),
        ("Exp", ["less"], "lengths", {}),
        ("Mul", ["lengths", "length_scale"], "stretched", {}),
        ("Ceil", ["stretched"], "/Ceil_output_0", {}),
        ("CumSum", ["/Ceil_output_0", "two"], "ends", {}),
        ("Sub", ["ends", "/Ceil_output_0"], "begins", {}),
        ("ReduceSum", ["/Ceil_output_0"], "total", {"keepdims": 0}),
        ("Cast", ["total"], "frames", {"to": TensorProto.INT64}),
        ("Range", ["zero", "frames", "one"], "time", {}),
        ("Cast", ["time"], "times", {"to": TensorProto.FLOAT}),
        ("Unsqueeze", ["times", "first_two"], "column", {}),
        ("Transpose", ["column"], "rows", {"perm": [0, 2, 1]}),
        ("Less", ["rows", "ends"], "before_end", {}),
        ("Less", ["rows", "begins"], "before_begin", {}),
        ("Not", ["before_begin"], "since_begin", {}),
        ("And", ["before_end", "since_begin"], "path", {}),
        ("Cast", ["path"], "attention", {"to": TensorProto.FLOAT}),  # (1, frames, n)
        ("Transpose", ["spoken"], "by_token", {"perm": [0, 2, 1]}),
        ("MatMul", ["attention", "by_token"], "by_frame", {}),
        ("Transpose", ["by_frame"], "means", {"perm": [0, 2, 1]}),
        ("RandomNormalLike", ["means"], "latent_noise", {"name": "/RandomNormalLike"}),
        ("Mul", ["latent_noise", "noise_scale"], "latent_scaled", {}),
        ("Add", ["means", "latent_scaled"], "latent", {}),
        ("ConvTranspose", ["latent", "dec"], "wave", {"strides": [HOP]}),
        ("Tanh", ["wave"], "output", {}),
    ]
    numbers["first_two"] = [0, 1]
    given = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in weights.items()]
    given += [numpy_helper.from_array(np.asarray(value, np.int64), name) for name, value in numbers.items()]
    inputs = [("input", TensorProto.INT64, ["b", "n"]), ("input_lengths", TensorProto.INT64, ["b"])]
    inputs += [("scales", TensorProto.FLOAT, [3]), *([("sid", TensorProto.INT64, ["b"])] if speakers > 1 else [])]
    made = [
        helper.make_node(kind, read, [wrote], **{"name": f"/{wrote}", **options})
        for kind, read, wrote, options in nodes
    ]
    graph = helper.make_graph(
        made,
        "voice",
        [helper.make_tensor_value_info(*one) for one in inputs],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["b", 1, "t"])],
        given,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)


def write_piper(folder, graph=None, **changed):
    """Write the voice and its description, with these fields in place of its own; return the path of the .onnx."""
    path = folder / "toy.onnx"
    save(graph or piper_graph(), path)
    own = {
        "audio": {"sample_rate": 16_000},
        "espeak": {"voice": "en-us"},
        "num_speakers": 1,
        "phoneme_id_map": {symbol: [i] for i, symbol in enumerate(SYMBOLS)},
        "speaker_id_map": {},
    }
    path.with_name("toy.onnx.json").write_text(json.dumps(own | changed), encoding="utf-8")
    return path
