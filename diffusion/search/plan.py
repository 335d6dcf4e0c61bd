"""What a comparison is going to do, settled and checked before a single image is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from genmend.activations import Edit
from genmend.diffusion.amplification.control_bands import AmplifyBand
from genmend.diffusion.amplification.frequency_bands import check_band
from genmend.diffusion.amplification.gains import amplification_edits, edits_by_slot
from genmend.diffusion.amplification.low_frequencies import AmplifyLowFrequencies
from genmend.diffusion.amplification.plug_in import read_amplification
from genmend.diffusion.amplification.presets import preset_named
from genmend.diffusion.drawing import check_settings
from genmend.diffusion.loading import TextToImage
from genmend.diffusion.pipeline_parts import SigmaWindow, block_layers, denoiser_of, plain_module
from genmend.diffusion.search.real_images import check_real_images
from genmend.diffusion.search.scorers import Scorer
from genmend.diffusion.search.settings import AmplifySettings
from genmend.manifold.features import load_extractor

__all__ = ["Plan", "check_before_loading", "control_edits", "planned"]

_NO_SCORER = "A search needs a usability scorer and a novelty cloud; give --usability and --n-cloud."
_NO_REAL = "--keep-inside is of a --search, and inside is among --real images; give both."
_KEEP_INSIDE = 0.9  # of a search, where real images are known


@dataclass(frozen=True)
class Plan:
    """Everything a comparison needs besides images.

    Attributes
    ----------
    edits, window
        What is attached, and at which noise levels; no edits where they are to be searched.
    call : dict
        Arguments of the pipeline.
    usability : dict
        Name -> scorer.
    extractor : callable or None
        Images -> features of the novelty; None where it is not measured.
    real : dict
        Prompt -> features of real images that the model comes with; empty where it has none.
    keep_inside : float
        What a search keeps of the share inside.
    """

    edits: tuple[Edit, ...]
    window: SigmaWindow | None
    call: dict[str, Any]
    usability: Mapping[str, Scorer]
    extractor: Callable[[Tensor], Tensor] | None
    real: dict[str, NDArray[Any]]
    keep_inside: float

    def gains(self, denoiser: nn.Module) -> dict[str, float]:
        """Slot (or layer, where it is no slot) -> gain, of what is amplified."""
        plain = plain_module(denoiser)
        slots = {layer: slot for slot, layer in block_layers(plain).items()} if hasattr(plain, "down_blocks") else {}
        return {slots.get(edit.layer, edit.layer): getattr(edit, "gain", 1.0) for edit in self.edits}


def check_before_loading(model: str, settings: AmplifySettings) -> None:
    """Refuse what can be refused without the pipeline, which may be a download of gigabytes.

    Raises
    ------
    ValueError, OSError, ModuleNotFoundError
        If a search has no scorer, or the extractor, its weights or the real images are not there.
    """
    own = model == "reference"
    if settings.keep_inside and settings.real is None and not own:
        raise ValueError(_NO_REAL)
    if settings.search and not (settings.n_cloud and (own or settings.usability not in ("", "none"))):
        raise ValueError(_NO_SCORER)
    if settings.n_cloud and (settings.features or not own):
        load_extractor(settings.features or "efficientnet-lite0")
    if settings.real is not None:
        check_real_images(settings.real)


def planned(
    model: TextToImage,
    settings: AmplifySettings,
    scorers: Callable[[TextToImage, AmplifySettings], Mapping[str, Scorer]],
) -> Plan:
    """Settle a comparison.

    Parameters
    ----------
    model, settings
        Of the comparison.
    scorers
        Makes those of the usability.

    Raises
    ------
    TypeError, ValueError
        If gains, preset, file, arguments, prompts, scorers or real images do not fit the model or each other.
    """
    denoiser = denoiser_of(model.pipe)
    _check_draws_images(model.pipe)
    if settings.cutoff is not None:
        check_band(settings.cutoff, settings.cutoff_unit or "bins", 0.0)
    call = _call(model, settings)
    if settings.keep_inside and settings.real is None and model.real is None:
        raise ValueError(_NO_REAL)
    usability = scorers(model, settings)
    if settings.search:
        if not usability or not settings.n_cloud:
            raise ValueError(_NO_SCORER)
        block_layers(denoiser)
    real = _own_real(model, settings)
    edits, window = _edits(model.pipe, settings)
    if settings.control not in ("", "cads"):
        control_edits(edits, settings.control, settings.seed)
    if settings.real is not None:
        check_real_images(settings.real)
    extractor = None
    if settings.n_cloud:
        own = None if settings.features else model.extractor
        extractor = own or load_extractor(settings.features or "efficientnet-lite0")
    _try_scorers(usability, settings.prompts, call, model.own_size)
    inside = settings.keep_inside
    if inside is None:
        inside = _KEEP_INSIDE if settings.search and (real or settings.real is not None) else 0.0
    return Plan(edits, window, call, usability, extractor, real, inside)


def _check_draws_images(pipe: Any) -> None:
    """Raise ValueError of a pipeline whose call says that it makes a film or sound: neither is compared here."""
    known = signature(type(pipe).__call__).parameters
    made = next((what for name, what in _OTHER_MEDIA.items() if name in known), "")
    if made:
        raise ValueError(
            f"{type(pipe).__name__} makes {made}, and images are compared here; in Python amplify it with "
            "diffusion.amplified(pipe, ...)."
        )


_OTHER_MEDIA = {"num_frames": "video", "video_length": "video", "audio_length_in_s": "sound", "audio_end_in_s": "sound"}


def _call(model: TextToImage, settings: AmplifySettings) -> dict[str, Any]:
    """What the user says, else what the model is called with, else what the preset's family is."""
    preset: dict[str, Any] = {}
    if settings.preset:
        known = signature(type(model.pipe).__call__).parameters
        preset = preset_named(settings.preset).call(model.own_size)
        preset = {name: value for name, value in preset.items() if name in known}
    call = {**preset, **model.settings, **(settings.call or {})}
    check_settings(model.pipe, call)
    return call


