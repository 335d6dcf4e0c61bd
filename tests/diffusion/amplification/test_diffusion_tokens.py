"""Which tokens of which transformer are amplified: those of what is drawn, on their grid, and never text or references.

There are always as many text tokens as image tokens, so that counting could not tell them apart.
"""

import diffusers
import pytest
import torch

from genmend.diffusion import amplified
from genmend.diffusion.amplification.low_pass import Band, low_change
from genmend.diffusion.amplification.token_update import AmplifyTokenUpdate
from genmend.diffusion.pipeline_parts import is_transformer

HEADS = {"attention_head_dim": 8, "num_attention_heads": 2}


def ids(height, width, columns, image=0):
    """(image, row, column[, layer]) of each token."""
    places = torch.cartesian_prod(torch.arange(height), torch.arange(width)).view(-1, 2)
    found = torch.zeros(height * width, columns)
    found[:, 0], found[:, 1:3] = image, places
    return found


def flux_like(name, columns, n_reference=0, **settings):
    """A network of Flux's kind on a grid of 3 x 12, with a reference image of 6 x 6 behind it."""
    network = getattr(diffusers, name)(in_channels=4, num_layers=1, num_single_layers=1, joint_attention_dim=8,
                                       **HEADS, **settings)  # fmt: skip
    places = torch.cat([ids(3, 12, columns)] + [ids(6, 6, columns, 1)] * n_reference)
    given = {"hidden_states": len(places), "encoder_hidden_states": 36, "img_ids": places,
             "txt_ids": torch.zeros(36, columns)}  # fmt: skip
    given = {key: torch.randn(1, value, {"hidden_states": 4}.get(key, 8)) if isinstance(value, int) else value
             for key, value in given.items()}  # fmt: skip
    return network, given | {"timestep": torch.tensor([0.5])}


def flux(n_reference=0):
    network, given = flux_like(
        "FluxTransformer2DModel", 3, n_reference, pooled_projection_dim=8, axes_dims_rope=(2, 2, 4)
    )
    return network, given | {"pooled_projections": torch.randn(1, 8)}, (1, 3, 12), {0: 1, 1: 1}


def flux2(n_reference=0):
    made = flux_like(
        "Flux2Transformer2DModel", 4, n_reference, timestep_guidance_channels=8, axes_dims_rope=(2, 2, 2, 2)
    )
    return *made, (1, 3, 12), {0: 1, 1: None}


def chroma():
    made = flux_like("ChromaTransformer2DModel", 3, axes_dims_rope=(2, 2, 4), approximator_num_channels=8,
                     approximator_hidden_dim=8, approximator_layers=1)  # fmt: skip
    return *made, (1, 3, 12), {0: 1, 1: None}


def qwen(n_reference=0):
    network = diffusers.QwenImageTransformer2DModel(
        in_channels=16, out_channels=4, num_layers=1, joint_attention_dim=8, axes_dims_rope=(2, 2, 4), **HEADS
    )
    shapes = [(1, 3, 12)] + [(1, 6, 6)] * n_reference
    given = {"hidden_states": torch.randn(1, 36 * len(shapes), 16), "encoder_hidden_states": torch.randn(1, 36, 8),
             "encoder_hidden_states_mask": torch.ones(1, 36), "img_shapes": [shapes],
             "timestep": torch.tensor([0.5])}  # fmt: skip
    return network, given, (1, 3, 12), {0: 1}


def auraflow():
    network = diffusers.AuraFlowTransformer2DModel(
        num_mmdit_layers=1, num_single_dit_layers=1, joint_attention_dim=8, caption_projection_dim=16, sample_size=24,
        pos_embed_max_size=144, **HEADS,
    )  # fmt: skip
    given = {"hidden_states": torch.randn(1, 4, 6, 24), "encoder_hidden_states": torch.randn(1, 28, 8),
             "timestep": torch.tensor([0.5])}  # fmt: skip  # 28 and 8 registers: 36
    return network, given, (1, 3, 12), {0: 1, 1: None}


def cogvideox():
    network = diffusers.CogVideoXTransformer3DModel(
        in_channels=4, out_channels=4, time_embed_dim=8, text_embed_dim=8, num_layers=1, sample_width=24,
        sample_height=6, sample_frames=5, max_text_seq_length=72, **HEADS,
    )  # fmt: skip
    given = {"hidden_states": torch.randn(1, 2, 4, 6, 24), "encoder_hidden_states": torch.randn(1, 72, 8),
             "timestep": torch.tensor([500])}  # fmt: skip
    return network, given, (2, 3, 12), {0: 0}


def wan():
    network = diffusers.WanTransformer3DModel(
        in_channels=4, out_channels=4, text_dim=8, freq_dim=8, ffn_dim=8, num_layers=1, rope_max_seq_len=32,
        num_attention_heads=2, attention_head_dim=12,
    )  # fmt: skip
    given = {"hidden_states": torch.randn(1, 4, 2, 6, 24), "encoder_hidden_states": torch.randn(1, 72, 8),
             "timestep": torch.tensor([500])}  # fmt: skip
    return network, given, (2, 3, 12), {0: None}


