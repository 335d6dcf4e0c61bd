"""Amplification while it is on a denoiser: edits kept in step with the noise level, the guidance, the token grid.

It is an attribute of the denoiser itself, so a copy of the denoiser has its own, and whoever holds the denoiser, under
whatever wrapper, finds it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from genmend.activations import Edit, attach
from genmend.activations.contract import field_names
from genmend.activations.layers import find_layer, plain_name
from genmend.diffusion.amplification.families import stream_of
from genmend.diffusion.amplification.low_frequencies import AmplifyLowFrequencies
from genmend.diffusion.amplification.token_layouts import TokenGrid, is_known, token_grid, transformer_layers
from genmend.diffusion.amplification.token_update import AmplifyTokenUpdate, FittedTokenUpdate
from genmend.diffusion.pipeline_parts import denoiser_of, denoisers_of, plain_module
from genmend.diffusion.running_pipeline import noise_level, row_groups

__all__ = ["Amplification", "Schedule", "enabled_by", "enabled_on"]

Schedule = Callable[[float], float]

_KEPT_AS = "_genmend_amplification"
# What a pipeline switched on, which may have another denoiser by now. Weak on both sides: it keeps no model alive.
_by_pipe: weakref.WeakKeyDictionary[Any, weakref.ref[Amplification]] = weakref.WeakKeyDictionary()


class Amplification:
    """Edits on a denoiser, kept in step with what only its pipeline knows: noise level, guidance, token grid.

    Attributes
    ----------
    edits : tuple of Edit
        As they were chosen.
    schedule : callable or None
        Noise level -> strength in [0, 1].
    """

    def __init__(
        self, pipe: Any, edits: Sequence[Edit], schedule: Schedule | None, *, even_if_compiled: bool = False
    ) -> None:
        self.edits = tuple(edits)
        self.schedule = schedule
        denoiser = denoiser_of(pipe)
        _check_alone(pipe, denoiser)
        self._bare = isinstance(pipe, nn.Module)
        if schedule is not None and self._bare:
            raise ValueError("A bare module has no scheduler, so no noise level is known; give the pipeline.")
        self._pipe: Callable[[], Any] = weakref.ref(pipe)
        self._strength = 1.0
        self._network = plain_module(denoiser)
        _check_layers(self._network, self.edits)
        _check_tokens(self._network, self.edits)
        self._attached = self.edits
        self._handle = attach(self._network, *self.edits, even_if_compiled=even_if_compiled)
        rows = any(isinstance(edit, AmplifyLowFrequencies) and edit.rows != "both" for edit in edits)
        tokens = any(isinstance(edit, AmplifyTokenUpdate) for edit in edits)
        self._steps = schedule is not None or tokens or (rows and not self._bare)
        self._residuals: list[Any] | None = None
        self._skips = (
            [] if not hasattr(self._network, "down_blocks") else _blocks_without_attention(self._network, edits)
        )
        # A compiled graph cannot ask who runs it; the wrapper around it can, once for both.
        self._wrapped = denoiser is not self._network
        self._outside: Callable[[], nn.Module | None] = weakref.ref(denoiser) if self._wrapped else _nobody
        self._hooks: list[RemovableHandle] = []
        self._put_on()
        vars(self._network)[_KEPT_AS] = self
        if not self._bare:
            _by_pipe[pipe] = weakref.ref(self)

    @property
    def strength(self) -> float:
        """Share of the whole change, in [0, 1]; the schedule multiplies it."""
        return self._strength

    def set(self, *, strength: float, edit: int | None = None) -> None:
        """Change the share of the whole, or the strength of one edit, without a recompile: they multiply.

        Errors are those of `activations.Handle.set`.
        """
        self._handle.set(strength=strength, edit=edit)
        if edit is None:
            self._strength = strength
        else:
            chosen, attached = list(self.edits), list(self._attached)
            for edits in (chosen, attached):
                edits[edit] = replace(edits[edit], strength=strength)  # type: ignore[type-var]
            self.edits, self._attached = tuple(chosen), tuple(attached)
        self._set_strengths()

    @property
    def is_on(self) -> bool:
        """Whether it is neither suspended nor removed."""
        return vars(self._network).get(_KEPT_AS) is self

    def remove(self) -> None:
        """Take everything off; a second call does nothing."""
        self._take_off()
        self._handle.remove()

    def suspend(self) -> None:
        """Take everything off until `resume`."""
        self._take_off()
        self._handle.suspend()

    def resume(self) -> None:
        """Put it back, unless it has been removed or another is on."""
        if self._handle.edits or not self.edits:
            self._handle.resume()
            self._put_on()
            vars(self._network)[_KEPT_AS] = self

    def _put_on(self) -> None:
        self._hooks = [
            self._network.get_submodule(name).register_forward_hook(_SkipOfAdapter(self)) for name in self._skips
        ]
        if self._steps or self._skips:
            self._hooks += [
                module.register_forward_pre_hook(_Watch(self, module is self._network), with_kwargs=True)
                for module in (self._network, self._outside())
                if module is not None
            ]

    def _take_off(self) -> None:
        while self._hooks:
            self._hooks.pop().remove()
        if self.is_on:
            del vars(self._network)[_KEPT_AS]

    def _set_strengths(self, share: float = 1.0) -> None:
        for position, edit in enumerate(self._attached):
            self._handle.set(strength=share * self._strength * edit.strength, edit=position)

    @torch.compiler.disable
    def before_step(self, denoiser: nn.Module, inputs: tuple[Any, ...], named_inputs: dict[str, Any]) -> None:
        """Fit the edits to a call of the denoiser."""
        pipe = self._network if self._bare else self._pipe()
        wanted = tuple(_fitted(edit, pipe, denoiser, inputs, named_inputs) for edit in self.edits)
        if wanted != self._attached:
            self._attached = wanted
            self._handle.refit(wanted)
            self._set_strengths()
        if self.schedule is not None:
            self._set_strengths(self.schedule(noise_level(pipe, denoiser, inputs, named_inputs)))

    def __getstate__(self) -> dict[str, Any]:
        """For copies, which belong to no pipeline until one runs them."""
        return vars(self) | {"_pipe": _nobody, "_outside": _nobody}


def _nobody() -> None:
    return None


class _Watch:
    """Pre-hook of the denoiser. Compiled, it costs no break of the graph where nothing depends on the step."""

    def __init__(self, active: Amplification, inside: bool) -> None:
        self.active, self.inside = active, inside

    def __call__(self, denoiser: nn.Module, inputs: tuple[Any, ...], named_inputs: dict[str, Any]) -> None:
        active = self.active
        if self.inside and active._skips:
            active._residuals = _adapter_residuals(named_inputs)
        left_to_the_wrapper = self.inside and active._wrapped and torch.compiler.is_compiling()
        if active._steps and not left_to_the_wrapper:
            active.before_step(denoiser, inputs, named_inputs)


class _SkipOfAdapter:
    """Forward hook of a down block without attention, behind the edit.

    Diffusers adds a T2I-Adapter's residual in place to what such a block returned, which without an edit is the skip's
    tensor too. An edit returns a tensor of its own, so the skip gets its residual here.
    """

    def __init__(self, active: Amplification) -> None:
        self.active = active

    def __call__(self, block: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        residuals = self.active._residuals
        if not residuals or not isinstance(output, tuple) or output[0] is output[1][-1]:
            return None
        hidden, skips = output[0], output[1]
        return hidden, (*skips[:-1], skips[-1] + residuals[0]), *output[2:]


def _adapter_residuals(named_inputs: dict[str, Any]) -> list[Any] | None:
    residuals = named_inputs.get("down_intrablock_additional_residuals")
    if residuals is None and named_inputs.get("mid_block_additional_residual") is None:
        residuals = named_inputs.get("down_block_additional_residuals")  # the former name
    return residuals if isinstance(residuals, list) else None


def _blocks_without_attention(network: nn.Module, edits: Sequence[Edit]) -> list[str]:
    names = dict.fromkeys(plain_name(edit.layer) for edit in edits)
    blocks = {f"down_blocks.{i}": block for i, block in enumerate(network.down_blocks)}  # type: ignore[arg-type]
    return [name for name in names if name in blocks and not getattr(blocks[name], "has_cross_attention", False)]


def enabled_on(denoiser: nn.Module) -> Amplification | None:
    """What is on a denoiser, whoever switched it on."""
    found: Amplification | None = vars(plain_module(denoiser)).get(_KEPT_AS)
    return found


def enabled_by(pipe: Any) -> list[Amplification]:
    """What is on the pipeline's denoisers, and what this pipeline switched on where its denoiser was another."""
    found = [enabled_on(denoiser) for denoiser in denoisers_of(pipe).values()]
    if not isinstance(pipe, nn.Module) and pipe in _by_pipe:
        found.append(_by_pipe[pipe]())
    return list({id(one): one for one in found if one is not None and one.is_on}.values())


