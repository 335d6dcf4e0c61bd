"""A Piper voice as a torch model: its ONNX graph read into transformers' VitsModel, through which gradients flow."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from genmend.tts.voices.onnx.graph import VoiceFileError

if TYPE_CHECKING:
    from genmend.tts.voices.piper import PiperVoice

__all__ = ["ShortResidualBlock", "log_durations", "to_torch"]

# Weights' names in VITS, as Piper exports them -> in transformers. Each rule is tried on what the ones before left.
_RENAMED = (
    (r"\.gamma$", ".weight"),
    (r"\.beta$", ".bias"),
    (r"^enc_p\.emb\.", "text_encoder.embed_tokens."),
    (r"^enc_p\.proj\.", "text_encoder.project."),
    (r"^enc_p\.encoder\.attn_layers\.(\d+)\.conv_o\.", r"text_encoder.encoder.layers.\1.attention.out_proj."),
    (r"^enc_p\.encoder\.attn_layers\.(\d+)\.conv_(.)\.", r"text_encoder.encoder.layers.\1.attention.\2_proj."),
    (r"^enc_p\.encoder\.attn_layers\.(\d+)\.", r"text_encoder.encoder.layers.\1.attention."),
    (r"^enc_p\.encoder\.norm_layers_1\.(\d+)\.", r"text_encoder.encoder.layers.\1.layer_norm."),
    (r"^enc_p\.encoder\.norm_layers_2\.(\d+)\.", r"text_encoder.encoder.layers.\1.final_layer_norm."),
    (r"^enc_p\.encoder\.ffn_layers\.(\d+)\.", r"text_encoder.encoder.layers.\1.feed_forward."),
    (r"^dp\.", "duration_predictor."),
    (r"^(duration_predictor|flow)\.(.*\b)?(pre|proj|post)\.", r"\1.\2conv_\3."),
    (r"^(duration_predictor\.(?:flows\.\d+\.)?)convs\.", r"\1conv_dds."),
    (r"\.convs_sep\.", ".convs_dilated."),
    (r"\.convs_1x1\.", ".convs_pointwise."),
    (r"^duration_predictor\.flows\.0\.m$", "duration_predictor.flows.0.translate"),
    (r"^duration_predictor\.flows\.0\.logs$", "duration_predictor.flows.0.log_scale"),
    (r"^(flow\.flows\.\d+)\.enc\.", r"\1.wavenet."),
    (r"^dec\.ups\.", "decoder.upsampler."),
    (r"^dec\.", "decoder."),
    (r"^emb_g\.", "embed_speaker."),
)


class ShortResidualBlock(nn.Module):
    """HiFi-GAN's second kind of residual block, which transformers lacks: one convolution for each dilation.

    Source: Kong et al., HiFi-GAN, 2020, section 2.2 and its published configuration V3.
    """

    def __init__(self, channels: int, kernel: int, dilations: list[int], slope: float) -> None:
        super().__init__()
        self.slope = slope
        self.convs = nn.ModuleList(nn.Conv1d(channels, channels, kernel, dilation=d, padding="same") for d in dilations)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(b, channels, frames) -> the same shape."""
        for conv in self.convs:
            hidden_states = hidden_states + conv(nn.functional.leaky_relu(hidden_states, self.slope))
        return hidden_states


def to_torch(voice: PiperVoice) -> Any:
    """Turn the voice into a ``transformers.VitsModel`` in eval mode, frozen; gradients reach its inputs.

    At noise 0 it gives the durations of the ONNX voice, and its waveform within 1e-4 (measured on en_US-joe-medium:
    short residual blocks, one speaker). The other qualities, x_low to high (long blocks), and several speakers are
    tested on random models of their layout, named as the exporter does; not on real files. What only training needs is
    left out, so `from_pretrained` cannot load it again.

    Raises
    ------
    VoiceFileError
        If the graph lacks a weight, or one has another shape than the rest implies.
    """
    from transformers import VitsModel

    weights, nodes = _weights(voice.model), _convolutions(voice.model)
    try:
        config, short = _config(weights, nodes, voice)
        model = VitsModel(config)
        _without_training(model)
        if short:
            _use_short_blocks(model)
        model.load_state_dict(_rename(weights, set(model.state_dict())))
    except (LookupError, RuntimeError, ValueError) as error:
        what = " ".join(str(error).split())
        raise VoiceFileError(
            f"{voice.path} cannot be read as a VITS model ({what}): give a voice as Piper's own exporter writes it."
        ) from error
    return model.eval().requires_grad_(False)


