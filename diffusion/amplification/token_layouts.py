"""Where a transformer's image tokens are in a call: which output of a block, which part of it, on which grid.

Told from what the denoiser is given (the ids or shapes of its tokens, its latents), never from how many tokens there
are, which as well may be text. `families.FAMILIES` says which of these holds for which class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from genmend.diffusion.amplification.families import FAMILIES, REFUSED, Family, Grid, Place
from genmend.diffusion.pipeline_parts import call_arguments, plain_module

__all__ = ["TokenGrid", "default_blocks", "is_known", "token_grid", "transformer_layers"]


@dataclass(frozen=True)
class TokenGrid:
    """The tokens of what is drawn, ``frames x height x width`` in row-major order.

    Attributes
    ----------
    count : int
        Length of the image stream, in which tokens of reference images may stand beside the drawn ones.
    start : int
        The first of the drawn ones in it.
    texts : tuple of int
        Of each row how many text tokens it has, where rows differ in that and the call says so.
    """

    frames: int
    height: int
    width: int
    count: int
    start: int = 0
    texts: tuple[int, ...] = ()

    def first_tokens(self, place: Place) -> tuple[int, ...]:
        """First drawn token in what a block returns, of each row or of all; negative: counted from the end."""
        if place == "behind its text":
            return tuple(text + self.start for text in self.texts)
        return (self.start - self.count,) if place == "last" else (self.start,)


Arguments = Mapping[str, Any]


def transformer_layers(transformer: nn.Module) -> dict[str, Place]:
    """Layer name of each block of a diffusion transformer, in the order they run -> place of its image tokens.

    Raises
    ------
    ValueError
        If the class is not known: which of its tokens are the image's would be a guess.
    """
    plain: Any = plain_module(transformer)
    blocks = _family(plain).blocks
    return {
        f"{name}.{i}": place for name, place in blocks.items() for i in range(len(getattr(plain, name, None) or ()))
    }


def default_blocks(transformer: nn.Module) -> dict[int, float]:
    """Number of a block -> gain where nobody says more: the middle third, a tenth stronger each.

    Ours, not measured on any of these models, whose weights cannot be had here: the first blocks still read the prompt
    and the last ones only draw what is decided, and gains of many blocks add up.

    Raises
    ------
    ValueError
        As `transformer_layers`.
    """
    n = len(transformer_layers(transformer))
    return dict.fromkeys(range(n // 3, max(n // 3 + 1, n - n // 3)), 1.1)


def is_known(transformer: nn.Module) -> bool:
    """Whether the layout of this class is known."""
    return _known(plain_module(transformer)) is not None


def token_grid(denoiser: nn.Module, inputs: tuple[Any, ...], named_inputs: dict[str, Any]) -> TokenGrid:
    """Return the grid of a call's image tokens.

    Raises
    ------
    ValueError
        If the class is not known, or the call does not say.
    """
    plain: Any = plain_module(denoiser)
    family, given = _family(plain), call_arguments(denoiser, inputs, named_inputs)
    grid = _RULES[family.grid](plain, given)
    if "behind its text" in family.blocks.values():
        mask = given.get("encoder_attention_mask")
        if not isinstance(mask, Tensor):
            raise _unclear(plain, "encoder_attention_mask, which tells the length of each text")
        grid = replace(grid, texts=tuple(map(int, mask.sum(1).tolist())))
    return grid


def _known(plain: nn.Module) -> Family | None:
    return next((FAMILIES[cls.__name__] for cls in type(plain).__mro__ if cls.__name__ in FAMILIES), None)


def _family(plain: nn.Module) -> Family:
    family = _known(plain)
    if family is None:
        name = type(plain).__name__
        refused = next((REFUSED[cls.__name__][1] for cls in type(plain).__mro__ if cls.__name__ in REFUSED), "")
        raise ValueError(
            f"{name} is a transformer whose image tokens are not known apart from its text"
            + (f" ({refused})" if refused else "")
            + f"; accepted are {', '.join(FAMILIES)}; for another one give edits=[AmplifyTokenUpdate(layer, gain, "
            "cutoff, height, width, stream)] yourself."
        )
    return family


def _of_latents(denoiser: Any, given: Arguments) -> TokenGrid:
    """Latents ``(n, channels, height, width)``, cut into squares."""
    latents, patch = given.get("hidden_states"), int(denoiser.config.get("patch_size") or 1)
    if not isinstance(latents, Tensor) or latents.dim() != 4:
        raise _unclear(denoiser, "latents (n, channels, height, width)")
    height, width = (size // patch for size in latents.shape[-2:])
    return TokenGrid(1, height, width, height * width)


def _of_frames(frames_axis: int) -> Callable[[Any, Arguments], TokenGrid]:
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


def _of_a_list(denoiser: Any, given: Arguments) -> TokenGrid:
    """A list of latents ``(channels, frames, height, width)``; lists of lists hold reference images too (Omni)."""
    latents = given.get("x")
    if not isinstance(latents, list) or not all(isinstance(one, Tensor) and one.dim() == 4 for one in latents):
        raise _unclear(denoiser, "one latent (channels, frames, height, width) for each image")
    shapes = {tuple(one.shape) for one in latents}
    if len(shapes) != 1:
        raise _unclear(denoiser, "latents of one size")
    patch, along = given.get("patch_size") or 2, given.get("f_patch_size") or 1
    _, frames, height, width = shapes.pop()
    frames, height, width = frames // along, height // patch, width // patch
    return TokenGrid(frames, height, width, frames * height * width)


def _of_ids(denoiser: Any, given: Arguments) -> TokenGrid:
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
    # From 0 on: several images of which each is drawn are numbered from 1 (VisualCloze).
    if not whole or len(ids) != latents.shape[1] or ids[0, 0] != 0 or (ids[drawn:, 0] <= 0).any():
        raise _unclear(denoiser, "img_ids that begin with a whole grid")
    return TokenGrid(1, height, width, len(ids))


def _of_shapes(drawn: int) -> Callable[[Any, Arguments], TokenGrid]:
    """Packed latents with ``img_shapes``: for each sample (frames, height, width) of its images.

    The drawn one is the first of them (0), references follow; or the last (-1).
    """

    def grid(denoiser: Any, given: Arguments) -> TokenGrid:
        shapes, latents = given.get("img_shapes"), given.get("hidden_states")
        if not shapes or not isinstance(latents, Tensor) or given.get("additional_t_cond") is not None:
            raise _unclear(denoiser, "img_shapes of one image that is drawn")
        each = [[tuple(map(int, shape)) for shape in (one if isinstance(one, list) else [one])] for one in shapes]
        if any(one != each[0] for one in each) or sum(map(prod, each[0])) != latents.shape[1]:
            raise _unclear(denoiser, "img_shapes that are those of its tokens")
        frames, height, width = each[0][drawn]
        return TokenGrid(frames, height, width, prod(each[0][drawn]) if drawn else latents.shape[1])

    return grid


def _unclear(denoiser: Any, wanted: str) -> ValueError:
    return ValueError(
        f"{type(denoiser).__name__} was not called with {wanted}, so which tokens are the image's is not known; give "
        "edits=[AmplifyTokenUpdate(layer, gain, cutoff, height, width, stream)] yourself."
    )


_RULES: Mapping[Grid, Callable[[Any, Arguments], TokenGrid]] = {
    "latents": _of_latents,
    "frames first": _of_frames(1),
    "channels first": _of_frames(2),
    "list of latents": _of_a_list,
    "ids": _of_ids,
    "shapes": _of_shapes(0),
    "shapes, drawn last": _of_shapes(-1),
}
