"""A tiny network of each transformer family, of the true layout, and the call that its pipeline makes of it.

There are always as many text tokens as image tokens, so that counting could not tell them apart. Networks have one or
two blocks of each kind, and random weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature

import diffusers
import torch

from genmend.diffusion.pipeline_parts import call_arguments

HEADS = {"attention_head_dim": 8, "num_attention_heads": 2}
ROPE3, ROPE4 = (2, 2, 4), (2, 2, 2, 2)


@dataclass(frozen=True)
class Tiny:
    """How the tests know what to expect.

    `made` takes height and width in tokens and the number of images, and returns a pipeline and the arguments of its
    call, or a network and the arguments of its. `blocks`: list of blocks -> (tensor of the output, where the drawn
    tokens begin in it: "first", behind the "text", or "last").
    """

    made: Callable
    blocks: dict
    frames: int = 1
    square: bool = False  # the only shape it draws

    def called(self, height, width, n=1):
        """The network, and the arguments of the first call that its pipeline makes."""
        pipe, given = self.made(height, width, n)
        if isinstance(pipe, torch.nn.Module):
            return pipe, given
        heard = []
        spy = pipe.transformer.register_forward_pre_hook(
            lambda network, inputs, named: heard.append(call_arguments(network, inputs, named)), with_kwargs=True
        )
        pipe(**given, num_inference_steps=1, output_type="latent", generator=torch.Generator().manual_seed(0))
        spy.remove()
        return pipe.transformer, heard[0]


def shaken(network):
    """Zero gates would hide every edit."""
    draw = torch.Generator().manual_seed(0)
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.2, generator=draw)
    return network.eval()


def piped(name, network, scheduler="FlowMatchEulerDiscreteScheduler"):
    """The pipeline with this network and without encoders."""
    cls = getattr(diffusers, name)
    taken = signature(cls.__init__).parameters
    parts = {part: None for part, given in taken.items() if part != "self" and given.default is given.empty}
    parts |= {"transformer": shaken(network), "scheduler": getattr(diffusers, scheduler)()}
    if "requires_safety_checker" in taken:
        parts["requires_safety_checker"] = False
    pipe = cls(**parts)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def texts(n_tokens, n=1, *, negative=False, **more):
    """Embedded prompts of as many tokens as the image has."""
    draw = torch.Generator().manual_seed(1)
    names = ["prompt_embeds", *["negative_prompt_embeds"] * negative]
    return {name: torch.randn(n, n_tokens, 8, generator=draw) for name in names} | more


def flux(height, width, n=1, pipe="FluxPipeline", in_channels=64):
    network = diffusers.FluxTransformer2DModel(
        in_channels=in_channels, num_layers=1, num_single_layers=1, joint_attention_dim=8, pooled_projection_dim=8,
        axes_dims_rope=ROPE3, **HEADS,
    )  # fmt: skip
    given = texts(height * width, n, pooled_prompt_embeds=torch.ones(n, 8), height=16 * height, width=16 * width)
    return piped(pipe, network), given


def kontext(height, width, n=1):
    pipe, given = flux(height, width, n, "FluxKontextPipeline")
    return pipe, given | {"image": torch.ones(n, 16, 2 * height, 2 * width), "_auto_resize": False,
                          "max_area": 16 * height * 16 * width}  # fmt: skip


def flux2(height, width, n=1):
    network = diffusers.Flux2Transformer2DModel(
        in_channels=128, num_layers=1, num_single_layers=1, joint_attention_dim=8, timestep_guidance_channels=8,
        axes_dims_rope=ROPE4, **HEADS,
    )  # fmt: skip
    return piped("Flux2Pipeline", network), texts(height * width, n, height=16 * height, width=16 * width)


def chroma(height, width, n=1):
    network = diffusers.ChromaTransformer2DModel(
        in_channels=64, num_layers=1, num_single_layers=1, joint_attention_dim=8, axes_dims_rope=ROPE3,
        approximator_num_channels=8, approximator_hidden_dim=8, approximator_layers=1, **HEADS,
    )  # fmt: skip
    mask = torch.ones(n, height * width)
    given = texts(height * width, n, negative=True, prompt_attention_mask=mask, negative_prompt_attention_mask=mask)
    return piped("ChromaPipeline", network), given | {"height": 16 * height, "width": 16 * width}


def sd3(height, width, n=1):
    network = diffusers.SD3Transformer2DModel(
        sample_size=24, in_channels=4, out_channels=4, num_layers=2, joint_attention_dim=8, caption_projection_dim=16,
        pooled_projection_dim=8, pos_embed_max_size=12, dual_attention_layers=(0,), qk_norm="rms_norm", **HEADS,
    )  # fmt: skip
    pooled = {name: torch.ones(n, 8) for name in ("pooled_prompt_embeds", "negative_pooled_prompt_embeds")}
    return piped("StableDiffusion3Pipeline", network), texts(
        height * width, n, negative=True, height=16 * height, width=16 * width, **pooled
    )


def qwen_image(height, width, n=1):
    network = diffusers.QwenImageTransformer2DModel(
        in_channels=64, out_channels=16, num_layers=1, joint_attention_dim=8, axes_dims_rope=ROPE3, **HEADS
    )
    return piped("QwenImagePipeline", network), texts(
        height * width, n, prompt_embeds_mask=torch.ones(n, height * width).long(), height=16 * height, width=16 * width
    )


def z_image(height, width, n=1):
    network = diffusers.ZImageTransformer2DModel(
        dim=16, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=8, axes_dims=[4, 2, 2],
        axes_lens=[128, 16, 16],
    )  # fmt: skip
    given = texts(height * width, n, negative=True, height=16 * height, width=16 * width)
    return piped("ZImagePipeline", network), {
        name: list(value) if "embeds" in name else value for name, value in given.items()
    }


def lumina2(height, width, n=1):
    network = diffusers.Lumina2Transformer2DModel(
        sample_size=8, hidden_size=16, num_layers=2, num_refiner_layers=1, cap_feat_dim=8, num_attention_heads=2,
        num_kv_heads=1, axes_dim_rope=(4, 2, 2),
    )  # fmt: skip
    names = ("prompt_attention_mask", "negative_prompt_attention_mask")
    masks = {name: torch.ones(n, height * width).long() for name in names}
    masks["prompt_attention_mask"][1:, -5:] = 0  # texts of unequal length: each row's image begins elsewhere
    return piped("Lumina2Pipeline", network), texts(
        height * width, n, negative=True, height=16 * height, width=16 * width, **masks
    )


def auraflow(height, width, n=1):
    network = diffusers.AuraFlowTransformer2DModel(
        num_mmdit_layers=1, num_single_dit_layers=1, joint_attention_dim=8, caption_projection_dim=16, sample_size=24,
        pos_embed_max_size=144, **HEADS,
    )  # fmt: skip
    given = texts(height * width, n, negative=True, height=16 * height, width=16 * width)
    for name in ("prompt", "negative_prompt"):
        given[f"{name}_embeds"] = given[f"{name}_embeds"][:, 8:]  # 8 registers stand in front of them
        given[f"{name}_attention_mask"] = torch.ones(given[f"{name}_embeds"].shape[:2])
    return piped("AuraFlowPipeline", network), given


def hunyuan(height, width, n=1):
    network = diffusers.HunyuanDiT2DModel(
        in_channels=4, patch_size=2, sample_size=24, hidden_size=32, num_layers=2, cross_attention_dim=8,
        cross_attention_dim_t5=8, pooled_projection_dim=8, text_len=height * width // 2,
        text_len_t5=height * width // 2, use_style_cond_and_image_meta_size=False, attention_head_dim=16,
        num_attention_heads=2,
    )  # fmt: skip
    half = height * width // 2
    given = {"height": 16 * height, "width": 16 * width, "use_resolution_binning": False}
    for name in ("prompt", "negative_prompt"):
        for second in ("", "_2"):
            given[f"{name}_embeds{second}"] = torch.randn(n, half, 8, generator=torch.Generator().manual_seed(1))
            given[f"{name}_attention_mask{second}"] = torch.ones(n, half)
    return piped("HunyuanDiTPipeline", network, "DDPMScheduler"), given


def sana(height, width, n=1):
    network = diffusers.SanaTransformer2DModel(
        sample_size=32, patch_size=1, in_channels=4, out_channels=4, num_layers=1, caption_channels=8, mlp_ratio=2,
        num_cross_attention_heads=2, cross_attention_head_dim=8, cross_attention_dim=16, **HEADS,
    )  # fmt: skip
    mask = torch.ones(n, height * width)
    return piped("SanaPipeline", network), texts(
        height * width, n, negative=True, prompt_attention_mask=mask, negative_prompt_attention_mask=mask,
        height=32 * height, width=32 * width, use_resolution_binning=False, negative_prompt=None,
    )  # fmt: skip


def pixart(height, width, n=1):
    network = diffusers.PixArtTransformer2DModel(
        sample_size=24, num_layers=1, in_channels=4, out_channels=8, caption_channels=8, cross_attention_dim=16,
        use_additional_conditions=False, **HEADS,
    )  # fmt: skip
    mask = torch.ones(n, height * width)
    return piped("PixArtSigmaPipeline", network, "DDIMScheduler"), texts(
        height * width, n, negative=True, prompt_attention_mask=mask, negative_prompt_attention_mask=mask,
        height=16 * height, width=16 * width, use_resolution_binning=False, negative_prompt=None,
    )  # fmt: skip


def cogvideox(height, width, n=1):
    network = diffusers.CogVideoXTransformer3DModel(
        in_channels=4, out_channels=4, time_embed_dim=8, text_embed_dim=8, num_layers=1, sample_width=2 * width,
        sample_height=2 * height, sample_frames=5, max_text_seq_length=height * width, **HEADS,
    )  # fmt: skip
    return piped("CogVideoXPipeline", network, "CogVideoXDDIMScheduler"), texts(
        height * width, n, negative=True, height=16 * height, width=16 * width, num_frames=5
    )


def wan(height, width, n=1):
    network = diffusers.WanTransformer3DModel(
        in_channels=4, out_channels=4, text_dim=8, freq_dim=8, ffn_dim=8, num_layers=1, rope_max_seq_len=32,
        num_attention_heads=2, attention_head_dim=12,
    )  # fmt: skip
    return piped("WanPipeline", network), texts(
        height * width, n, negative=True, height=16 * height, width=16 * width, num_frames=5
    )


def flux2_references(height, width, n=1):
    """Reference images of which each has as many tokens as what is drawn."""
    network, given = Tiny(flux2, {}).called(height, width, n)
    reference = given["img_ids"] + torch.tensor([10, 0, 0, 0])
    return network, given | {
        "hidden_states": torch.cat([given["hidden_states"]] * 3, 1),
        "img_ids": torch.cat([given["img_ids"], reference, reference + torch.tensor([10, 0, 0, 0])], -2),
    }


def qwen_image_edit(height, width, n=1):
    network, given = Tiny(qwen_image, {}).called(height, width, n)
    shapes = [[(1, height, width), (1, height, width)]] * n
    return network, given | {"hidden_states": torch.cat([given["hidden_states"]] * 2, 1), "img_shapes": shapes}


def qwen_image_21(height, width, n=1):
    """One reference image, in the middle of the text; what is drawn comes last. Each slot stands for 2 x 2 tokens."""
    network = diffusers.QwenImage21Transformer2DModel(
        in_channels=4, out_channels=4, num_layers=2, context_in_dim=8, axes_dims_rope=ROPE3, **HEADS
    )
    slots = height * width // 4
    mask = torch.tensor([False] * 3 + [True] * slots + [False] * 2 + [True] * slots).repeat(n, 1)
    given = {"hidden_states": torch.randn(n, 8 * slots, 4), "encoder_hidden_states": torch.randn(n, 5 + slots, 8),
             "img_shapes": [[(1, height, width), (1, height, width)]] * n, "img_mask": mask,
             "timestep": torch.full((n,), 0.5)}  # fmt: skip
    return shaken(network), given


def dit(height, width, n=1):
    network = diffusers.DiTTransformer2DModel(
        sample_size=24, num_layers=1, in_channels=4, out_channels=8, num_embeds_ada_norm=10, **HEADS
    )
    labels = torch.ones(n, dtype=torch.long)
    given = {"hidden_states": torch.randn(n, 4, 2 * height, 2 * width), "timestep": labels, "class_labels": labels}
    return shaken(network), given


JOINT = {"transformer_blocks": (1, "first")}
FLUX = {**JOINT, "single_transformer_blocks": (1, "first")}
THEN_JOINED = {**JOINT, "single_transformer_blocks": (0, "text")}
ALONE = {"transformer_blocks": (0, "first")}
TINY = {
    "FLUX.1": Tiny(flux, FLUX),
    "FLUX.1 Kontext": Tiny(kontext, FLUX),
    "FLUX.2": Tiny(flux2, THEN_JOINED),
    "FLUX.2 with references": Tiny(flux2_references, THEN_JOINED),
    "Chroma": Tiny(chroma, THEN_JOINED),
    "Stable Diffusion 3.5": Tiny(sd3, JOINT),
    "Qwen-Image": Tiny(qwen_image, JOINT),
    "Qwen-Image-Edit": Tiny(qwen_image_edit, JOINT),
    "Qwen-Image 2.1": Tiny(qwen_image_21, {"transformer_blocks": (0, "last")}),
    "Z-Image": Tiny(z_image, {"layers": (0, "first")}),
    "Lumina 2": Tiny(lumina2, {"layers": (0, "text")}),
    "AuraFlow": Tiny(auraflow, {"joint_transformer_blocks": (1, "first"), "single_transformer_blocks": (0, "text")}),
    "Hunyuan-DiT": Tiny(hunyuan, {"blocks": (0, "first")}),
    "Sana": Tiny(sana, ALONE),
    "PixArt-sigma": Tiny(pixart, ALONE),
    "DiT": Tiny(dit, ALONE, square=True),
    "CogVideoX": Tiny(cogvideox, ALONE, frames=2),
    "Wan": Tiny(wan, {"blocks": (0, "first")}, frames=2),
}
