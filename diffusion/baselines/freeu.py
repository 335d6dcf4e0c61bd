"""FreeU: in the decoder of a U-Net boost the backbone and damp the low frequencies of the skips.

Si, Huang, Jiang, Liu, "FreeU: Free Lunch in Diffusion U-Net", CVPR 2024, arXiv 2309.11497.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from genmend.activations.compiled import compiled_and_run
from genmend.activations.contract import working_dtype
from genmend.diffusion.amplification.frequency_bands import check_band
from genmend.diffusion.amplification.low_frequencies import check_gain
from genmend.diffusion.amplification.low_pass import Band, low_change
from genmend.diffusion.pipeline_parts import denoiser_of, plain_module

__all__ = ["FREEU_SETTINGS", "FreeUForm", "freeu"]

FreeUForm = Literal["paper", "authors", "diffusers"]

# The authors' README.
FREEU_SETTINGS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "sd14": MappingProxyType({"b1": 1.3, "b2": 1.4, "s1": 0.9, "s2": 0.2}),
        "sd15": MappingProxyType({"b1": 1.5, "b2": 1.6, "s1": 0.9, "s2": 0.2}),
        "sd21": MappingProxyType({"b1": 1.4, "b2": 1.6, "s1": 0.9, "s2": 0.2}),
        "sdxl": MappingProxyType({"b1": 1.3, "b2": 1.4, "s1": 0.9, "s2": 0.2}),
    }
)


@contextmanager
def freeu(
    pipe: Any,
    b1: float,
    b2: float,
    s1: float,
    s2: float,
    *,
    form: FreeUForm = "paper",
    cutoff: float = 1.5,
    stage_channels: tuple[int, int] | None = None,
) -> Iterator[None]:
    """Draw with FreeU for the length of a block.

    Parameters
    ----------
    pipe
        A diffusers pipeline with a U-Net, or the U-Net.
    b1, b2
        Gain of the first half of the backbone's channels, in stage 1 and 2; from 0 on, 1 changes nothing.
    s1, s2
        Gain of the low frequencies of the skips, in stage 1 and 2; 0 removes them. `FREEU_SETTINGS` has the authors'.
    form
        ======================  =======================  ==========================  =============================
        .                       "paper"                  "authors" (their code)      "diffusers" (`enable_freeu`)
        ======================  =======================  ==========================  =============================
        gain of the backbone    1 + (b - 1) m            1 + (b - 1) m               b everywhere
        stage chosen by         channels of backbone     channels of backbone        number of the up block, 0 or 1
        skip bins scaled        all below `cutoff`       0 and -1 of either axis     0 and -1 of either axis
        ======================  =======================  ==========================  =============================

        The structure map m is the mean over channels, scaled to 0..1 in each sample. The bins of the code are no
        symmetric set: the true gains are s at the mean, ``(1 + s) / 2`` at its neighbours along the axes and on one
        diagonal, and 1 on the other diagonal.
    cutoff
        Of the paper's form, in FFT bins. The paper has a threshold and no value for it; our reading, 1.5, is the mean
        and its eight neighbours.
    stage_channels
        Channels of the backbone in stages 1 and 2; by default the two largest numbers that there are, which are the
        published 1280 and 640 in Stable Diffusion.

    Notes
    -----
    Computed in float32 and rounded once; nothing is changed in place. Together with `amplified`, the gain of the middle
    block comes first.

    Raises
    ------
    TypeError, ValueError
        If the denoiser is no U-Net with up blocks of ResNets, a number is out of range, FreeU is on already, or
        a stage has no layer. Nothing has been changed then.
    RuntimeError
        If the U-Net is compiled and has already run, when hooks would be ignored.
    """
    unet: Any = plain_module(denoiser_of(pipe))
    for name, value in (("b1", b1), ("b2", b2), ("s1", s1), ("s2", s2)):
        check_gain(name, value)
    check_band(cutoff, "bins", 0.0)
    if form not in get_args(FreeUForm):
        raise ValueError(f"form is {form!r}; accepted are {get_args(FreeUForm)}; choose one.")
    if any(getattr(block, "b1", None) is not None for block in getattr(unet, "up_blocks", ())):
        raise ValueError("FreeU is on already, by enable_freeu of diffusers; call pipe.disable_freeu() first.")
    stages = _stages(unet, form, stage_channels)
    if compiled_and_run(resnet for resnet, _, _ in stages) is not None:
        raise RuntimeError(
            "The U-Net is compiled and has already run, but FreeU is accepted only before the first compiled call; "
            "begin the block first, or call torch._dynamo.reset() before."
        )
    with ExitStack() as hooks:
        for resnet, n_hidden, stage in stages:
            b, s = (b1, s1) if stage == 1 else (b2, s2)
            hooks.callback(resnet.register_forward_pre_hook(_hook(n_hidden, b, s, form, cutoff)).remove)
        yield


def backbone_gain(hidden: Tensor, b: float) -> Tensor:
    """Gain of the backbone at each place, ``(n, 1, height, width)`` in 1..b.

    ``hidden`` is ``(n, channels, height, width)``. Where the structure map is constant the gain is 1.
    """
    mean = hidden.mean(1, keepdim=True)
    low, high = mean.amin((-2, -1), keepdim=True), mean.amax((-2, -1), keepdim=True)
    return 1 + (b - 1) * (mean - low) / (high - low).clamp_min(torch.finfo(mean.dtype).tiny)


def scaled_block(skip: Tensor, s: float) -> Tensor:
    """Scale the skip as the authors' code does: ``s`` at bins 0 and -1 of both axes, then the real part."""
    weights = _block_weights(skip.shape[-2], skip.shape[-1]).to(skip.device, skip.dtype)
    return skip + torch.fft.irfft2(torch.fft.rfft2(skip) * ((s - 1) * weights), s=skip.shape[-2:])


