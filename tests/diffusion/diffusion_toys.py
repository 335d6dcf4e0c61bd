"""Tiny pipelines of the layouts of real families, with random weights: they test mechanisms, never quality."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    PixArtAlphaPipeline,
    PixArtTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
)

QUIET = {"output_type": "np"}


def tokenizer(folder: Path) -> CLIPTokenizer:
    """Letters only: any text of lower-case words can be read."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(letter + "</w>" for letter in letters)]
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16)


def _text_config(size: int = 32) -> CLIPTextConfig:
    return CLIPTextConfig(
        hidden_size=size,
        intermediate_size=37,
        num_attention_heads=4,
        num_hidden_layers=2,
        vocab_size=64,
        max_position_embeddings=16,
        projection_dim=size,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )


def _vae(latent_channels: int = 4) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(32, 64),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=latent_channels,
        shift_factor=0.0,
        scaling_factor=1.0,
        use_quant_conv=latent_channels == 4,
        use_post_quant_conv=latent_channels == 4,
    )


def sd15_unet(in_channels: int = 4) -> UNet2DConditionModel:
    """Four down blocks, the last without a downsampler; cross-attention in all but the last."""
    return UNet2DConditionModel(
        sample_size=32,
        in_channels=in_channels,
        block_out_channels=(32, 32, 64, 64),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        cross_attention_dim=32,
        attention_head_dim=8,
        norm_num_groups=8,
    )


def sd15(folder: Path) -> StableDiffusionPipeline:
    """The layout of Stable Diffusion 1.5."""
    torch.manual_seed(0)
    pipe = StableDiffusionPipeline(
        vae=_vae(),
        text_encoder=CLIPTextModel(_text_config()),
        tokenizer=tokenizer(folder),
        unet=sd15_unet(),
        scheduler=DDIMScheduler(clip_sample=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    return quiet(pipe)


def sdxl(folder: Path, in_channels: int = 4) -> StableDiffusionXLPipeline:
    """The layout of SDXL: three down blocks, the first without attention."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=32,
        in_channels=in_channels,
        block_out_channels=(32, 64, 64),
        layers_per_block=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 1, 2),
        cross_attention_dim=64,
        attention_head_dim=(2, 4, 8),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=80,
        norm_num_groups=8,
    )
    words = tokenizer(folder)
    pipe = StableDiffusionXLPipeline(
        vae=_vae(),
        text_encoder=CLIPTextModel(_text_config()),
        text_encoder_2=CLIPTextModelWithProjection(_text_config()),
        tokenizer=words,
        tokenizer_2=words,
        unet=unet,
        scheduler=EulerDiscreteScheduler(),
        force_zeros_for_empty_prompt=True,
        add_watermarker=False,
    )
    return quiet(pipe)


def _t5(size: int = 32) -> T5EncoderModel:
    return T5EncoderModel(T5Config(vocab_size=64, d_model=size, d_kv=8, d_ff=37, num_layers=1, num_heads=4))


def pixart(folder: Path) -> PixArtAlphaPipeline:
    """The layout of PixArt-alpha; texts are given as embeddings."""
    torch.manual_seed(0)
    transformer = PixArtTransformer2DModel(
        sample_size=8,
        num_layers=3,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=3,
        caption_channels=32,
        in_channels=4,
        cross_attention_dim=24,
        out_channels=8,
        use_additional_conditions=False,
    )
    _shake(transformer)
    return quiet(
        PixArtAlphaPipeline(
            tokenizer=None, text_encoder=_t5(), vae=_vae(), transformer=transformer, scheduler=DDIMScheduler()
        )
    )


def sd3(folder: Path) -> StableDiffusion3Pipeline:
    """The layout of Stable Diffusion 3: joint blocks that return (text, image)."""
    torch.manual_seed(0)
    transformer = SD3Transformer2DModel(
        sample_size=32,
        patch_size=2,
        in_channels=4,
        num_layers=3,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=32,
        caption_projection_dim=32,
        pooled_projection_dim=64,
        out_channels=4,
    )
    _shake(transformer)
    nothing = dict.fromkeys(
        ("text_encoder", "text_encoder_2", "text_encoder_3", "tokenizer", "tokenizer_2", "tokenizer_3")
    )
    return quiet(
        StableDiffusion3Pipeline(
            transformer=transformer, vae=_vae(), scheduler=FlowMatchEulerDiscreteScheduler(), **nothing
        )
    )


def flux(folder: Path) -> FluxPipeline:
    """The layout of FLUX.1: packed latents, double and single blocks."""
    torch.manual_seed(0)
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=4,
        num_layers=2,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=(4, 4, 8),
    )
    _shake(transformer)
    nothing = dict.fromkeys(("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"))
    return quiet(
        FluxPipeline(transformer=transformer, vae=_vae(1), scheduler=FlowMatchEulerDiscreteScheduler(), **nothing)
    )


def quiet(pipe):
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _shake(module: torch.nn.Module) -> None:
    """Zero-initialised gates would hide every edit."""
    for weight in module.parameters():
        torch.nn.init.normal_(weight, std=0.1)
