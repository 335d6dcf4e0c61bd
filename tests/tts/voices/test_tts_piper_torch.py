"""A Piper voice as a torch model: the real one against its ONNX graph, other architectures through a written graph."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("transformers")

from onnx import helper, numpy_helper
from transformers import VitsConfig, VitsModel

from genmend.tts.voices.onnx.graph import VoiceFileError
from genmend.tts.voices.piper_torch import ShortResidualBlock, _use_short_blocks, log_durations, to_torch

SENTENCES = (
    ("A bald porcine old man.", "ɐ bˈɔːld pˈoːɹsiːn ˈoʊld mˈæn."),
    ("A bathing suit.", "ɐ bˈeɪðɪŋ sˈuːt."),
)
# transformers' module paths -> those of VITS, written by hand and not from the reader's own table.
IN_VITS = (
    (r"text_encoder\.embed_tokens", "enc_p.emb"),
    (r"text_encoder\.project", "enc_p.proj"),
    (r"text_encoder\.encoder\.layers\.(\d+)\.attention\.out_proj", r"enc_p.encoder.attn_layers.\1.conv_o"),
    (r"text_encoder\.encoder\.layers\.(\d+)\.attention\.(\w)_proj", r"enc_p.encoder.attn_layers.\1.conv_\2"),
    (r"text_encoder\.encoder\.layers\.(\d+)\.attention", r"enc_p.encoder.attn_layers.\1"),
    (r"text_encoder\.encoder\.layers\.(\d+)\.layer_norm", r"enc_p.encoder.norm_layers_1.\1"),
    (r"text_encoder\.encoder\.layers\.(\d+)\.final_layer_norm", r"enc_p.encoder.norm_layers_2.\1"),
    (r"text_encoder\.encoder\.layers\.(\d+)\.feed_forward", r"enc_p.encoder.ffn_layers.\1"),
    (r"duration_predictor", "dp"),
    (r"decoder\.upsampler", "dec.ups"),
    (r"decoder", "dec"),
    (r"embed_speaker", "emb_g"),
    (r"(dp|dp\.flows\.\d+)\.conv_dds", r"\1.convs"),
    (r"(.*)\.convs_dilated", r"\1.convs_sep"),
    (r"(.*)\.convs_pointwise", r"\1.convs_1x1"),
    (r"(flow\.flows\.\d+)\.wavenet", r"\1.enc"),
    (r"((?:dp|flow)(?:\.flows\.\d+)?)\.conv_(pre|post|proj)", r"\1.\2"),
)


@pytest.mark.real("joe")
@pytest.mark.parametrize(("text", "phonemes"), SENTENCES)
def test_the_torch_voice_says_what_the_onnx_voice_says(joe, joe_torch, text, phonemes):
    voice, model = joe, joe_torch
    tokens = voice.tokenize(text, phonemes=phonemes)
    speech, vectors = voice.speak(tokens), voice.encode([tokens])[0]
    last = torch.from_numpy(vectors[voice.layers[-1]])
    with torch.no_grad():
        output = model(input_ids=torch.tensor([tokens.ids]), output_hidden_states=True)
        durations = log_durations(model, last)
    for layer, hidden in zip(voice.layers, output.hidden_states, strict=True):
        np.testing.assert_allclose(hidden[0], vectors[layer], atol=2e-5)
    np.testing.assert_array_equal(durations.exp().ceil(), speech.frames)
    assert output.waveform.shape == (1, len(speech.audio))
    np.testing.assert_allclose(output.waveform[0], speech.audio, atol=1e-4)
    assert isinstance(model.decoder.resblocks[0], ShortResidualBlock)


@pytest.mark.real("joe")
def test_gradients_reach_the_durations_vectors(joe, joe_torch):
    voice, model = joe, joe_torch
    tokens = voice.tokenize(SENTENCES[1][0], phonemes=SENTENCES[1][1])
    vectors = torch.from_numpy(voice.encode([tokens])[0]["encoder.6"]).requires_grad_()
    log_durations(model, vectors)[7].backward()
    lengths = vectors.grad.norm(dim=1)
    assert lengths[7] > 0.1
    assert lengths.argmax() == 7
    assert all(parameter.grad is None for parameter in model.parameters())


def in_vits(path):
    for pattern, replacement in IN_VITS:
        path = re.sub(f"^{pattern}(?=$|\\.)", replacement, path)
    path = re.sub(r"^flow\.flows\.(\d+)", lambda m: f"flow.flows.{2 * int(m[1])}", path)
    return re.sub(r"^dp\.flows\.([1-9])", lambda m: f"dp.flows.{2 * int(m[1]) - 1}", path)


def written(model):
    """A graph that holds a model's weights as Piper's exporter names them: convolutions' weights are anonymous."""
    nodes, arrays = [], {}

    def node(kind, path, *values, **attributes):
        names = [f"onnx::{path}.{i}" for i in range(len(values))]
        arrays.update(zip(names, values, strict=True))
        inputs = ["x", *names] if kind != "Gather" else [*names, "x"]
        nodes.append(helper.make_node(kind, inputs, [f"{path}_out"], f"/{path.replace('.', '/')}/{kind}", **attributes))

    for name, module in model.named_modules():
        path = in_vits(name)
        if name.startswith("posterior") or ".post_" in name or name.startswith("duration_predictor.flows.1."):
            continue
        if isinstance(module, torch.nn.Conv1d | torch.nn.ConvTranspose1d):
            values = [module.weight] if module.bias is None else [module.weight, module.bias]
            options = {"kernel_shape": module.kernel_size, "strides": module.stride, "dilations": module.dilation}
            node("Conv" if isinstance(module, torch.nn.Conv1d) else "ConvTranspose", path, *values, **options)
        elif isinstance(module, torch.nn.Linear):
            node("Conv", path, module.weight[..., None], module.bias, kernel_shape=[1], strides=[1], dilations=[1])
        elif isinstance(module, torch.nn.Embedding):
            node("Gather", path, module.weight)
        elif isinstance(module, torch.nn.LayerNorm):
            arrays |= {f"{path}.gamma": module.weight, f"{path}.beta": module.bias}
        elif hasattr(module, "emb_rel_k"):
            arrays |= {f"{path}.emb_rel_k": module.emb_rel_k, f"{path}.emb_rel_v": module.emb_rel_v}
        elif hasattr(module, "log_scale"):
            arrays |= {"dp.flows.0.m": module.translate, "/dp/flows.0/Exp_output_0": (-module.log_scale).exp()}
    given = [numpy_helper.from_array(value.detach().numpy(), name) for name, value in arrays.items()]
    return helper.make_model(helper.make_graph(nodes, "voice", [], [], given))


