"""The plug-in: amplify what any diffusers pipeline draws, and take it off again.

with amplified(pipe, down=(1.075, 1.15, 2.6), mid=2.8):
    image = pipe("a creative chair").images[0]
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Unpack

import torch
from torch import nn

from genmend.activations import Correction, Edit, load_correction, save_correction
from genmend.activations.correction import CorrectionMismatchError
from genmend.activations.digests import model_layout
from genmend.activations.layers import plain_name
from genmend.diffusion.amplification.attached import Amplification, Schedule, enabled_by, enabled_on
from genmend.diffusion.amplification.gains import Choice, amplification_edits
from genmend.diffusion.pipeline_parts import SigmaWindow, denoiser_of, plain_module

__all__ = [
    "Amplification",
    "amplification_of",
    "amplified",
    "disable_amplification",
    "enable_amplification",
    "read_amplification",
    "save_amplification",
    "write_amplification",
]


class EnableSettings(Choice, total=False):
    """Keyword arguments of `enable_amplification`, which `amplified` hands on."""

    correction: Correction | str | os.PathLike[str] | None
    edits: Sequence[Edit] | None
    schedule: Schedule | None
    allow_other_weights: bool


def enable_amplification(
    pipe: Any,
    preset: str | os.PathLike[str] | Correction | None = None,
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
        Gains and further settings; see `diffusion.amplification_edits`. A ``.safetensors`` file in place of a preset's
        name is a correction.
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

    Notes
    -----
    Several pipelines may share a denoiser, one call at a time: guidance and noise level are asked of the one that runs.
    A deep copy has an amplification of its own. Moving, casting, offloading and compiling may come before or after.
    """
    before = enabled_by(pipe)
    made = _in_place_of(
        before, pipe, preset, correction, edits, schedule, allow_other_weights=allow_other_weights, **choice
    )
    for active in before:
        active.remove()
    return made


def _in_place_of(
    before: Sequence[Amplification],
    pipe: Any,
    preset: str | os.PathLike[str] | Correction | None = None,
    correction: Correction | str | os.PathLike[str] | None = None,
    edits: Sequence[Edit] | None = None,
    schedule: Schedule | None = None,
    *,
    allow_other_weights: bool = False,
    **choice: Unpack[Choice],
) -> Amplification:
    """Suspend what is on and put another on, or on any error leave all as it is."""
    denoiser = denoiser_of(pipe)
    if correction is None and preset is not None and not (isinstance(preset, str) and _is_name(preset)):
        preset, correction = None, preset
    if (correction is not None) + (edits is not None) + bool(preset is not None or choice) != 1:
        raise ValueError("Give one of: gains or a preset, correction=, edits=.")
    if correction is not None:
        edits, window = read_amplification(pipe, correction, allow_other_weights=allow_other_weights)
        schedule = window if schedule is None else schedule
    elif edits is None:
        edits = amplification_edits(denoiser, None if preset is None else str(preset), **choice)
    for active in before:
        active.suspend()
    try:
        # A denoiser that was compiled with edits takes others in their place.
        return Amplification(pipe, edits, schedule, even_if_compiled=bool(before))
    except BaseException:
        for active in before:
            active.resume()
        raise


def _is_name(preset: str) -> bool:
    """Of a preset, not of a file."""
    return not preset.endswith(".safetensors") and not os.path.isfile(preset)


def disable_amplification(pipe: Any) -> None:
    """Take off what `enable_amplification` put on; the model is as it was. Nothing enabled: does nothing.

    That also where the denoiser has been compiled or wrapped since, where the pipeline or its denoiser is a copy (a
    copy has an amplification of its own), and where the pipeline has another denoiser now (both are cleared).
    """
    for active in enabled_by(pipe):
        active.remove()
    now = None if isinstance(pipe, nn.Module) else next(iter(_graphs(pipe)), None)
    if now is not None:
        warnings.warn(
            f"The pipeline's denoiser is a {now}, which holds whatever was on when it was made; if it was made while "
            "amplification was on, make it anew.",
            stacklevel=2,
        )


def _graphs(pipe: Any) -> list[str]:
    """Denoisers of the pipeline that are frozen graphs: traced, scripted or exported."""
    found = (getattr(pipe, name, None) for name in ("unet", "transformer"))
    return [type(part).__name__ for part in found if isinstance(part, torch.jit.ScriptModule | torch.fx.GraphModule)]


