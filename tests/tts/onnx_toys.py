"""Tiny ONNX voices with the inputs, outputs and names of modules that real exporters write."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

ROWS, UNITS, HOP, BINS = 12, 4, 8, 6
SYMBOLS = {"a": 1, "b": 2, "d": 3, "ˈ": 4, " ": 5, ".": 6, "^": 7, "$": 8}
TOKENS_TXT = "_ 0\n" + "".join(f"{symbol} {number}\n" for symbol, number in SYMBOLS.items())


class Graph:
    """A graph in the making: nodes under the names of modules, random weights of a seed."""

    def __init__(self, seed=0):
        self.nodes, self.weights, self.random = [], [], np.random.default_rng(seed)

    def node(self, op, inputs, name, *, out=None, **attributes):
        out = out or f"{name}_output_0"
        self.nodes.append(helper.make_node(op, inputs, [out], name=name, **attributes))
        return out

    def weight(self, name, values):
        self.weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def matrix(self, name, rows, columns):
        return self.weight(name, self.random.normal(0, 0.5, (rows, columns)).astype(np.float32))

    def constant(self, name, value, dtype=np.float32):
        return self.weight(name, np.asarray(value, dtype))

    def dense(self, x, scope, rows=UNITS, columns=UNITS):
        """tanh(x W), (b, n, columns), under a module's scope."""
        made = self.node("MatMul", [x, self.matrix(f"{scope}.w", rows, columns)], f"{scope}/MatMul")
        return self.node("Tanh", [made], f"{scope}/Tanh")

    def neighbours(self, x, scope):
        """A token's vector and a half of that before it: context, as an encoder has."""
        pads = self.constant(f"{scope}.pads", [0, 1, 0, 0, -1, 0], np.int64)
        before = self.node("Pad", [x, pads], f"{scope}/Pad")
        half = self.node("Mul", [before, self.constant(f"{scope}.half", 0.5)], f"{scope}/Mul")
        return self.node("Add", [x, half], f"{scope}/Add")

    def durations(self, x, scope, *, rounding="Ceil", length=None):
        """Frames of each token (b, n), 1 to 3."""
        summed = self.node("ReduceSum", [x, self.constant(f"{scope}.axis", [2], np.int64)], f"{scope}/Sum", keepdims=0)
        held = self.node("Sigmoid", [summed], f"{scope}/Sigmoid")
        frames = self.node("Mul", [held, self.constant(f"{scope}.most", 3.0)], f"{scope}/Scale")
        if length is not None and rounding != "Ceil after":
            frames = self.node("Mul", [frames, length], f"{scope}/Length")
        frames = self.node("Round" if rounding == "Round" else "Ceil", [frames], f"{scope}/{rounding[:5].strip()}")
        if rounding == "Round":
            return self.node("Clip", [frames, self.constant(f"{scope}.one", 1.0)], f"{scope}/Clip")
        return self.node("Mul", [frames, length], f"{scope}/Last") if rounding == "Ceil after" else frames

    def expanded(self, x, frames, scope):
        """(frames, units): each token's vector as often as its frames say; of the first sentence."""
        ends = self.node("CumSum", [frames, self.constant(f"{scope}.along", 1, np.int64)], f"{scope}/Ends")
        total = self.node("ReduceSum", [frames], f"{scope}/Total", keepdims=0)
        whole = self.node("Cast", [total], f"{scope}/Whole", to=TensorProto.INT64)
        zero, one = (self.constant(f"{scope}.{i}", i, np.int64) for i in (0, 1))
        steps = self.node("Range", [zero, whole, one], f"{scope}/Range")
        steps = self.node("Cast", [steps], f"{scope}/Steps", to=TensorProto.FLOAT)
        column = self.node("Unsqueeze", [steps, self.constant(f"{scope}.last", [1], np.int64)], f"{scope}/Column")
        behind = self.node("GreaterOrEqual", [column, ends], f"{scope}/Behind")
        behind = self.node("Cast", [behind], f"{scope}/Count", to=TensorProto.INT64)
        place = self.node("ReduceSum", [behind, self.constant(f"{scope}.c", [1], np.int64)], f"{scope}/P", keepdims=0)
        first = self.node("Squeeze", [x, self.constant(f"{scope}.b", [0], np.int64)], f"{scope}/First")
        return self.node("Gather", [first, place], f"{scope}/Expanded")

    def noisy(self, x, scale, scope):
        drawn = self.node("RandomNormalLike", [x], f"{scope}/RandomNormalLike")
        return self.node("Add", [x, self.node("Mul", [drawn, scale], f"{scope}/Noise")], f"{scope}/AddNoise")

    def audio(self, x, scope, out):
        """(1, 1, samples): HOP samples a frame."""
        samples = self.dense(x, scope, columns=HOP)
        shape = self.constant(f"{scope}.shape", [1, 1, -1], np.int64)
        return self.node("Reshape", [samples, shape], f"{scope}/Reshape", out=out)

    def mel(self, x, scope, out):
        wide = self.node("Transpose", [self.dense(x, scope, columns=BINS)], f"{scope}/Transpose", perm=[1, 0])
        return self.node("Unsqueeze", [wide, self.constant(f"{scope}.u", [0], np.int64)], f"{scope}/Mel", out=out)

    def saved(self, path, inputs, outputs, **metadata):
        """Write the model; `inputs` are name -> (type, shape)."""
        given = [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()]
        made = [helper.make_empty_tensor_value_info(name) for name in outputs]
        for value in made:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
        graph = helper.make_graph(self.nodes, "toy", given, made, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        helper.set_model_props(model, {key: str(value) for key, value in metadata.items()})
        save(model, path)
        return path


INT, FLOAT = TensorProto.INT64, TensorProto.FLOAT
_TEXT = {"x": (INT, ["b", "n"]), "x_length": (INT, ["b"])}
_SCALES = {name: (FLOAT, [1]) for name in ("noise_scale", "length_scale", "noise_scale_w")}


def transformer(graph, x, scope, last, *, axes="bdn", layers=2):
    """Layers whose norms end in the tensor that an exporter names `last`; the vectors after them (b, n, d)."""
    for i in range(layers):
        here = scope.format(i)
        x = graph.dense(graph.neighbours(x, f"{here}ff"), f"{here}inner")
        if axes == "bnd":
            x = graph.node("Identity", [x], f"{here}{last}")
            continue
        x = graph.node("Transpose", [x], f"{here}{last}", perm=[0, 2, 1])
        x = graph.node("Transpose", [x], f"/ff.{i}/Transpose", perm=[0, 2, 1])
    return x


def vits(path, *, speakers=0, **metadata):
    """As sherpa-onnx exports VITS and MMS."""
    graph = Graph()
    x = graph.node("Gather", [graph.matrix("model.enc_p.emb.weight", ROWS, UNITS), "x"], "/model/enc_p/emb/Gather")
    x = transformer(graph, x, "/model/enc_p/encoder/norm_layers_2.{}/", "Transpose_1")
    frames = graph.durations(graph.noisy(x, "noise_scale_w", "/model/dp"), "/model", length="length_scale")
    y = graph.noisy(graph.expanded(x, frames, "/model/path"), "noise_scale", "/model")
    inputs = _TEXT | _SCALES
    if speakers:
        table = graph.matrix("model.emb_g.weight", speakers, UNITS)
        y = graph.node("Add", [y, graph.node("Gather", [table, "sid"], "/model/emb_g/Gather")], "/model/AddSpeaker")
        inputs = {**inputs, "sid": (INT, [1])}
    graph.audio(y, "/model/dec", "y")
    return graph.saved(path, inputs, ["y"], **metadata)


def coqui(path, **metadata):
    """As Coqui's export_onnx does, and Piper's: three scales in one input."""
    graph = Graph()
    x = graph.node("Gather", [graph.matrix("emb", ROWS, UNITS), "input"], "/text_encoder/emb/Gather")
    x = transformer(graph, x, "/text_encoder/encoder/norm_layers_2.{}/", "Transpose_1")
    parts = [graph.constant(f"i{i}", [i], np.int64) for i in range(3)]
    noise, length, wide = (graph.node("Gather", ["scales", part], f"/S{i}") for i, part in enumerate(parts))
    frames = graph.durations(graph.noisy(x, wide, "/dp"), "", length=length)
    graph.audio(graph.noisy(graph.expanded(x, frames, "/path"), noise, ""), "/dec", "output")
    inputs = {"input": (INT, ["b", "n"]), "input_lengths": (INT, ["b"]), "scales": (FLOAT, [3])}
    return graph.saved(path, inputs, ["output"], **metadata)


def matcha(path, *, wav=False, icefall=False, speakers=0, **metadata):
    """As Matcha-TTS' own export has it, or icefall's; a mel, or audio with the vocoder in the graph."""
    graph = Graph()
    x = graph.node("Gather", [graph.matrix("encoder.emb.weight", ROWS, UNITS), "x"], "/encoder/emb/Gather")
    x = transformer(graph, x, "/encoder/encoder/norm_layers_2.{}/", "Add_1")
    noise, length = "noise_scale", "length_scale"
    inputs = {"x": (INT, ["b", "n"]), "x_length" if icefall else "x_lengths": (INT, ["b"])}
    if icefall:
        inputs |= {noise: (FLOAT, [1]), length: (FLOAT, [1])}
    else:
        inputs["scales"] = (FLOAT, [2])
        parts = [graph.constant(f"i{i}", [i], np.int64) for i in range(2)]
        noise, length = (graph.node("Gather", ["scales", part], f"/S{i}") for i, part in enumerate(parts))
    if speakers:
        inputs["spks"] = (INT, ["b"])
        table = graph.matrix("spk_emb.weight", speakers, UNITS)
        x = graph.node("Add", [x, graph.node("Gather", [table, "spks"], "/spk_emb/Gather")], "/AddSpeaker")
    frames = graph.durations(x, "", rounding="Ceil after", length=length)
    y = graph.noisy(graph.expanded(x, frames, "/path"), noise, "")
    made = (
        [graph.audio(y, "/vocoder", "wav"), "wav_lengths"] if wav else [graph.mel(y, "/decoder", "mel"), "mel_lengths"]
    )
    if icefall:
        return graph.saved(path, inputs, made[:1], **metadata)
    graph.node("ReduceSum", [frames], "/lengths", out=made[1], keepdims=0)
    return graph.saved(path, inputs, made, **metadata)


def transformers(path):
    """As transformers.js has MMS voices."""
    graph = Graph()
    x = graph.node("Gather", [graph.matrix("e", ROWS, UNITS), "input_ids"], "/text_encoder/embed_tokens/Gather")
    norm = "/text_encoder/encoder/layers.{}/final_layer_norm/"
    x = transformer(graph, x, norm, "LayerNormalization", axes="bnd")
    graph.audio(graph.expanded(x, graph.durations(x, ""), "/path"), "/decoder", "waveform")
    inputs = {"input_ids": (INT, ["b", "n"]), "attention_mask": (INT, ["b", "n"])}
    return graph.saved(path, inputs, ["waveform"])


def kokoro(path, **metadata):
    """Kokoro's names: sounds and prosody apart, durations rounded, a style vector of four numbers."""
    graph = Graph()
    emb = graph.node("Gather", [graph.matrix("e", 180, UNITS), "tokens"], "/encoder/text_encoder/embedding/Gather")
    wide = graph.node("Transpose", [emb], "/encoder/text_encoder/Transpose", perm=[0, 2, 1])
    x = graph.node("Transpose", [wide], "/back0", perm=[0, 2, 1])
    cnn = graph.node("Transpose", [graph.dense(graph.neighbours(x, "/n"), "/c")], "/t0", perm=[0, 2, 1])
    cnn = graph.node("LeakyRelu", [cnn], "/encoder/text_encoder/cnn.1/cnn.0.2/LeakyRelu")
    x = graph.dense(graph.node("Transpose", [cnn], "/back1", perm=[0, 2, 1]), "/lstm")
    wide = graph.node("Transpose", [x], "/encoder/text_encoder/Transpose_2", perm=[0, 2, 1])
    sounds = graph.node("Transpose", [wide], "/back2", perm=[0, 2, 1])
    bert = graph.dense(graph.neighbours(emb, "/b"), "/encoder/bert")
    bert = graph.node("Add", [bert, graph.constant("bias", [0.1] * UNITS)], "/encoder/bert_encoder/Add")
    prosody = graph.node("Add", [graph.dense(bert, "/d"), "style"], "/encoder/predictor/text_encoder/lstms.5/Add_2")
    slow = graph.node("Div", [graph.constant("unit", 1.0), "speed"], "/slow")
    frames = graph.durations(prosody, "/encoder", rounding="Round", length=slow)
    y = graph.node("Add", [graph.expanded(sounds, frames, "/p"), graph.expanded(prosody, frames, "/q")], "/both")
    graph.audio(y, "/decoder", "audio")
    inputs = {"tokens": (INT, [1, "n"]), "style": (FLOAT, [1, UNITS]), "speed": (FLOAT, [1])}
    return graph.saved(path, inputs, ["audio"], **metadata)


def hibari(path):
    """hibari's: two encoders told apart by the names of their weights, and spectra in place of audio."""
    graph = Graph()
    made = {}
    for encoder in ("m", "pn"):
        x = graph.node("Gather", [graph.matrix(f"{encoder}.text.emb.weight", 180, UNITS), "ids"], f"/{encoder}/Gather")
        norm = graph.constant(f"{encoder}.text.attn.norm1.weight", [1.0] * UNITS)
        for i in range(2):
            x = graph.dense(graph.neighbours(x, f"/{encoder}/n{i}"), f"/{encoder}/c{i}")
            x = graph.node("LayerNormalization", [x, norm], f"/{encoder}/norm1_{i}")
        scale = graph.constant(f"{encoder}.text.norm.weight", [2.0, 0.5, 1.0, -1.0])
        made[encoder] = graph.node("LayerNormalization", [x, scale], f"/{encoder}/norm")
    slow = graph.node("Div", [graph.constant("unit", 1.0), "speed"], "/slow")
    frames = graph.durations(made["pn"], "", rounding="Round", length=slow)
    y = graph.expanded(made["m"], frames, "/path")
    spectra = ["lh", "theta", "ln", "lr", "phi"]
    for name in spectra:
        wide = graph.node("Transpose", [graph.dense(y, f"/{name}", columns=9)], f"/{name}/T", perm=[1, 0])
        graph.node("Unsqueeze", [wide, graph.constant(f"{name}.u", [0], np.int64)], f"/{name}/U", out=name)
    pitch = graph.node("Transpose", [graph.dense(y, "/f0", columns=1)], "/f0/T", perm=[1, 0])
    graph.node("Mul", [pitch, graph.constant("hz", 200.0)], "/f0/Mul", out="f0")
    inputs = {"ids": (INT, [1, "n"]), "speed": (FLOAT, [1])}
    return graph.saved(path, inputs, [*spectra, "f0"])


def vocoder(path):
    """A mel in, audio out: a vocoder alone."""
    graph = Graph()
    x = graph.node("Transpose", ["mel"], "/t", perm=[0, 2, 1])
    first = graph.node("Squeeze", [x, graph.constant("b", [0], np.int64)], "/First")
    wide = graph.node("MatMul", [first, graph.matrix("w", BINS, HOP)], "/MatMul")
    graph.node("Reshape", [wide, graph.constant("s", [1, -1], np.int64)], "/Reshape", out="audio")
    return graph.saved(path, {"mel": (FLOAT, [1, BINS, "f"])}, ["audio"])
