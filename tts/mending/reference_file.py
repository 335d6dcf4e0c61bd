"""A `VoiceReference` as a folder: one safetensors file for each layer's region, and JSON; never a pickle."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from genmend.manifold.regions.normal_region_file import load_normal_region, save_normal_region
from genmend.storage.atomic import whole_file
from genmend.storage.digests import sha256_of
from genmend.tts.mending.reference import VoiceReference
from genmend.tts.voices.voice import Voice

__all__ = [
    "ReferenceFileError",
    "is_unfinished",
    "load_reference",
    "save_reference",
    "voice_digest",
    "write_description",
]

_SCHEMA = 1
_DESCRIPTION = "reference.json"
_LATER: dict[str, Any] = {"corpus": "", "lengths": {}}  # with what files from before they had them mean
_PLAIN = ("base_rates", "counts", "following", "ids", "kinds", "k")


class ReferenceFileError(ValueError):
    """The folder is no reference of this voice; the message has its path and what is wrong."""


def voice_digest(voice: Voice) -> str:
    """Digest a voice's weights and variant (SHA-256): what a reference, a repair or a correction file belongs to."""
    model: Any = voice.model  # type: ignore[attr-defined]
    if hasattr(model, "SerializeToString"):
        return sha256_of(
            [model.SerializeToString(deterministic=True), *([voice.variant.encode()] if voice.variant else [])]
        )
    from genmend.activations.digests import weights_digest

    return weights_digest(model)


def save_reference(folder: str | os.PathLike[str], reference: VoiceReference, voice: Voice) -> None:
    """Write a reference; its description comes last, so that an interrupted write is not taken for one.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _DESCRIPTION).unlink(missing_ok=True)
    for layer, region in reference.regions.items():
        save_normal_region(folder / f"{layer}.safetensors", region)
    write_description(folder, reference, voice)


def write_description(folder: str | os.PathLike[str], reference: VoiceReference, voice: Voice) -> None:
    """Write all of a reference but its regions, which lie in the folder already."""
    described = {
        "schema": _SCHEMA,
        "voice": voice_digest(voice),
        "layers": list(reference.layers),
        "phonemes": list(reference.phonemes),
        "places": reference.places.tolist(),
        **{name: getattr(reference, name) for name in (*_PLAIN, *_LATER)},
    }
    with whole_file(Path(folder) / _DESCRIPTION) as temporary:
        temporary.write_text(json.dumps(described, ensure_ascii=False), encoding="utf-8")


def is_unfinished(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder holds nothing, or what `save_reference` had written when it was killed, and nothing else."""
    names = [file.name for file in Path(folder).iterdir() if not file.name.startswith(".")]
    return all(name.endswith(".safetensors") for name in names)


def load_reference(folder: str | os.PathLike[str], voice: Voice) -> VoiceReference:
    """Read a reference that `save_reference` wrote; it answers as the saved one did.

    Raises
    ------
    ReferenceFileError
        If there is none, it is damaged, or belongs to another voice.
    """
    folder = Path(folder)
    try:
        described = json.loads((folder / _DESCRIPTION).read_text(encoding="utf-8"))
        if described["schema"] != _SCHEMA:
            raise ValueError(f"its schema is {described['schema']!r}, and {_SCHEMA} is read")
        if described["voice"] != voice_digest(voice):
            raise ValueError(f"it was made for other weights than those of {voice.name}")
        places = np.array(described["places"], dtype=np.int64).reshape(-1, 2)
        regions = {layer: load_normal_region(folder / f"{layer}.safetensors") for layer in described["layers"]}
        if any(len(region.rows_) != len(places) for region in regions.values()):
            raise ValueError("its regions and its places are not of the same vectors")
        phonemes = tuple(map(str, described["phonemes"]))
        plain = {name: described[name] for name in _PLAIN}
        later = {name: described.get(name, meant) for name, meant in _LATER.items()}
        return VoiceReference(regions, phonemes, places, **plain, **later)
    except (ValueError, LookupError, TypeError, OverflowError, OSError) as error:
        reason = str(error) or type(error).__name__
        raise ReferenceFileError(
            f"{folder} cannot be loaded as the reference of {voice.name}: {reason}; fit it anew and save it again."
        ) from error