def _check_alone(pipe: Any, denoiser: nn.Module) -> None:
    """Refuse a pipeline that draws some of its steps with another denoiser: those would stay plain, unsaid."""
    kind = type(plain_module(denoiser))
    names = [name for name, part in denoisers_of(pipe).items() if type(plain_module(part)) is kind]
    if len(names) > 1:
        raise ValueError(
            f"{type(pipe).__name__} draws with {len(names)} denoisers, {' and '.join(names)}; enable on each by "
            "itself: " + ", ".join(f"enable_amplification(pipe.{name}, ...)" for name in names) + "."
        )


def _check_layers(network: nn.Module, edits: Sequence[Edit]) -> None:
    for edit in edits:
        if isinstance(find_layer(network, edit.layer), nn.ModuleList | nn.ModuleDict):
            raise TypeError(
                f"Layer {edit.layer!r} of {type(network).__name__} is a list of layers, which is never called as a "
                f"whole; name one in it, such as '{edit.layer}.0'."
            )


def _check_tokens(network: nn.Module, edits: Sequence[Edit]) -> None:
    """Refuse edits that would take text for image: those whose grid is to be found, where it cannot be."""
    for edit in edits:
        if not isinstance(edit, AmplifyTokenUpdate) or (edit.height and not is_known(network)):
            continue
        layers, name = transformer_layers(network), plain_name(edit.layer)
        if name not in layers:
            raise ValueError(
                f"Layer {edit.layer!r} of {type(network).__name__} is none of its {len(layers)} blocks with image "
                f"tokens, {next(iter(layers))} to {list(layers)[-1]}; name one of them."
            )
        if stream_of(layers[name]) != edit.stream:
            known = stream_of(layers[name])
            raise ValueError(
                f"Layer {edit.layer!r} of {type(network).__name__} has its image tokens in stream {known}, but the "
                f"edit takes stream {edit.stream}; give stream={known}."
            )


