"""The pipeline that draws vessels: text to 48x48 colour pictures, its U-Net in the shape of SDXL's."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from diffusers import StableDiffusionPipeline, UNet2DConditionModel

from experiments.garments.models import WIDTH, join_parts, pixel_autoencoder
from experiments.objects.captions import vocabulary
from experiments.objects.world import SIDE

MEAN, STD = 0.41, 0.40  # of a picture's values in -1..1: the U-Net sees them standardised
BLOCKS = (16, 48, 80)


def build_pipeline(folder: Path, blocks: tuple[int, int, int] = BLOCKS) -> StableDiffusionPipeline:
    """An untrained pipeline; the tokenizer's files are written into `folder` (torch's seed decides the weights).

    As in SDXL there are three down blocks, the first without attention and the last without a downsampler, so that the
    published gains fit slot by slot: down0 gives a map of 24x24, down1, down2 and mid one of 12x12.
    """
    unet = partial(
        UNet2DConditionModel,
        sample_size=SIDE,
        in_channels=3,
        out_channels=3,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=blocks,
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=(1, 2, 2),  # heads, as diffusers reads this name
        norm_num_groups=8,
    )
    return join_parts(vocabulary(), folder, unet, pixel_autoencoder(3, MEAN, STD, SIDE))
