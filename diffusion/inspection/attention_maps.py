"""Where a denoiser looks for each word: cross-attention maps, averaged while it runs.

Tang, Liu, Pandey, Jiang, Yang, Kumar, Stenetorp, Lin, Ture, "What the DAAM: interpreting Stable Diffusion using cross
attention", ACL 2023. The probabilities are computed beside the layer, from its input: what the layer returns keeps
every bit, whatever computes it. Any aspect ratio, batches, and no guidance are ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from genmend.activations import record
from genmend.activations.layers import find_layer, named_layers
from genmend.diffusion.inspection.token_maps import TokenMaps, prompt_tokens
from genmend.diffusion.pipeline_parts import denoiser_of, plain_module
from genmend.diffusion.running_pipeline import Group, row_groups, row_indices

__all__ = ["RunningMaps", "attention_maps"]


class RunningMaps:
    """What `attention_maps` yields: a running mean; `result` may be called at any time after the first step."""

    def __init__(self, pipe: Any, layers: tuple[str, ...], size: tuple[int, int] | None, guided: bool | None) -> None:
        self.layers = layers
        self._pipe, self._size, self._guided = pipe, size, guided
        self._latent = (0, 0)
        self._groups: tuple[Group, ...] = ("conditional",)
        self._total: Tensor | None = None
        self._n_maps = self._n_steps = 0

    def result(self, prompts: str | Sequence[str] | None = None) -> TokenMaps:
        """Return the maps so far.

        Parameters
        ----------
        prompts
            The prompt, or one for each image or for each equal share of the images, in the pipeline's order. None: the
            maps have positions only.

        Raises
        ------
        RuntimeError
            If no cross-attention has run.
        ValueError
            If the prompts do not fit the images, or there is no tokenizer.
        """
        if self._total is None:
            raise RuntimeError("No cross-attention has run yet; run the pipeline inside the block first.")
        maps = self._total / self._n_maps
        n_images, n_tokens = maps.shape[:2]
        texts = [] if prompts is None else [prompts] if isinstance(prompts, str) else list(prompts)
        if texts and n_images % len(texts):
            raise ValueError(f"{len(texts)} prompts were given for {n_images} images; give one, or one for each.")
        tokenizer = getattr(self._pipe, "tokenizer", None)
        if texts and tokenizer is None:
            raise ValueError(f"{type(self._pipe).__name__} has no tokenizer to read prompts; leave them out.")
        read = [prompt_tokens(tokenizer, text, n_tokens) for text in texts]
        each = tuple(one for one in read for _ in range(n_images // len(read)))
        return TokenMaps(maps, each, self._n_steps, self.layers)

    @torch.no_grad()
    def add(self, attention: Any, tokens: Tensor, text: Tensor, mask: Tensor | None, layer: str) -> None:
        """Take one layer's call: tokens ``(n, places, channels)``, text ``(n, tokens, channels)``."""
        rows = row_indices(self._groups, len(tokens))
        if not rows:
            return
        height, width = _grid(tokens.shape[1], self._latent, layer)
        probabilities = _mean_probabilities(attention, tokens, text, mask, rows)
        maps = probabilities.transpose(1, 2).unflatten(2, (height, width))
        # Bicubic and cut at 0 as in the reference.
        maps = nn.functional.interpolate(maps, self._size or self._latent, mode="bicubic").clamp(0, 1)
        if self._total is None:
            self._total = torch.zeros_like(maps)
        if maps.shape != self._total.shape:
            raise ValueError(
                f"Layer {layer!r} made maps {tuple(maps.shape)} after {tuple(self._total.shape)}, but one shape is "
                "averaged; open one block for each run."
            )
        self._total += maps.to(self._total.device)
        self._n_maps += 1

    def begin_step(self, denoiser: nn.Module, inputs: tuple[Any, ...], named_inputs: dict[str, Any]) -> None:
        """Take the size of the latents; a forward pre-hook of the denoiser."""
        names = ("sample", "hidden_states")
        latents = next((named_inputs[name] for name in names if name in named_inputs), inputs[0] if inputs else None)
        patch = getattr(plain_module(denoiser), "config", {}).get("patch_size") or 1
        self._latent = (latents.shape[-2] // patch, latents.shape[-1] // patch)  # type: ignore[union-attr]
        self._groups = row_groups(self._pipe, denoiser, inputs, named_inputs, self._guided)
        self._n_steps += "conditional" in self._groups


@contextmanager
def attention_maps(
    pipe: Any,
    *,
    layers: Sequence[str] | None = None,
    size: tuple[int, int] | None = None,
    guided: bool | None = None,
) -> Iterator[RunningMaps]:
    """Average the cross-attention maps of one run of a pipeline: over heads, layers and steps.

    Parameters
    ----------
    pipe
        A diffusers pipeline with a U-Net such as Stable Diffusion's (or PixArt's transformer), or its denoiser.
    layers
        Names of cross-attention layers; None: all. Each counts the same, however many heads it has.
    size
        ``(height, width)`` of the maps; None: that of the latents. Larger maps are only smoother.
    guided
        Whether the first half of the batch is unconditional and left out; None: as the pipeline says, and of a bare
        denoiser every row is an image. (The reference drops half of the heads' axis instead, which without guidance are
        half of the heads.)

    Yields
    ------
    RunningMaps
        ``maps.result("a red chair")`` is the result.

    Raises
    ------
    TypeError
        If the denoiser attends to text and image jointly (SD3, Flux), or has no cross-attention: not supported.
    UnknownLayerError, ValueError
        If a name is no layer, or no cross-attention; while it runs, if the layer's places are not the latents' grid
        halved some times.

    Notes
    -----
    Only sums are kept: ``images x tokens x height x width``. Attention processors stay as they are; nothing but hook
    tables is touched. A compiled denoiser runs uncompiled inside the block.

    Examples
    --------
    ::

        with attention_maps(pipe) as maps:
            image = pipe("a red chair").images[0]
        chair = maps.result("a red chair").for_word("chair", scaled=True)
        with amplified(pipe, mid=2.8, where=chair):
            ...
    """
    denoiser = denoiser_of(pipe)
    plain = plain_module(denoiser)
    names = tuple(_cross_attentions(plain)) if layers is None else tuple(layers)
    found = {name: find_layer(plain, name) for name in names}
    for name, layer in found.items():
        if not _is_cross_attention(layer):
            accepted = ", ".join(_cross_attentions(plain))
            raise ValueError(f"Layer {name!r} is no cross-attention; accepted are {accepted}; choose among them.")
    running = RunningMaps(pipe, names, size, guided)
    with ExitStack() as hooks:
        hooks.enter_context(record(plain, []))  # hooks placed on a compiled module would be ignored
        hooks.callback(denoiser.register_forward_pre_hook(running.begin_step, with_kwargs=True).remove)
        for name, layer in found.items():
            hooks.callback(layer.register_forward_pre_hook(_hook(running, name), with_kwargs=True).remove)
        yield running


def _hook(running: RunningMaps, name: str) -> Any:
    def hook(attention: nn.Module, inputs: tuple[Any, ...], named_inputs: dict[str, Any]) -> None:
        given = dict(zip(("hidden_states", "encoder_hidden_states", "attention_mask"), inputs, strict=False))
        given |= named_inputs
        text = given.get("encoder_hidden_states")
        if isinstance(text, tuple):  # IP-Adapter: (text, images)
            text = text[0]
        if text is not None:
            running.add(attention, given["hidden_states"], text, given.get("attention_mask"), name)

    return hook


def _mean_probabilities(attention: Any, tokens: Tensor, text: Tensor, mask: Tensor | None, rows: list[int]) -> Tensor:
    """Attention probabilities of the chosen rows, mean over heads, ``(images, places, tokens)`` float32."""
    if mask is not None:  # to what is added to the logits, (n, heads, 1 or places, tokens)
        mask = attention.prepare_attention_mask(mask, text.shape[1], len(text))
        mask = mask.view(len(text), attention.heads, -1, mask.shape[-1])[rows]
    tokens, text = tokens[rows], text[rows]
    if attention.group_norm is not None:
        tokens = attention.group_norm(tokens.transpose(1, 2)).transpose(1, 2)
    if attention.norm_cross:
        text = attention.norm_encoder_hidden_states(text)
    query, key = (
        values.unflatten(2, (attention.heads, -1)).transpose(1, 2)
        for values in (attention.to_q(tokens), attention.to_k(text))
    )
    query = query if attention.norm_q is None else attention.norm_q(query)
    key = key if attention.norm_k is None else attention.norm_k(key)
    total: Tensor | float = 0.0
    for head in range(attention.heads):  # one by one: all at once would be several times as much memory
        logits = attention.scale * (query[:, head].float() @ key[:, head].float().transpose(1, 2))
        total = total + (logits if mask is None else logits + mask[:, head]).softmax(-1)
    return total / attention.heads


def _grid(n_places: int, latent: tuple[int, int], layer: str) -> tuple[int, int]:
    """Height and width of a layer's grid: the latents', halved and rounded up, as a convolution of stride 2 does."""
    height, width = latent
    while height * width > n_places and (height > 1 or width > 1):
        height, width = (height + 1) // 2, (width + 1) // 2
    if height * width != n_places:
        raise ValueError(
            f"Layer {layer!r} has {n_places} places, which are not the latents' {latent[0]} x {latent[1]} halved some "
            "times; name other layers."
        )
    return height, width


def _cross_attentions(denoiser: nn.Module) -> list[str]:
    names = [name for name, layer in named_layers(denoiser).items() if _is_cross_attention(layer)]
    if not names:
        joint = any(getattr(layer, "add_k_proj", None) is not None for layer in denoiser.modules())
        why = "attends to text and image jointly" if joint else "has no cross-attention to text"
        raise TypeError(
            f"{type(denoiser).__name__} {why}, which is not supported; attention maps need a U-Net such as Stable "
            "Diffusion's."
        )
    return names


def _is_cross_attention(layer: nn.Module) -> bool:
    joint = getattr(layer, "add_k_proj", None) is not None
    return bool(getattr(layer, "is_cross_attention", False)) and not joint and hasattr(layer, "to_q")
