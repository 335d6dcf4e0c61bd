"""Where a transformer's image tokens are: which output of a block, which part of it, on which grid.

Told from what the denoiser is given (the ids or shapes of its tokens, its latents), never from how many tokens there
are, which as well may be text. The layouts are those of diffusers 0.42's classes; another class is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from genmend.diffusion.pipeline_parts import call_arguments, plain_module

__all__ = ["TokenGrid", "is_known", "token_grid", "transformer_layers"]


@dataclass(frozen=True)
class TokenGrid:
    """The tokens of what is drawn, ``frames x height x width`` in row-major order.

    `count` is the length of the image stream: tokens of reference images may follow in it.
    """

    frames: int
    height: int
    width: int
    count: int


Arguments = Mapping[str, Any]


@dataclass(frozen=True)
class _Layout:
    blocks: Mapping[str, int]  # list of blocks -> `AmplifyTokenUpdate.stream` of each
    grid: Callable[[Any, Arguments], TokenGrid]


def transformer_layers(transformer: nn.Module) -> dict[str, int]:
    """Layer name of each block of a diffusion transformer, in the order they run -> its `AmplifyTokenUpdate.stream`.

    Raises
    ------
    ValueError
        If the class is not known: which of its tokens are the image's would be a guess.
    """
    plain: Any = plain_module(transformer)
    blocks = _layout(plain).blocks
    return {
        f"{name}.{i}": stream for name, stream in blocks.items() for i in range(len(getattr(plain, name, None) or ()))
    }


def is_known(transformer: nn.Module) -> bool:
    """Whether the layout of this class is known."""
    return any(cls.__name__ in _LAYOUTS for cls in type(plain_module(transformer)).__mro__)


def token_grid(denoiser: nn.Module, inputs: tuple[Any, ...], named_inputs: dict[str, Any]) -> TokenGrid:
    """Return the grid of a call's image tokens.

    Raises
    ------
    ValueError
        If the class is not known, or the call does not say.
    """
    plain: Any = plain_module(denoiser)
    return _layout(plain).grid(plain, call_arguments(denoiser, inputs, named_inputs))


def _layout(plain: nn.Module) -> _Layout:
    for cls in type(plain).__mro__:
        if cls.__name__ in _LAYOUTS:
            return _LAYOUTS[cls.__name__]
    raise ValueError(
        f"{type(plain).__name__} is a transformer whose image tokens are not known apart from its text; accepted are "
        f"{', '.join(_LAYOUTS)}; for another one give edits=[AmplifyTokenUpdate(layer, gain, cutoff, height, width, "
        "stream)] yourself."
    )


def _by_patches(denoiser: Any, given: Arguments) -> TokenGrid:
    """Latents ``(n, channels, height, width)``, cut into squares."""
    latents, patch = given.get("hidden_states"), int(denoiser.config.get("patch_size") or 1)
    if not isinstance(latents, Tensor) or latents.dim() != 4:
        raise _unclear(denoiser, "latents (n, channels, height, width)")
    height, width = (size // patch for size in latents.shape[-2:])
    return TokenGrid(1, height, width, height * width)


def _by_frames(frames_axis: int) -> Callable[[Any, Arguments], TokenGrid]:
    """Latents of five axes, the frames in front of the channels or behind them."""

    def grid(denoiser: Any, given: Arguments) -> TokenGrid:
        latents, patch = given.get("hidden_states"), denoiser.config.get("patch_size") or 1
        if not isinstance(latents, Tensor) or latents.dim() != 5:
            raise _unclear(denoiser, "latents with frames")
        along, down, across = (
            (denoiser.config.get("patch_size_t") or 1, patch, patch) if isinstance(patch, int) else tuple(patch)
        )
        frames, height, width = (
            latents.shape[frames_axis] // along, latents.shape[-2] // down, latents.shape[-1] // across
        )  # fmt: skip
        return TokenGrid(frames, height, width, frames * height * width)

    return grid


def _by_ids(denoiser: Any, given: Arguments) -> TokenGrid:
    """Packed latents with the place of each token beside them: (image, row, column), or (image, row, column, layer).

    What is drawn has the lowest number of image and stands first; reference images follow (Flux Kontext, Flux.2).
    """
    ids, latents = given.get("img_ids"), given.get("hidden_states")
    if not isinstance(ids, Tensor) or not isinstance(latents, Tensor) or given.get("kv_cache_mode") is not None:
        raise _unclear(denoiser, "img_ids of every token")
    ids = (ids[0] if ids.dim() == 3 else ids).detach().cpu().long()
    drawn = int((ids[:, 0] == ids[0, 0]).long().cumprod(0).sum())
    (top, bottom), (left, right) = (ids[:drawn, column].aminmax() for column in (1, 2))
    height, width = int(bottom - top) + 1, int(right - left) + 1
    places = torch.cartesian_prod(torch.arange(height), torch.arange(width)).view(-1, 2)
    whole = drawn == height * width and torch.equal(ids[:drawn, 1:3] - ids[0, 1:3], places)
    if not whole or len(ids) != latents.shape[1] or (ids[drawn:, 0] <= ids[0, 0]).any():
        raise _unclear(denoiser, "img_ids that begin with a whole grid")
    return TokenGrid(1, height, width, len(ids))


def _by_shapes(denoiser: Any, given: Arguments) -> TokenGrid:
    """Packed latents with ``img_shapes``: for each sample (frames, height, width) of what is drawn, then references."""
    shapes, latents = given.get("img_shapes"), given.get("hidden_states")
    if not shapes or not isinstance(latents, Tensor) or given.get("additional_t_cond") is not None:
        raise _unclear(denoiser, "img_shapes")
    each = [[tuple(map(int, shape)) for shape in (one if isinstance(one, list) else [one])] for one in shapes]
    if any(one != each[0] for one in each) or sum(map(prod, each[0])) != latents.shape[1]:
        raise _unclear(denoiser, "img_shapes that are those of its tokens")
    frames, height, width = each[0][0]
    return TokenGrid(frames, height, width, latents.shape[1])


def _unclear(denoiser: Any, wanted: str) -> ValueError:
    return ValueError(
        f"{type(denoiser).__name__} was not called with {wanted}, so which tokens are the image's is not known; give "
        "edits=[AmplifyTokenUpdate(layer, gain, cutoff, height, width, stream)] yourself."
    )


_ALONE, _SECOND, _JOINED = 0, 1, -1
_LAYOUTS: Mapping[str, _Layout] = {
    "SD3Transformer2DModel": _Layout({"transformer_blocks": _SECOND}, _by_patches),
    "FluxTransformer2DModel": _Layout({"transformer_blocks": _SECOND, "single_transformer_blocks": _SECOND}, _by_ids),
    "Flux2Transformer2DModel": _Layout({"transformer_blocks": _SECOND, "single_transformer_blocks": _JOINED}, _by_ids),
    "ChromaTransformer2DModel": _Layout({"transformer_blocks": _SECOND, "single_transformer_blocks": _JOINED}, _by_ids),
    "QwenImageTransformer2DModel": _Layout({"transformer_blocks": _SECOND}, _by_shapes),
    "AuraFlowTransformer2DModel": _Layout(
        {"joint_transformer_blocks": _SECOND, "single_transformer_blocks": _JOINED}, _by_patches
    ),
    "PixArtTransformer2DModel": _Layout({"transformer_blocks": _ALONE}, _by_patches),
    "DiTTransformer2DModel": _Layout({"transformer_blocks": _ALONE}, _by_patches),
    "SanaTransformer2DModel": _Layout({"transformer_blocks": _ALONE}, _by_patches),
    "HunyuanDiT2DModel": _Layout({"blocks": _ALONE}, _by_patches),
    "CogVideoXTransformer3DModel": _Layout({"transformer_blocks": _ALONE}, _by_frames(1)),
    "WanTransformer3DModel": _Layout({"blocks": _ALONE}, _by_frames(2)),
}