@contextmanager
def amplified(
    pipe: Any, preset: str | os.PathLike[str] | Correction | None = None, **settings: Unpack[EnableSettings]
) -> Iterator[Amplification]:
    """Amplify for the length of a block; arguments and errors are those of `enable_amplification`.

    What was enabled before is suspended, and on again afterwards; its handle stays good.
    """
    before = enabled_by(pipe)
    active = _in_place_of(before, pipe, preset, **settings)
    try:
        yield active
    finally:
        active.remove()
        if before:
            disable_amplification(pipe)  # whatever the block has enabled
        for outer in before:
            outer.resume()


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
    save_correction(path, amplification_of(pipe, any_weights=any_weights, info=info))


def amplification_of(pipe: Any, *, any_weights: bool = False, info: dict[str, Any] | None = None) -> Correction:
    """What is enabled on a pipeline as a correction, to be saved or shared; arguments as for `save_amplification`.

    Raises
    ------
    ValueError
        As `save_amplification`.
    """
    active = enabled_on(denoiser_of(pipe))
    if active is None:
        raise ValueError("No amplification is enabled on this pipeline; call enable_amplification first.")
    edits = [replace(edit, strength=edit.strength * active.strength) for edit in active.edits]  # type: ignore[type-var]
    return _as_correction(pipe, edits, active.schedule, any_weights, info)


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
    save_correction(path, _as_correction(pipe, edits, schedule, any_weights, info))


def _as_correction(
    pipe: Any, edits: Sequence[Edit], schedule: Schedule | None, any_weights: bool, info: dict[str, Any] | None
) -> Correction:
    if schedule is not None and not isinstance(schedule, SigmaWindow):
        raise ValueError("The schedule is a function, which a file cannot hold; use a SigmaWindow.")
    plain = plain_module(denoiser_of(pipe))
    named = {
        "pipeline": type(plain if isinstance(pipe, nn.Module) else pipe).__name__,
        "denoiser": type(plain).__name__,
    }
    facts: dict[str, Any] = named | (info or {})
    window = None if schedule is None else (schedule.low, schedule.high)
    return Correction.of(plain, [edits], info=facts, preset=any_weights, sigma_window=window)


def read_amplification(
    pipe: Any, correction: Correction | str | os.PathLike[str], *, allow_other_weights: bool = False
) -> tuple[tuple[Edit, ...], SigmaWindow | None]:
    """Edits and window of what `save_amplification` wrote, once they are known to be for this pipeline or denoiser.

    A denoiser of the same class that differs in other layers than the edited ones, such as one that takes a mask beside
    the latents, is accepted with a warning.

    Raises
    ------
    CorrectionMismatchError
        If it was made for another family, which is named, or for other weights.
    """
    made = correction if isinstance(correction, Correction) else load_correction(correction)
    plain = plain_module(denoiser_of(pipe))
    if not _differs_elsewhere(made, pipe, plain):
        made.check(plain, allow_other_weights=allow_other_weights)
    return made.ladder[0], None if made.sigma_window is None else SigmaWindow(*made.sigma_window)


def _differs_elsewhere(made: Correction, pipe: Any, denoiser: nn.Module) -> bool:
    """Whether the denoiser is another one, and the same in the edited layers; that is said."""
    layout, wanted = model_layout(denoiser), made.info.get("denoiser")
    other = [name for name in made.layout.keys() | layout.keys() if made.layout.get(name) != layout.get(name)]
    edited = [f"{plain_name(edit.layer)}." for edit in made.ladder[0]]
    inside = sorted(name for name in other if any(name.startswith(layer) for layer in edited))
    of_its_class = wanted is None or any(cls.__name__ == wanted for cls in type(denoiser).__mro__)
    if inside or not of_its_class:
        what = f"differ in {inside[0]}" if inside else "only look alike"
        raise CorrectionMismatchError(
            f"The amplification was made for another layout, {_named(made.info.get('pipeline'), wanted)}, and this is "
            f"{_named(None if isinstance(pipe, nn.Module) else type(pipe).__name__, type(denoiser).__name__)}, where "
            f"the amplified layers {what}; enable it on the former, or choose gains for the latter."
        )
    if not other or not all(any(name.startswith(layer) for name in layout) for layer in edited):
        return False
    warnings.warn(
        f"The amplification was made for another denoiser, which differs in {', '.join(sorted(other)[:3])} and not in "
        "the amplified layers; its measured figures may differ.",
        stacklevel=4,
    )
    return True


def _named(pipeline: Any, denoiser: Any) -> str:
    both = [str(name) for name in dict.fromkeys((denoiser, pipeline)) if name]
    return f"the {' of a '.join(both)}" if both else "a model without a name"