def hunyuan():
    network = diffusers.HunyuanDiT2DModel(
        in_channels=4, patch_size=2, sample_size=12, hidden_size=16, num_layers=2, cross_attention_dim=8,
        cross_attention_dim_t5=8, pooled_projection_dim=8, text_len=18, text_len_t5=18,
        use_style_cond_and_image_meta_size=False, **HEADS,
    )  # fmt: skip
    turns = torch.randn(36, 8)
    given = {"hidden_states": torch.randn(2, 4, 12, 12), "encoder_hidden_states": torch.randn(2, 18, 8),
             "text_embedding_mask": torch.ones(2, 18), "encoder_hidden_states_t5": torch.randn(2, 18, 8),
             "text_embedding_mask_t5": torch.ones(2, 18), "image_rotary_emb": (turns, turns),
             "timestep": torch.tensor([500.0, 500.0])}  # fmt: skip
    return network, given, (1, 6, 6), {0: None, 1: None}


FAMILIES = {
    "flux": flux,
    "flux kontext": lambda: flux(1),
    "flux 2": flux2,
    "flux 2 with references": lambda: flux2(2),
    "chroma": chroma,
    "qwen": qwen,
    "qwen edit": lambda: qwen(1),
    "auraflow": auraflow,
    "cogvideox": cogvideox,
    "wan": wan,
    "hunyuan": hunyuan,
}


def watched(network, layer, given):
    """What a block took and returned in one call."""
    seen = {}

    def note(block, inputs, named, output):
        seen["before"] = (named.get("hidden_states") if "hidden_states" in named else inputs[0]).clone()
        seen["after"] = [part.clone() for part in (output if isinstance(output, tuple) else (output,))]

    handle = network.get_submodule(layer).register_forward_hook(note, with_kwargs=True)
    with torch.no_grad():
        network(**given)
    handle.remove()
    return seen["before"], seen["after"]


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_drawn_on_its_grid_and_nothing_else(family):
    torch.manual_seed(0)
    network, given, (frames, height, width), streams = FAMILIES[family]()
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    assert is_transformer(network)
    for number, stream in streams.items():
        with amplified(network, blocks={number: 3.0}, cutoff=2, cutoff_unit="bins") as active:
            layer = active.edits[0].layer
            _, made = watched(network, layer, given)
        before, plain = watched(network, layer, given)
        stream, drawn = stream or 0, frames * height * width
        text = 36 if streams[number] is None and "single" in layer else 0
        image = slice(text, text + drawn)
        update = (plain[stream] - before)[:, image].transpose(1, 2).unflatten(2, (frames, height, width))
        expected = plain[stream].clone()
        expected[:, image] += low_change(update, Band(2), 2.0).flatten(2).transpose(1, 2)
        assert (made[stream] - plain[stream]).abs().max() > 1e-3
        torch.testing.assert_close(made[stream], expected, atol=1e-4, rtol=1e-4)
        outside = [i for i in range(expected.shape[1]) if not image.start <= i < image.stop]
        assert torch.equal(made[stream][:, outside], plain[stream][:, outside])
        for i, (one, other) in enumerate(zip(made, plain, strict=True)):
            assert i == stream or torch.equal(one, other)


class Unknown(torch.nn.Module):
    """A transformer of another family: who knows which of its tokens are text."""

    def __init__(self):
        super().__init__()
        self.blocks = torch.nn.ModuleList([torch.nn.Identity()])


@pytest.mark.parametrize("made", [
    Unknown,
    lambda: diffusers.Lumina2Transformer2DModel(hidden_size=16, num_layers=1, num_refiner_layers=1, cap_feat_dim=8,
                                                num_attention_heads=2, num_kv_heads=1, axes_dim_rope=(4, 2, 2)),
    lambda: diffusers.ZImageTransformer2DModel(dim=16, n_layers=1, n_refiner_layers=1, n_heads=2, n_kv_heads=2,
                                               cap_feat_dim=8, axes_dims=[4, 2, 2], axes_lens=[32, 32, 32]),
])  # fmt: skip
def test_another_family_is_refused_as_the_transformer_it_is(made):
    network = made()
    assert is_transformer(network)
    with pytest.raises(ValueError, match="is a transformer whose image tokens are not known"):
        amplified(network, blocks={0: 1.1}).__enter__()
    assert not network._forward_pre_hooks


@pytest.mark.parametrize("change", [
    lambda given: given | {"img_ids": given["img_ids"].flip(0)},
    lambda given: given | {"img_ids": given["img_ids"][:, [0, 2, 1]]},
    lambda given: given | {"img_ids": torch.cat([ids(6, 6, 3, 1), ids(3, 12, 3)]),
                           "hidden_states": torch.randn(1, 72, 4)},
])  # fmt: skip
def test_ids_that_are_no_grid_are_refused(change):
    network, given, _, _ = flux()
    with amplified(network, blocks={0: 1.5}), pytest.raises(ValueError, match="begin with a whole grid"):
        network(**change(given))


def test_an_edit_of_the_text_is_refused():
    network, _, _, _ = flux()
    with pytest.raises(ValueError, match="image tokens in stream 1"):
        amplified(network, edits=[AmplifyTokenUpdate("transformer_blocks.0", 1.5, 0.3)]).__enter__()
    with pytest.raises(ValueError, match="height and width"):  # text and image together: no square may be guessed
        AmplifyTokenUpdate("0", 1.5, 0.3, stream=-1).apply(torch.ones(1, 36, 4))