def _fitted(edit: Edit, pipe: Any, denoiser: nn.Module, inputs: tuple[Any, ...], named_inputs: dict[str, Any]) -> Edit:
    """The edit as this call needs it: with the rows of its guidance, with the grid of its tokens."""
    if isinstance(edit, AmplifyLowFrequencies) and edit.rows in ("conditional", "unconditional"):
        if isinstance(pipe, nn.Module):
            return edit
        groups = row_groups(pipe, denoiser, inputs, named_inputs)
        chosen = tuple(int((group == "unconditional") == (edit.rows == "unconditional")) for group in groups)
        if len(set(chosen)) == 1:
            return replace(edit, rows="both", strength=edit.strength * chosen[0])
        return replace(edit, rows=chosen)
    if isinstance(edit, AmplifyTokenUpdate) and is_known(denoiser):
        return _on_grid(edit, denoiser, token_grid(denoiser, inputs, named_inputs))
    return edit


def _check_cache(network: nn.Module, layer: str) -> None:
    """Refuse the first and the last of blocks that a cache of diffusers skips: it keeps their change from step to step.

    The first one adds what all of them changed at an earlier step, with its edit, which would be amplified once more;
    the last one's edit would be left out.
    """
    found = getattr(network.get_submodule(layer), "_diffusers_hook", None)
    hooks: dict[str, Any] = getattr(found, "hooks", {})
    caches = [name for name, hook in hooks.items() if "leader" in name or getattr(hook, "is_tail", False)]
    if caches:
        raise ValueError(
            f"Layer {layer!r} is at an end of the blocks that a cache skips ({caches[0]}), which keeps its change from "
            "step to step; amplify blocks in between, or call disable_cache()."
        )


def _on_grid(edit: AmplifyTokenUpdate, denoiser: nn.Module, grid: TokenGrid) -> FittedTokenUpdate:
    network = plain_module(denoiser)
    name = type(network).__name__
    _check_cache(network, plain_name(edit.layer))
    if edit.height and (edit.height, edit.width) != (grid.height, grid.width):
        raise ValueError(
            f"The edit of {edit.layer!r} is for {edit.height} x {edit.width} image tokens, but {name} "
            f"was called with {grid.height} x {grid.width}; leave height and width out, they are found."
        )
    starts = grid.first_tokens(transformer_layers(network)[plain_name(edit.layer)])
    given = {name: getattr(edit, name) for name in field_names(AmplifyTokenUpdate)}
    given |= {name: getattr(grid, name) for name in ("frames", "height", "width", "count")}
    return FittedTokenUpdate(**given, starts=starts)