# Piper's quality levels with an eighth and less of their channels: x_low (16 kHz) is narrower, low and medium differ in
# the sample rate alone, high has long blocks and four steps up.
_SHORT = {
    "upsample_rates": [8, 8, 4],
    "upsample_kernel_sizes": [16, 16, 8],
    "resblock_kernel_sizes": [3, 5, 7],
    "resblock_dilation_sizes": [[1, 2], [2, 6], [3, 12]],
    "upsample_initial_channel": 32,
}
QUALITIES = {
    "x_low": _SHORT | {"hidden_size": 12, "flow_size": 12, "ffn_dim": 48},
    "medium": _SHORT | {"hidden_size": 24, "flow_size": 24, "ffn_dim": 96},
    "high": {
        "hidden_size": 24,
        "flow_size": 24,
        "ffn_dim": 96,
        "upsample_rates": [8, 8, 2, 2],
        "upsample_kernel_sizes": [16, 16, 4, 4],
        "resblock_kernel_sizes": [3, 7, 11],
        "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5], [1, 3, 5]],
        "upsample_initial_channel": 64,
    },
}


def small_voice(speakers, *, short=False, **changed):
    """A random model, with long residual blocks unless short ones are asked for, and the voice whose graph holds it."""
    torch.manual_seed(0)
    layout = {
        "hidden_size": 8,
        "ffn_dim": 12,
        "flow_size": 6,
        "upsample_initial_channel": 16,
        "upsample_rates": [4, 2],
        "upsample_kernel_sizes": [8, 4],
        "resblock_kernel_sizes": [3, 5],
        "resblock_dilation_sizes": [[1, 3, 5], [1, 2, 3]],
    }
    config = VitsConfig(
        **layout | changed,
        vocab_size=11,
        num_hidden_layers=3,
        num_attention_heads=2,
        window_size=3,
        spectrogram_bins=5,
        posterior_encoder_num_wavenet_layers=1,
        num_speakers=speakers,
        speaker_embedding_size=4 if speakers > 1 else 0,
        prior_encoder_num_flows=2,
        prior_encoder_num_wavenet_layers=3,
        wavenet_dilation_rate=2,
        noise_scale=0.0,
        noise_scale_duration=0.0,
    )
    model = VitsModel(config).eval()
    if short:
        _use_short_blocks(model)
    for parameter in model.parameters():  # what starts at 0 or 1 would hide a weight that was not read
        torch.nn.init.normal_(parameter, std=0.3)
    options = {"path": "small.onnx", "length": 1.0, "noise": 0.0, "duration_noise": 0.0, "sample_rate": 16_000}
    return model, SimpleNamespace(model=written(model), **options)


