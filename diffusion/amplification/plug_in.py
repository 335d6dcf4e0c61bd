"""The plug-in: amplify what any diffusers pipeline draws, and take it off again.

with amplified(pipe, down=(1.075, 1.15, 2.6), mid=2.8):
    image = pipe("a creative chair").images[0]
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Unpack

import torch
from torch import nn

from genmend.activations import Correction, Edit, Handle, attach, load_correction, save_correction
from genmend.diffusion.amplification.gains import Choice, amplification_edits
from genmend.diffusion.amplification.low_frequencies import AmplifyLowFrequencies
from genmend.diffusion.amplification.token_update import AmplifyTokenUpdate
from genmend.diffusion.pipeline_parts import (
    SigmaWindow,
    call_arguments,
    denoiser_of,
    is_guided,
    plain_module,
    sigma_of,
    timestep_of,
)

__all__ = [
    "Amplification",
    "amplified",
    "disable_amplification",
    "enable_amplification",
    "read_amplification",
    "save_amplification",
    "write_amplification",
]

Schedule = Callable[[float], float]


class EnableSettings(Choice, total=False):
    """Keyword arguments of `enable_amplification`, which `amplified` hands on."""

    correction: Correction | str | os.PathLike[str] | None
    edits: Sequence[Edit] | None
    schedule: Schedule | None
    allow_other_weights: bool


_active: weakref.WeakKeyDictionary[nn.Module, Amplification] = weakref.WeakKeyDictionary()


class Amplification:
    """Edits on a denoiser, kept in step with what only its pipeline knows: noise level, guidance, token grid.

    Attributes
    ----------
    edits : tuple of Edit
        As they were chosen.
    schedule : callable or None
        Noise level -> strength in [0, 1].
    """

    def __init__(self, pipe: Any, edits: Sequence[Edit], schedule: Schedule | None) -> None:
        self.edits = tuple(edits)
        self.schedule = schedule
        self._pipe = weakref.ref(pipe)
        # Weak: the table of what is active must not keep a model alive.
        self._denoiser = weakref.ref(denoiser_of(pipe))
        self._strength = 1.0
        self._attached: tuple[Edit, ...] = ()
        self._handle = self._attach(self.edits)
        halves = any(getattr(edit, "rows", "both") != "both" for edit in edits)
        if schedule is not None and isinstance(pipe, nn.Module):
            self._handle.remove()
            raise ValueError("A bare module has no scheduler, so no noise level is known; give the pipeline.")
        tokens = any(isinstance(edit, AmplifyTokenUpdate) for edit in edits)
        self._watch = None
        if schedule is not None or tokens or (halves and not isinstance(pipe, nn.Module)):
            self._watch = denoiser_of(pipe).register_forward_pre_hook(self._before_step, with_kwargs=True)

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

    def remove(self) -> None:
        """Take everything off; a second call does nothing."""
        if self._watch is not None:
            self._watch.remove()
        self._handle.remove()

    def _attach(self, edits: tuple[Edit, ...]) -> Handle:
        self._attached = edits
        return attach(plain_module(denoiser_of(self._denoiser())), *edits)

    def _set_strengths(self, share: float = 1.0) -> None:
        for position, edit in enumerate(self._attached):
            self._handle.set(strength=share * self._strength * edit.strength, edit=position)

    @torch.compiler.disable
    def _before_step(self, denoiser: nn.Module, inputs: tuple[Any, ...], named_inputs: dict[str, Any]) -> None:
        pipe = self._pipe()
        wanted = tuple(_fitted(edit, pipe, denoiser, inputs, named_inputs) for edit in self.edits)
        if wanted != self._attached:
            self._handle.remove(warn=False)  # layers that have not run yet are to run with the new edits
            self._handle = self._attach(wanted)
            self._set_strengths()
        if self.schedule is not None:
            step = timestep_of(denoiser, inputs, named_inputs)
            self._set_strengths(self.schedule(sigma_of(pipe.scheduler, step)))  # type: ignore[union-attr]


def enable_amplification(
    pipe: Any,
    preset: str | None = None,
    *,
    correction: Correction | str | os.PathLike[str] | None = None,
    edits: Sequence[Edit] | None = None,
    schedule: Schedule | None = None,
    allow_other_weights: bool = False,
    **choice: Unpack[Choice],
) -> Amplification:
    """Amplify until `disable_amplification`; what was enabled before on the same denoiser is taken off first.

    Parameters
    ----------
    pipe
        Any diffusers pipeline with a U-Net (or a transformer: experimental), or its denoiser.
    preset, **choice
        Gains and further settings; see `diffusion.amplification_edits`.
    correction
        In their place, a correction or its file, as `save_amplification` writes it.
    edits
        In their place, edits of your own, such as the controls of `AmplifyBand`.
    schedule
        Noise level -> strength in [0, 1], such as a `SigmaWindow`; None: all steps alike, as published.
    allow_other_weights
        Take a correction that was made for other weights of the same layout.

    Returns
    -------
    Amplification

    Raises
    ------
    TypeError, ValueError
        If settings do not fit; nothing has been changed then.
    RuntimeError
        If the denoiser is compiled and has already run: enable first, with strength 0 what is to come later.
    """
    denoiser = denoiser_of(pipe)
    if (correction is not None) + (edits is not None) + bool(preset is not None or choice) != 1:
        raise ValueError("Give one of: gains or a preset, correction=, edits=.")
    if correction is not None:
        edits, window = read_amplification(denoiser, correction, allow_other_weights=allow_other_weights)
        schedule = window if schedule is None else schedule
    elif edits is None:
        edits = amplification_edits(denoiser, preset, **choice)
    disable_amplification(pipe)
    _active[denoiser] = Amplification(pipe, edits, schedule)
    return _active[denoiser]


def disable_amplification(pipe: Any) -> None:
    """Take off what `enable_amplification` put on; the model is as it was. Nothing enabled: does nothing."""
    active = _active.pop(denoiser_of(pipe), None)
    if active is not None:
        active.remove()


@contextmanager
def amplified(pipe: Any, preset: str | None = None, **settings: Unpack[EnableSettings]) -> Iterator[Amplification]:
    """Amplify for the length of a block; arguments and errors are those of `enable_amplification`.

    What was enabled before is enabled again afterwards.
    """
    denoiser = denoiser_of(pipe)
    before = _active.get(denoiser)
    active = enable_amplification(pipe, preset, **settings)
    try:
        yield active
    finally:
        if _active.get(denoiser) is active:
            disable_amplification(pipe)
        if before is not None:
            enable_amplification(pipe, edits=before.edits, schedule=before.schedule).set(strength=before.strength)


def save_amplification(
    path: str | os.PathLike[str], pipe: Any, *, any_weights: bool = False, info: dict[str, Any] | None = None
) -> None:
    """Write what is enabled on a pipeline as a correction file.

    Parameters
    ----------
    path
        Written whole or not at all.
    pipe
        A pipeline on which amplification is enabled.
    any_weights
        Leave digests of the weights out: the file fits every model of the layout, such as fine-tuned ones.
    info
        Anything JSON holds, such as figures that were measured.

    Raises
    ------
    ValueError
        If nothing is enabled, or the schedule is no `SigmaWindow`, which alone a file can hold.
    """
    active = _active.get(denoiser_of(pipe))
    if active is None:
        raise ValueError("No amplification is enabled on this pipeline; call enable_amplification first.")
    edits = [replace(edit, strength=edit.strength * active.strength) for edit in active.edits]  # type: ignore[type-var]
    write_amplification(path, pipe, edits, active.schedule, any_weights=any_weights, info=info)


def write_amplification(
    path: str | os.PathLike[str],
    pipe: Any,
    edits: Sequence[Edit],
    schedule: Schedule | None = None,
    *,
    any_weights: bool = False,
    info: dict[str, Any] | None = None,
) -> None:
    """`save_amplification` of edits that need not be enabled."""
    if schedule is not None and not isinstance(schedule, SigmaWindow):
        raise ValueError("The schedule is a function, which a file cannot hold; use a SigmaWindow.")
    facts: dict[str, Any] = {"pipeline": type(pipe).__name__} | (info or {})
    window = None if schedule is None else (schedule.low, schedule.high)
    model = plain_module(denoiser_of(pipe))
    save_correction(path, Correction.of(model, [edits], info=facts, preset=any_weights, sigma_window=window))


def read_amplification(
    denoiser: nn.Module, correction: Correction | str | os.PathLike[str], *, allow_other_weights: bool = False
) -> tuple[tuple[Edit, ...], SigmaWindow | None]:
    """Edits and window of what `save_amplification` wrote, once they are known to be for this denoiser."""
    made = correction if isinstance(correction, Correction) else load_correction(correction)
    made.check(plain_module(denoiser), allow_other_weights=allow_other_weights)
    return made.ladder[0], None if made.sigma_window is None else SigmaWindow(*made.sigma_window)


def _fitted(edit: Edit, pipe: Any, denoiser: nn.Module, inputs: tuple[Any, ...], named_inputs: dict[str, Any]) -> Edit:
    """The edit as this call needs it: with all rows or none where there is no guidance, with the grid of its tokens."""
    if isinstance(edit, AmplifyLowFrequencies) and edit.rows != "both" and not is_guided(pipe):
        return replace(edit, rows="both", strength=edit.strength if edit.rows == "conditional" else 0.0)
    if isinstance(edit, AmplifyTokenUpdate) and edit.height == 0:
        height, width = _token_grid(denoiser, inputs, named_inputs)
        return replace(edit, height=height, width=width)
    return edit


def _token_grid(denoiser: nn.Module, inputs: tuple[Any, ...], named_inputs: dict[str, Any]) -> tuple[int, int]:
    given = call_arguments(denoiser, inputs, named_inputs)
    if given.get("img_ids") is not None:  # Flux: packed latents, whose places come beside them
        places = given["img_ids"].reshape(-1, 3)
        return int(places[:, 1].max()) + 1, int(places[:, 2].max()) + 1
    patch = int(getattr(denoiser, "config", {}).get("patch_size", 1))
    return given["hidden_states"].shape[-2] // patch, given["hidden_states"].shape[-1] // patch