def log_durations(model: Any, vectors: Tensor, speaker: int | None = None) -> Tensor:
    """Predict the natural logarithm of each token's frames by the model's own predictor, at noise 0; differentiable.

    Parameters
    ----------
    model
        As `to_torch` gives it, or any ``transformers.VitsModel`` with the stochastic predictor, which is the usual one.
    vectors
        (n, d) output of the last encoder layer.
    speaker
        Its number, of voices with several.

    Returns
    -------
    Tensor
        (n,) on the device of `vectors`. The model lets a token last the next whole number of frames of its exponential.

    Raises
    ------
    ValueError
        For a model with the other predictor.
    """
    predictor = model.duration_predictor
    if not hasattr(predictor, "flows"):
        raise ValueError(
            f"The model's duration predictor is a {type(predictor).__name__}, but VITS' stochastic one is needed; "
            "use tts.edit_through with your own predictor."
        )
    place, vectors = vectors.device, vectors.to(model.device)
    mask = vectors.new_ones(1, 1, len(vectors))
    # The predictor's own forward cuts the gradient at its input; this is its reverse pass without that cut.
    hidden = predictor.conv_pre(vectors.T[None])
    if speaker is not None:
        hidden = hidden + predictor.cond(model.embed_speaker.weight[speaker][None, :, None])
    condition = predictor.conv_proj(predictor.conv_dds(hidden, mask))
    latents = vectors.new_zeros(1, 2, len(vectors))
    for flow in [*predictor.flows[:1:-1], predictor.flows[0]]:
        latents, _ = flow(latents.flip(1), mask, global_conditioning=condition, reverse=True)
    return latents[0, 0].to(place)


def _convolutions(graph_model: Any) -> dict[str, Any]:
    """Module path -> its convolution node. Weight norm is folded into weights without a name, nodes keep theirs."""
    nodes = (node for node in graph_model.graph.node if node.op_type in ("Conv", "ConvTranspose"))
    return {node.name.strip("/").rpartition("/")[0].replace("/", "."): node for node in nodes}


def _weights(graph_model: Any) -> dict[str, np.ndarray]:
    """Every weight under its name in VITS."""
    from onnx import numpy_helper

    arrays = {given.name: numpy_helper.to_array(given) for given in graph_model.graph.initializer}
    named = {
        name: array
        for name, array in arrays.items()
        if re.match(r"(enc_p|dp)\..*(gamma|beta|emb_rel_[kv]|flows\.0\.(m|logs))$", name)
    }
    for path, node in _convolutions(graph_model).items():
        for kind, name in zip(("weight", "bias"), node.input[1:], strict=False):
            named[f"{path}.{kind}"] = arrays[name]
    # Exporters fold exp(-logs), and may give a table of embeddings a wrong name.
    for name, array in arrays.items():
        if re.fullmatch(r"/dp/flows\.0/Exp(_\d+)?_output_0", name):
            named.setdefault("dp.flows.0.logs", -np.log(array))
    for node in graph_model.graph.node:
        if node.op_type == "Gather" and node.name in ("/enc_p/emb/Gather", "/emb_g/Gather"):
            named[node.name.strip("/").replace("/Gather", ".weight").replace("/", ".")] = arrays[node.input[0]]
    return named


