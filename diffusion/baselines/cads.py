"""CADS: more diverse samples by noise on the condition that fades as the image takes shape. A baseline.

Sadat, Buhmann, Bradley, Hilliges, Weber, "CADS: unleashing the diversity of diffusion models through condition-annealed
sampling", ICLR 2024, arXiv 2310.17347. Fixed noise and the treatment of pooled embeddings are ours.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from genmend.activations.compiled import compiled_and_run
from genmend.diffusion.pipeline_parts import call_arguments, denoiser_of, plain_module, with_arguments
from genmend.diffusion.running_pipeline import Group, row_groups, row_indices, running_pipeline, step_of

__all__ = ["annealing", "cads", "noised_condition"]


@contextmanager
def cads(
    pipe: Any,
    scale: float = 0.1,
    *,
    tau1: float = 0.6,
    tau2: float = 0.9,
    psi: float = 1.0,
    redraw: bool = True,
    seed: int = 0,
    guided: bool | None = None,
) -> Iterator[None]:
    """Add annealed noise to the text embeddings of a pipeline for the length of a block.

    Changed are ``encoder_hidden_states`` and, where the denoiser takes one, the pooled embedding (``text_embeds`` of
    SDXL, ``pooled_projections`` of SD3 and Flux). Under guidance the unconditional rows keep every bit, whether they
    come in the same call as the conditional ones or in one of their own.

    Parameters
    ----------
    pipe
        Any diffusers pipeline whose denoiser takes text embeddings, or its denoiser.
    scale
        Standard deviation s of the noise, from 0 on; in practice 0.025 to 0.25.
    tau1, tau2
        Noise level (share of the training timesteps) below which the condition is whole, and above which it is all
        noise. Few-step models begin above it: in one step there is nothing to anneal.
    psi
        Share of the rescaled condition, 0..1: 1 gives it its former mean and standard deviation.
    redraw
        New noise at each step, as published; False: one noise for each row, the same at all steps.
    seed
        Row i of the images draws from ``seed + i``, so a batch is not different from its images alone. A block that
        begins again repeats the noise: give another seed for other samples.
    guided
        Whether the first half of the batch is unconditional; None: as the pipeline says, and of a bare denoiser every
        row is conditional.

    Raises
    ------
    ValueError
        If a number is out of range; while it runs, if the pipeline does not say whether it is guided.
    TypeError
        While it runs, if the denoiser gets no text embeddings.
    RuntimeError
        If the denoiser is compiled and has already run, when hooks would be ignored.

    Warns
    -----
    UserWarning
        At the end, if the noise level lay above `tau2` at every step: then the prompt was never heard.
    """
    for name, value, high in (("scale", scale, math.inf), ("psi", psi, 1.0)):
        if not (0 <= value <= high and math.isfinite(value)):
            raise ValueError(f"{name} is {value}, but a number from 0 to {high:g} is needed; 0 turns it off.")
    if not 0 <= tau1 <= tau2 <= 1:
        raise ValueError(f"tau1, tau2 are {tau1}, {tau2}, but 0 <= tau1 <= tau2 <= 1 is needed; swap them.")
    denoiser = denoiser_of(pipe)
    if compiled_and_run([plain_module(denoiser)]) is not None:
        raise RuntimeError(
            "The denoiser is compiled and has already run, but CADS is accepted only before the first compiled call; "
            "begin the block first, or call torch._dynamo.reset() before."
        )
    noise = _Noise(seed, redraw)
    shares: list[float] = []

    @torch.compiler.disable
    def hook(module: nn.Module, inputs: tuple[Any, ...], named_inputs: dict[str, Any]) -> Any:
        level = step_of(module, inputs, named_inputs) / _n_timesteps(pipe, module)
        kept = annealing(level, tau1, tau2)
        shares.append(kept)
        if kept == 1:
            return None
        groups = row_groups(pipe, module, inputs, named_inputs, guided)

        def changed(embedding: Tensor, name: str) -> Tensor:
            return _with_noise(embedding, groups, lambda y: noised_condition(y, noise.like(y, name), kept, scale, psi))

        return _with_text(module, inputs, named_inputs, changed)

    handle = denoiser.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
    if shares and max(shares) == 0:
        warnings.warn(
            f"CADS put noise in place of the prompt at all {len(shares)} steps, since each lies above tau2 = {tau2:g}; "
            "give a larger tau2, or more steps.",
            stacklevel=3,
        )


def annealing(level: float, tau1: float, tau2: float) -> float:
    """Share gamma of the condition's energy that is kept at a noise level in 0..1.

    >>> [annealing(t, 0.5, 0.75) for t in (0.25, 0.5, 0.625, 0.75, 1.0)]
    [1.0, 1.0, 0.5, 0.0, 0.0]
    """
    if level <= tau1:
        return 1.0
    return 0.0 if level >= tau2 else (tau2 - level) / (tau2 - tau1)


def noised_condition(y: Tensor, noise: Tensor, gamma: float, scale: float, psi: float) -> Tensor:
    """``sqrt(gamma) y + scale sqrt(1 - gamma) noise``, rescaled to the mean and deviation of ``y`` by share psi.

    Parameters
    ----------
    y
        Embeddings ``(n, ...)`` of any floating dtype, which the result has too; each row has a mean and deviation.
    noise
        The same shape, standard normal.
    gamma, scale, psi
        As in `annealing` and `cads`.
    """
    exact = y.to(torch.promote_types(y.dtype, torch.float32))
    noised = math.sqrt(gamma) * exact + scale * math.sqrt(1 - gamma) * noise.to(exact.dtype)
    axes = tuple(range(1, y.dim()))
    mean, deviation = exact.mean(axes, keepdim=True), exact.std(axes, keepdim=True)
    centred = noised - noised.mean(axes, keepdim=True)
    spread = noised.std(axes, keepdim=True).clamp_min(torch.finfo(exact.dtype).tiny)
    return (psi * (centred / spread * deviation + mean) + (1 - psi) * noised).to(y.dtype)


class _Noise:
    """Standard normal noise, row by row, so that it depends on neither batch size nor device."""

    def __init__(self, seed: int, redraw: bool) -> None:
        self._seed, self._redraw = seed, redraw
        self._sources: dict[tuple[str, int], torch.Generator] = {}

    def like(self, y: Tensor, name: str) -> Tensor:
        rows = [torch.randn(y.shape[1:], generator=self._source(name, i)) for i in range(len(y))]
        return torch.stack(rows).to(y.device)

    def _source(self, name: str, row: int) -> torch.Generator:
        if not self._redraw or (name, row) not in self._sources:
            self._sources[name, row] = torch.Generator().manual_seed(self._seed + row)
        return self._sources[name, row]


def _with_noise(embedding: Tensor, groups: tuple[Group, ...], noised: Callable[[Tensor], Tensor]) -> Tensor:
    """The embeddings with noise on each image's conditional row, and the same on its perturbed one."""
    conditional = row_indices(groups, len(embedding))
    if not conditional:
        return embedding
    made = embedding.clone()
    made[conditional] = noised(embedding[conditional])
    perturbed = row_indices(groups, len(embedding), "perturbed")
    if perturbed:
        made[perturbed] = made[conditional]
    return made


