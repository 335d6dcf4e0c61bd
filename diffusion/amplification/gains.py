"""From gains by slot to edits: what `enable_amplification` attaches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, TypedDict, Unpack

from torch import Tensor, nn

from genmend.activations import Edit
from genmend.activations.layers import find_layer
from genmend.diffusion.amplification.families import stream_of
from genmend.diffusion.amplification.frequency_bands import CutoffUnit
from genmend.diffusion.amplification.low_frequencies import AmplifyLowFrequencies, Rows
from genmend.diffusion.amplification.presets import PRESETS, Preset, preset_named
from genmend.diffusion.amplification.token_layouts import default_blocks, transformer_layers
from genmend.diffusion.amplification.token_update import AmplifyTokenUpdate
from genmend.diffusion.pipeline_parts import block_layers, is_transformer, plain_module

__all__ = ["Choice", "EditOptions", "amplification_edits", "edits_by_slot", "stronger"]

Cutoffs = float | Sequence[float] | Mapping[str, float]


class EditOptions(TypedDict, total=False):
    """Fields of `AmplifyLowFrequencies` beside layer, gain and cutoff; `AmplifyTokenUpdate` has the first and last."""

    cutoff_unit: CutoffUnit
    transition: float
    mean_gain: float | None
    keep_energy: bool
    rows: Rows
    where: Tensor | None
    as_published: bool
    strength: float


class Choice(EditOptions, total=False):
    """What `amplification_edits` takes beside a preset."""

    down: Sequence[float] | None
    mid: float | None
    up: Sequence[float] | None
    blocks: Mapping[int, float] | None
    cutoff: Cutoffs | None


def amplification_edits(
    denoiser: nn.Module,
    preset: str | None = None,
    *,
    down: Sequence[float] | None = None,
    mid: float | None = None,
    up: Sequence[float] | None = None,
    blocks: Mapping[int, float] | None = None,
    cutoff: Cutoffs | None = None,
    **options: Unpack[EditOptions],
) -> tuple[Edit, ...]:
    """Build one edit for each block whose gain is not 1.

    Parameters
    ----------
    denoiser
        A diffusers U-Net or diffusion transformer.
    preset
        A name of `diffusion.PRESETS`; gains that are given replace its own.
    down, mid, up
        Gains of a U-Net's blocks in the order they run; those left out are 1.
    blocks
        Of a transformer: number of a block -> gain; experimental.
    cutoff
        One for all blocks; or one for each gain, in the order down, mid, up; or slot -> cutoff. By default the
        preset's, or 5 bins; a quarter of Nyquist for a transformer.
    **options
        Further fields of `AmplifyLowFrequencies`, or of `AmplifyTokenUpdate`.

    Raises
    ------
    TypeError, ValueError
        Of what does not fit the denoiser; the message says what does.
    """
    if is_transformer(denoiser):
        _check_options(options, AmplifyTokenUpdate)
        if preset is not None or down is not None or mid is not None or up is not None:
            what = "down, mid and up are" if preset is None else f"preset {preset!r} is"
            raise ValueError(
                f"{what} for U-Nets, and {type(plain_module(denoiser)).__name__} is a transformer; give blocks="
                f"{default_blocks(denoiser)}, or others with their gains."
            )
        return _token_edits(denoiser, dict(blocks or {}), 0.25 if cutoff is None else cutoff, options)
    if blocks is not None:
        what = "a U-Net" if hasattr(plain_module(denoiser), "down_blocks") else "neither one that is known nor a U-Net"
        raise ValueError(
            f"blocks is for transformers, but {type(plain_module(denoiser)).__name__} is {what}; give "
            + ("down, mid and up." if what == "a U-Net" else "edits= of layers by name.")
        )
    if preset is not None:
        chosen = preset_named(preset)
        _check_family(denoiser, preset, chosen)
        down, mid = chosen.down if down is None else down, chosen.mid if mid is None else mid
        if cutoff is None:
            cutoff = chosen.cutoffs
            options = EditOptions(cutoff_unit=chosen.cutoff_unit) | options
    gains = {f"down{i}": gain for i, gain in enumerate(down or ())} | {"mid": 1.0 if mid is None else mid}
    gains |= {f"up{i}": gain for i, gain in enumerate(up or ())}
    return edits_by_slot(denoiser, gains, cutoff=cutoff, **options)


def edits_by_slot(
    unet: nn.Module, gains: Mapping[str, float], *, cutoff: Cutoffs | None = None, **options: Unpack[EditOptions]
) -> tuple[Edit, ...]:
    """Build one edit for each block whose gain is not 1, from gains by slot (``{"down0": 1.1, "mid": 1.8}``).

    `cutoff` and `options` are those of `amplification_edits`; several cutoffs go in the order of the gains.

    Raises
    ------
    TypeError, ValueError
        If the denoiser has no slots, or not these.
    """
    _check_options(options, AmplifyLowFrequencies)
    slots = block_layers(unet)
    unknown = [slot for slot, gain in gains.items() if slot not in slots and gain != 1]
    if unknown:
        raise ValueError(
            f"Gains were given for {', '.join(unknown)}, but the blocks are {', '.join(slots)}; give others."
        )
    known = {slot: gain for slot, gain in gains.items() if slot in slots}
    for slot, gain in known.items():
        if gain != 1:
            _check_block(plain_module(unet), slots[slot])
    cutoffs = _cutoff_by_slot(known, 5.0 if cutoff is None else cutoff)
    return tuple(
        AmplifyLowFrequencies(slots[slot], gain, cutoffs[slot], **options)
        for slot, gain in known.items()
        if gain != 1 or options.get("mean_gain") not in (None, 1)
    )


def _check_family(unet: nn.Module, name: str, preset: Preset) -> None:
    blocks = getattr(plain_module(unet), "down_blocks", ())
    attention = tuple(bool(getattr(block, "has_cross_attention", False)) for block in blocks)
    if attention != preset.attention:
        fitting = [other for other, found in PRESETS.items() if found.attention == attention]
        raise ValueError(
            f"preset {name!r} is for {len(preset.attention)} down blocks, of which "
            f"{', '.join(str(i) for i, has in enumerate(preset.attention) if has)} have cross-attention, and this "
            f"{type(plain_module(unet)).__name__} has {len(attention)}, with it in "
            f"{', '.join(str(i) for i, has in enumerate(attention) if has) or 'none'}; "
            + (f"presets of its layout are {', '.join(fitting)}." if fitting else "give gains.")
        )


def _check_block(unet: nn.Module, name: str) -> None:
    """Refuse what is no block that is called and returns maps: then an edit would do nothing, or fail while it runs."""
    block, of = find_layer(unet, name), type(plain_module(unet)).__name__
    if isinstance(block, nn.ModuleList | nn.ModuleDict):
        raise TypeError(
            f"{name} of {of} is a list of layers, which is never called as a whole; amplify layers in it by name: "
            f"edits=[AmplifyLowFrequencies('{name}.0', gain, cutoff)]."
        )
    if not any(isinstance(part, nn.Conv2d) for part in block.modules()):
        raise TypeError(
            f"{name} of {of} has no 2-D convolution, so it returns no maps (n, channels, height, width) to amplify; a "
            "U-Net of images is needed."
        )


def _cutoff_by_slot(gains: Mapping[str, float], cutoff: Cutoffs) -> dict[str, float]:
    if isinstance(cutoff, Mapping):
        missing = [slot for slot, gain in gains.items() if gain != 1 and slot not in cutoff]
        if missing:
            raise ValueError(f"cutoff has no entry for {', '.join(missing)}; give one for each amplified block.")
        return {slot: cutoff.get(slot, 1.0) for slot in gains}
    if isinstance(cutoff, int | float):
        return dict.fromkeys(gains, float(cutoff))
    if len(cutoff) != len(gains):
        raise ValueError(f"{len(cutoff)} cutoffs were given for {', '.join(gains)}; give one number, or one for each.")
    return dict(zip(gains, map(float, cutoff), strict=True))


def _token_edits(
    transformer: nn.Module, blocks: Mapping[int, float], cutoff: Cutoffs, options: Mapping[str, Any]
) -> tuple[Edit, ...]:
    layers = transformer_layers(transformer)
    unknown = [number for number in blocks if not 0 <= number < len(layers)]
    if unknown or not blocks:
        raise ValueError(
            f"blocks is {dict(blocks)}, but numbers from 0 to {len(layers) - 1} with a gain each are needed."
        )
    if not isinstance(cutoff, int | float):
        raise ValueError("A transformer's blocks share one cutoff; give one number.")
    names = list(layers)
    return tuple(
        AmplifyTokenUpdate(names[number], gain, float(cutoff), stream=stream_of(layers[names[number]]), **options)
        for number, gain in sorted(blocks.items())
        if gain != 1
    )


def _check_options(options: Mapping[str, Any], cls: type[Edit]) -> None:
    taken = {"layer", "gain", "cutoff", "stream", "height", "width"}
    accepted = sorted({field.name for field in fields(cls) if field.init} - taken)  # type: ignore[arg-type]
    unknown = sorted(set(options) - set(accepted))
    if unknown:
        raise TypeError(f"{', '.join(unknown)} is no option; accepted are {', '.join(accepted)}; check the spelling.")


def stronger(edit: Edit, times: float) -> Edit:
    """The edit with so many times what its gains add to 1, and nothing below 0: 0 is no amplification, 1 the same."""
    found = {"gain": edit.gain, "mean_gain": getattr(edit, "mean_gain", None)}  # type: ignore[attr-defined]
    changed = {name: max(0.0, 1 + times * (gain - 1)) for name, gain in found.items() if gain is not None}
    return replace(edit, **changed)  # type: ignore[type-var]