def _config(weights: dict[str, np.ndarray], nodes: dict[str, Any], voice: PiperVoice) -> tuple[Any, bool]:
    """The architecture, and whether residual blocks are of the short kind."""
    from transformers import VitsConfig

    def count(pattern: str) -> int:
        return len({match[1] for match in (re.match(pattern, name) for name in weights) if match})

    relative = weights["enc_p.encoder.attn_layers.0.emb_rel_k"]
    table, ffn = weights["enc_p.emb.weight"], weights["enc_p.encoder.ffn_layers.0.conv_1.weight"]
    speakers = weights.get("emb_g.weight", np.zeros((1, 0)))
    ups = [nodes[f"dec.ups.{i}"] for i in range(count(r"dec\.ups\.(\d+)\."))]
    short = "dec.resblocks.0.convs.0" in nodes
    convs = "convs" if short else "convs1"
    kinds = range(count(r"dec\.resblocks\.(\d+)\.") // len(ups))
    per_block = count(rf"dec\.resblocks\.0\.{convs}\.(\d+)\.")
    in_layers = count(r"flow\.flows\.0\.enc\.in_layers\.(\d+)\.")
    if not count(r"dp\.flows\.(\d+)\.proj"):
        raise LookupError("it has no stochastic duration predictor")
    config = VitsConfig(
        vocab_size=table.shape[0],
        hidden_size=table.shape[1],
        num_hidden_layers=count(r"enc_p\.encoder\.attn_layers\.(\d+)\."),
        num_attention_heads=table.shape[1] // relative.shape[2],
        window_size=relative.shape[1] // 2,
        ffn_dim=ffn.shape[0],
        ffn_kernel_size=ffn.shape[2],
        flow_size=weights["enc_p.proj.weight"].shape[0] // 2,
        num_speakers=len(speakers),
        speaker_embedding_size=speakers.shape[1],
        upsample_initial_channel=weights["dec.conv_pre.weight"].shape[0],
        upsample_rates=[_integers(node, "strides")[0] for node in ups],
        upsample_kernel_sizes=[_integers(node, "kernel_shape")[0] for node in ups],
        resblock_kernel_sizes=[weights[f"dec.resblocks.{i}.{convs}.0.weight"].shape[2] for i in kinds],
        resblock_dilation_sizes=[
            [_integers(nodes[f"dec.resblocks.{i}.{convs}.{j}"], "dilations")[0] for j in range(per_block)]
            for i in kinds
        ],
        depth_separable_num_layers=count(r"dp\.convs\.convs_sep\.(\d+)\."),
        duration_predictor_kernel_size=weights["dp.convs.convs_sep.0.weight"].shape[2],
        duration_predictor_num_flows=count(r"dp\.flows\.(\d+)\.proj") + 1,  # one is skipped, and not exported
        duration_predictor_flow_bins=(weights["dp.flows.3.proj.weight"].shape[0] + 1) // 3,
        prior_encoder_num_flows=count(r"flow\.flows\.(\d+)\.pre"),
        prior_encoder_num_wavenet_layers=in_layers,
        wavenet_kernel_size=weights["flow.flows.0.enc.in_layers.0.weight"].shape[2],
        wavenet_dilation_rate=_integers(nodes[f"flow.flows.0.enc.in_layers.{min(1, in_layers - 1)}"], "dilations")[0],
        posterior_encoder_num_wavenet_layers=1,  # left out below
        speaking_rate=1 / voice.length,
        noise_scale=voice.noise,
        noise_scale_duration=voice.duration_noise,
        sampling_rate=voice.sample_rate,
        pad_token_id=None,
    )
    return config, short


def _without_training(model: Any) -> None:
    """Take out what only training needs and the file does not hold, and weight norm, which the file has folded."""
    from torch.nn.utils import parametrize

    del model.posterior_encoder
    for name in [name for name, _ in model.duration_predictor.named_children() if name.startswith("post_")]:
        delattr(model.duration_predictor, name)
    model.duration_predictor.flows[1] = nn.Identity()
    # VitsWaveNet.remove_weight_norm of transformers 5 raises AttributeError, and knows the older kind only.
    for module in list(model.flow.modules()):
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")


def _use_short_blocks(model: Any) -> None:
    config, blocks = model.config, model.decoder.resblocks
    kinds = list(zip(config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True))
    for i in range(len(blocks)):
        kernel, dilations = kinds[i % len(kinds)]
        channels = config.upsample_initial_channel >> (i // len(kinds) + 1)
        blocks[i] = ShortResidualBlock(channels, kernel, dilations, config.leaky_relu_slope)


def _rename(weights: dict[str, np.ndarray], known: set[str]) -> dict[str, Tensor]:
    """The weights under transformers' names, attention's convolutions of one frame as matrices."""
    state = {}
    for name, array in weights.items():
        for pattern, replacement in _RENAMED:
            name = re.sub(pattern, replacement, name)
        # Reversals of channels between the flows count as flows in VITS: 0, 2, 4, 6, and 0, (1,) 3, 5, 7.
        name = re.sub(r"^(flow\.flows|duration_predictor\.flows)\.(\d+)", _without_reversals, name)
        matrix = re.search(r"attention\.\w+_proj\.weight$", name)
        state[name] = torch.from_numpy(np.array(array[..., 0] if matrix else array))
    unknown = sorted(set(state) - known)
    if unknown:
        raise LookupError(f"no part of VITS takes {', '.join(unknown[:3])}")
    return state


def _without_reversals(match: re.Match[str]) -> str:
    number = int(match[2])
    return f"{match[1]}.{number // 2 if match[1] == 'flow.flows' else (number + 1) // 2}"


def _integers(node: Any, name: str) -> list[int]:
    return next(list(given.ints) for given in node.attribute if given.name == name)