def _with_text(
    denoiser: nn.Module,
    inputs: tuple[Any, ...],
    named_inputs: dict[str, Any],
    changed: Callable[[Tensor, str], Tensor],
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The same call with other text embeddings; no argument is changed in place."""
    given = call_arguments(denoiser, inputs, named_inputs)
    if given.get("encoder_hidden_states") is None:
        raise TypeError(
            f"{type(denoiser).__name__} got no encoder_hidden_states, but CADS needs text embeddings to add noise to."
        )
    changes: dict[str, Any] = {
        name: changed(given[name], name)
        for name in ("encoder_hidden_states", "pooled_projections")
        if isinstance(given.get(name), Tensor)
    }
    more = given.get("added_cond_kwargs")
    if more and isinstance(more.get("text_embeds"), Tensor):
        changes["added_cond_kwargs"] = more | {"text_embeds": changed(more["text_embeds"], "text_embeds")}
    return with_arguments(denoiser, inputs, named_inputs, changes)


def _n_timesteps(pipe: Any, denoiser: nn.Module) -> float:
    """What a timestep is divided by to lie in 0..1."""
    run = running_pipeline(denoiser)
    if run is None and type(plain_module(denoiser)).__name__.startswith(_TAKE_SHARES):
        return 1.0  # pipelines have divided already
    scheduler = getattr(pipe if run is None else run.pipe, "scheduler", None)
    timesteps = getattr(scheduler, "timesteps", None)
    if timesteps is not None and len(timesteps) and float(max(timesteps)) <= 1:
        return 1.0
    return float(getattr(scheduler, "config", {}).get("num_train_timesteps") or 1000)


_TAKE_SHARES = ("Flux", "Chroma", "QwenImage", "AuraFlow")
