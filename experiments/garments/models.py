"""The parts of the reference pipeline: a Stable Diffusion of 32x32 pixels, small enough to train on one CPU core.

The U-Net works on pixels: the autoencoder that diffusers' pipeline asks for is one that changes nothing but the scale,
set by hand. So every block that an amplification edits has a map of 16x16.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from tokenizers import AddedToken, pre_tokenizers
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

MEAN, STD = -0.56, 0.66  # of a framed picture's pixels: the U-Net sees them standardised
WORDS = 16  # longest prompt in tokens, its two ends included
WIDTH = 64  # of a token's vector
START, END = "<|startoftext|>", "<|endoftext|>"
CARRIER = 32.0  # of the autoencoder's constant channels


def build_pipeline(words: list[str], folder: Path, blocks: tuple[int, int] = (16, 48)) -> StableDiffusionPipeline:
    """An untrained pipeline; the tokenizer's files are written into `folder` (torch's seed decides the weights)."""
    unet = partial(
        UNet2DConditionModel,
        sample_size=32,
        in_channels=1,
        out_channels=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        block_out_channels=blocks,
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,  # heads, as in Stable Diffusion 1.5's configuration
        norm_num_groups=8,
    )
    return join_parts(words, folder, unet, pixel_autoencoder())


def join_parts(
    words: list[str], folder: Path, build_unet: Callable[[], UNet2DConditionModel], vae: AutoencoderKL
) -> StableDiffusionPipeline:
    """An untrained pipeline of a U-Net, an autoencoder, and a text encoder and tokenizer that know `words`."""
    tokenizer = build_tokenizer(words, folder)
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=WORDS,
            projection_dim=WIDTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,  # a sample may be as dark or bright as it likes
        timestep_spacing="trailing",
        steps_offset=1,
        clip_sample=False,
        set_alpha_to_one=True,
    )
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=build_unet(),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def build_tokenizer(words: list[str], folder: Path) -> CLIPTokenizer:
    """A CLIP tokenizer that keeps each of `words` whole and spells every other one; its two files go into `folder`."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = learn_merges(sorted({part for word in words for part in re.findall(r"\w+", word)}))
    tokens = [*alphabet, *(f"{letter}</w>" for letter in alphabet), *map("".join, merges), START, END]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {token: number for number, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False) + "\n", encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(merge) for merge in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    end = AddedToken(END, normalized=False, special=True)
    return CLIPTokenizer(
        vocab=vocabulary,
        merges=merges,
        bos_token=AddedToken(START, normalized=False, special=True),
        eos_token=end,
        unk_token=end,
        pad_token=end,
        model_max_length=WORDS,
    )


def learn_merges(words: list[str]) -> list[tuple[str, str]]:
    """Byte-pair merges, in order, until each of `words` is one token; equally frequent pairs in alphabetical order.

    The tokenizers library breaks such ties by chance, and token numbers have to be the same whenever they are made.
    Source: Sennrich, Haddow and Birch (2016), Neural machine translation of rare words with subword units, algorithm 1.
    """
    spelt = [[*word[:-1], f"{word[-1]}</w>"] for word in words]
    merges = []
    while counts := Counter(pair for tokens in spelt for pair in pairwise(tokens)):
        merges.append(min(counts, key=lambda pair: (-counts[pair], pair)))
        spelt = [_merge(tokens, merges[-1]) for tokens in spelt]
    return merges


def _merge(tokens: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for token in tokens:
        if merged and (merged[-1], token) == pair:
            merged[-1] += token
        else:
            merged.append(token)
    return merged


@torch.no_grad()
def pixel_autoencoder(colours: int = 1, mean: float = MEAN, std: float = STD, side: int = 32) -> AutoencoderKL:
    """An autoencoder whose latent is the picture's own values, (v - mean) / std: one grey, or three colours.

    Exact up to 0.05 % of a grey value and 0.15 % of a colour's. A value x travels as the channels x and -x, beside C
    and -C: their mean is zero and their spread nearly constant, so that the group normalisation only scales them, and
    SiLU(z) - SiLU(-z) = z undoes the last activation. Residual branches are zero.
    """
    vae = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",),
        up_block_types=("UpDecoderBlock2D",),
        block_out_channels=(2 * colours + 2,),
        layers_per_block=1,
        latent_channels=colours,
        norm_num_groups=1,
        sample_size=side,
        scaling_factor=1.0,
        use_quant_conv=False,
        use_post_quant_conv=False,
        mid_block_add_attention=False,
    )
    for parameter in vae.parameters():
        parameter.zero_()
    carrier = torch.tensor([0.0] * 2 * colours + [CARRIER, -CARRIER])
    spread = ((CARRIER**2 + colours * (mean**2 + std**2)) / (colours + 1)) ** 0.5
    for part in (vae.encoder, vae.decoder):
        part.conv_norm_out.weight.fill_(spread)
        part.conv_in.bias.copy_(carrier)
    one = torch.eye(colours)
    read = one if colours == 3 else torch.full((1, 3), 1 / 3)  # (colours, 3) what of the picture is a value
    there_and_back = torch.stack([one, -one], dim=1).flatten(0, 1)  # (2 colours, colours) x, -x of each
    rest = torch.zeros(2, colours)
    _centre(vae.encoder.conv_in, torch.cat([there_and_back @ read, torch.zeros(2, 3)]))
    latent = torch.cat([there_and_back.T, torch.zeros(colours, 2)], dim=1) / std
    _centre(vae.encoder.conv_out, torch.cat([latent, torch.zeros_like(latent)]))
    vae.encoder.conv_out.bias.copy_(torch.tensor([-mean / std] * colours + [-30.0] * colours))  # log of no variance
    _centre(vae.decoder.conv_in, torch.cat([there_and_back * std, rest]))
    vae.decoder.conv_in.bias.add_(torch.cat([there_and_back.sum(1) * mean, rest[:, 0]]))
    shown = torch.cat([there_and_back.T, torch.zeros(colours, 2)], dim=1)
    _centre(vae.decoder.conv_out, shown if colours == 3 else shown.expand(3, -1))
    return vae


def _centre(layer: nn.Conv2d, matrix: torch.Tensor) -> None:
    """Make the 3x3 convolution one of single pixels, by the matrix (out, in)."""
    layer.weight[:, :, 1, 1] = matrix