@pytest.mark.parametrize("quality", ["x_low", "medium", "high"])
@pytest.mark.parametrize("speakers", [1, 3])
def test_every_quality_of_piper_is_read(quality, speakers):
    layout, short = QUALITIES[quality], quality != "high"
    model, voice = small_voice(speakers, short=short, **layout)
    read = to_torch(voice)
    assert {name: getattr(read.config, name) for name in layout} == layout
    assert isinstance(read.decoder.resblocks[0], ShortResidualBlock) == short
    speaker = {} if speakers == 1 else {"speaker_id": 1}
    ids = torch.tensor([[1, 4, 0, 7, 10, 3]])
    with torch.no_grad():
        expected, found = model(ids, **speaker), read(ids, **speaker)
    assert expected.waveform.std() > 1e-3
    assert expected.waveform.shape[1] % 256 == 0
    torch.testing.assert_close(found.waveform, expected.waveform, atol=1e-5, rtol=1e-4)


def test_a_short_block_adds_each_dilation_to_what_went_in():
    block = ShortResidualBlock(1, 3, [1, 2], 0.1)
    for conv, weights in zip(block.convs, ([0.0, 1.0, 0.0], [1.0, 0.0, 0.0]), strict=True):
        torch.nn.init.zeros_(conv.bias)
        conv.weight.data[:] = torch.tensor(weights)
    given = torch.tensor([[[1.0, -10.0, 3.0]]])
    # x + leaky(x) = [2, -11, 6]; then each gets the leaky value two frames before it: [2, -11, 6 + 2].
    torch.testing.assert_close(block(given), torch.tensor([[[2.0, -11.0, 8.0]]]))


@pytest.mark.parametrize("speakers", [1, 3])
def test_long_blocks_and_several_speakers_are_read(speakers):
    model, voice = small_voice(speakers)
    read = to_torch(voice)
    speaker = {} if speakers == 1 else {"speaker_id": 2}
    ids = torch.tensor([[1, 4, 0, 7, 10, 3]])
    with torch.no_grad():
        expected, found = model(ids, **speaker), read(ids, **speaker)
        assert expected.waveform.std() > 1e-3
        torch.testing.assert_close(found.waveform, expected.waveform, atol=1e-5, rtol=1e-4)
        hidden = model.text_encoder(ids, torch.ones(1, 6, 1)).last_hidden_state[0]
        mask, number = torch.ones(1, 1, 6), speaker.get("speaker_id")
        given = () if number is None else (model.embed_speaker.weight[number][None, :, None],)
        theirs = model.duration_predictor(hidden.T[None], mask, *given, reverse=True, noise_scale=0.0)[0, 0]
        torch.testing.assert_close(log_durations(read, hidden, number), theirs)
    if speakers > 1:
        assert not torch.allclose(read(ids, speaker_id=0).waveform[:, :8], found.waveform[:, :8])


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("dp/proj", "duration_predictor.conv_proj.weight"),
        ("flow/flows/0/post", "flow.flows.0.conv_post"),
        ("dec/conv_pre", "dec.conv_pre"),
    ],
)
def test_a_graph_without_a_weight_is_refused(missing, message):
    _, voice = small_voice(1)
    graph = voice.model.graph
    (node,) = [node for node in graph.node if node.name == f"/{missing}/Conv"]
    graph.node.remove(node)
    with pytest.raises(VoiceFileError, match=rf"small\.onnx cannot be read.*{re.escape(message)}"):
        to_torch(voice)