def _edits(pipe: Any, settings: AmplifySettings) -> tuple[tuple[Edit, ...], SigmaWindow | None]:
    denoiser = denoiser_of(pipe)
    options, cutoff = settings.edit_options(), settings.cutoff
    if settings.search:
        return (), None
    if settings.correction is not None:
        return read_amplification(pipe, settings.correction)
    if settings.blocks:
        return amplification_edits(denoiser, blocks=settings.blocks, cutoff=cutoff, **options), None
    if settings.preset:
        return amplification_edits(denoiser, settings.preset, cutoff=cutoff, **options), None
    gains = settings.gains or {}
    if not isinstance(gains, Mapping):
        gains = _in_order(denoiser, gains)
    return edits_by_slot(denoiser, gains, cutoff=cutoff, **options), None


def _in_order(denoiser: nn.Module, gains: Sequence[float]) -> dict[str, float]:
    """Gains without names: one for each down block and one for the middle, or nothing says which blocks are meant."""
    slots = [slot for slot in block_layers(denoiser) if not slot.startswith("up")]
    if len(gains) != len(slots) and any(gain != 1 for gain in gains):
        named = ",".join(f"{slot}={gain:g}" for slot, gain in zip(slots, gains, strict=False))
        raise ValueError(
            f"{len(gains)} gains were given for the {len(slots)} blocks {', '.join(slots)}; give one for each, or name "
            f"them, as in --gains {named}."
        )
    return dict(zip(slots, map(float, gains), strict=False))


def control_edits(edits: Sequence[Edit], band: str, seed: int) -> tuple[Edit, ...]:
    """The same gains in another band.

    Raises
    ------
    ValueError
        If an edit is not of maps.
    """
    if not all(isinstance(edit, AmplifyLowFrequencies) for edit in edits):
        raise ValueError("A control needs amplified maps of a U-Net; leave --control out.")
    return tuple(
        AmplifyBand(edit.layer, edit.gain, edit.cutoff, band, edit.cutoff_unit, seed)  # type: ignore[attr-defined, arg-type]
        for edit in edits
    )


def _own_real(model: TextToImage, settings: AmplifySettings) -> dict[str, NDArray[Any]]:
    """Real images' features that the model comes with, of what every prompt names; the user's folder goes before."""
    if model.real is None or settings.real is not None or settings.features or not settings.n_cloud:
        return {}
    found = {}
    for prompt in settings.prompts:
        try:
            found[prompt] = model.real(prompt)
        except ValueError:
            if settings.usability != "none":
                raise
            return {}
    return found


def _try_scorers(
    usability: Mapping[str, Scorer], prompts: Sequence[str], call: Mapping[str, Any], own_size: int | None
) -> None:
    """Score a black image: a scorer that does not know a prompt says so now."""
    height, width = (int(call.get(side) or own_size or 64) for side in ("height", "width"))
    for scorer in usability.values():
        for prompt in prompts:
            scorer(torch.zeros(1, 3, height, width), prompt)