@lru_cache(maxsize=64)
def _block_weights(height: int, width: int) -> Tensor:
    """How much of the change each bin gets, laid out as ``rfft2`` does.

    The real part of the result halves what acts on a frequency and not on its mirror image.
    """
    down, across = (torch.isin(torch.arange(size), torch.tensor([0, size - 1])) for size in (height, width))
    block = (down[:, None] & across[None]).double()
    mirrored = block.flip(0, 1).roll((1, 1), (0, 1))
    return ((block + mirrored) / 2)[:, : width // 2 + 1]


def _hook(n_hidden: int, b: float, s: float, form: FreeUForm, cutoff: float) -> Callable[..., Any]:
    def hook(resnet: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        x = inputs[0]
        hidden, skip = x.to(working_dtype(x, type(resnet).__name__)).split((n_hidden, x.shape[1] - n_hidden), 1)
        half, rest = hidden.tensor_split((n_hidden // 2,), 1)
        half = half * (b if form == "diffusers" else backbone_gain(hidden, b))
        skip = skip + low_change(skip, Band(cutoff), s - 1) if form == "paper" else scaled_block(skip, s)
        return (torch.cat((half, rest, skip), 1).to(x.dtype), *inputs[1:])

    return hook


def _stages(unet: Any, form: FreeUForm, channels: tuple[int, int] | None) -> list[tuple[nn.Module, int, int]]:
    """Each ResNet of a stage, how many of its first input channels are backbone, and the stage."""
    found = list(_decoder(unet))
    wanted = {0: 1, 1: 2}
    if form != "diffusers":
        widest = channels or sorted({n_hidden for _, _, n_hidden in found}, reverse=True)[:2]
        wanted = dict(zip(widest, (1, 2), strict=False))
    keys = [number if form == "diffusers" else n_hidden for number, _, n_hidden in found]
    if len(wanted) < 2 or not wanted.keys() <= set(keys):
        what = "up blocks" if form == "diffusers" else "channels of the backbone"
        raise ValueError(
            f"Stages 1 and 2 are {tuple(wanted)}, but the {what} are {sorted(set(keys))}; give two as stage_channels."
        )
    return [
        (resnet, n_hidden, wanted[key]) for key, (_, resnet, n_hidden) in zip(keys, found, strict=True) if key in wanted
    ]


def _decoder(unet: Any) -> Iterator[tuple[int, nn.Module, int]]:
    """Number of the up block, ResNet, and channels of the backbone that enters it beside the skip."""
    try:
        before = unet.mid_block if unet.mid_block is not None else unet.down_blocks[-1]
        n_hidden = before.resnets[-1].out_channels
        for number, block in enumerate(unet.up_blocks):
            for resnet in block.resnets:
                if resnet.in_channels <= n_hidden:
                    raise AttributeError
                yield number, resnet, n_hidden
                n_hidden = resnet.out_channels
    except AttributeError:
        raise TypeError(
            f"{type(unet).__name__} has no up blocks of ResNets that take backbone and skip together; FreeU needs a "
            "U-Net such as Stable Diffusion's."
        ) from None
