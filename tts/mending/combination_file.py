"""Repairs of combinations as one safetensors file, for the voice they were made for; never a pickle."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from genmend.storage.container import load, save
from genmend.storage.hub.kinds import Description, plain_word
from genmend.storage.hub.shareable import Shareable
from genmend.tts.mending.combination import CombinationRepair
from genmend.tts.mending.reference_file import voice_digest
from genmend.tts.voices.voice import Voice

__all__ = [
    "RepairFileError",
    "VoiceRepairs",
    "describe_repairs",
    "load_repairs",
    "load_voice_repairs",
    "save_repairs",
    "save_voice_repairs",
]

_KIND = "genmend_voice_repairs"
_COMMAND = "speak --repair --save-repairs"


class RepairFileError(ValueError):
    """The file holds no repairs of this voice; the message has its path and what is wrong."""


@dataclass(frozen=True)
class VoiceRepairs(Shareable):
    """Repairs of combinations with the voice that they are for.

    Attributes
    ----------
    repairs : tuple of CombinationRepair
    voice : str
        Digest of the voice's weights.
    info : dict
        Anything JSON holds, to be told: the voice's name, versions.
    """

    repairs: tuple[CombinationRepair, ...]
    voice: str
    info: dict[str, Any] = field(default_factory=dict)

    _kinds = ("voice-repairs",)

    @classmethod
    def of(cls, voice: Voice, repairs: Sequence[CombinationRepair]) -> VoiceRepairs:
        """Take repairs that were found on a voice."""
        return cls(tuple(repairs), voice_digest(voice), {"voice": voice.name})


def save_voice_repairs(path: str | os.PathLike[str], kept: VoiceRepairs) -> None:
    """Write repairs to one file; an older file stays until the new one is whole.

    Raises
    ------
    ValueError
        If there are none.
    OSError
        If it cannot be written.
    """
    if not kept.repairs:
        raise ValueError("There is no repair to save: nothing was moved; repair a sentence with flagged tokens first.")
    described = {
        "voice": kept.voice,
        "repairs": [
            {"layer": r.layer, "ids": r.ids, "symbols": r.symbols, "kinds": r.kinds, "place": r.place}
            for r in kept.repairs
        ],
        "info": kept.info,
    }
    vectors = {str(i): np.asarray(r.vector, dtype=np.float32) for i, r in enumerate(kept.repairs)}
    save(path, _KIND, vectors, described)


def load_voice_repairs(path: str | os.PathLike[str]) -> VoiceRepairs:
    """Read repairs for whatever voice they were made for.

    Raises
    ------
    RepairFileError
        If the file is damaged, or no file of repairs.
    FileNotFoundError
        If there is none.
    """
    return load(path, _KIND, _restored, command=_COMMAND, error=RepairFileError)


def save_repairs(path: str | os.PathLike[str], voice: Voice, repairs: Sequence[CombinationRepair]) -> None:
    """Write repairs of a voice to one file; errors as `save_voice_repairs`."""
    save_voice_repairs(path, VoiceRepairs.of(voice, repairs))


def load_repairs(path: str | os.PathLike[str], voice: Voice) -> list[CombinationRepair]:
    """Read repairs that `save_repairs` wrote.

    Raises
    ------
    RepairFileError
        If the file is damaged, no file of repairs, or made for other weights.
    FileNotFoundError
        If there is none.
    """

    def build(vectors: dict[str, np.ndarray], described: dict[str, Any]) -> list[CombinationRepair]:
        kept = _restored(vectors, described)
        if kept.voice != voice_digest(voice):
            raise ValueError(f"it was made for other weights than those of {voice.name}")
        return list(kept.repairs)

    return load(path, _KIND, build, command=_COMMAND, error=RepairFileError)


def describe_repairs(facts: Mapping[str, Any], shapes: Mapping[str, Sequence[int]]) -> Description:
    """Say what a file of repairs holds, of its facts alone."""
    name = facts.get("info", {}).get("voice")
    repairs = facts["repairs"]
    shown = ["".join(s for s, kind in zip(r["symbols"], r["kinds"], strict=True) if kind != "blank") for r in repairs]
    return Description(
        title=f"Repairs of the voice {name}" if name else "Repairs of a voice",
        what="Vectors that are added in a voice's encoder wherever it meets a few combinations of sounds that it had "
        "hardly met in training.",
        model={**({"voice": name} if name else {}), "weights": f"SHA-256 {facts['voice']}"},
        does={
            "combinations": len(repairs),
            "symbols": ", ".join(shown),
            "layers": ", ".join(dict.fromkeys(str(r["layer"]) for r in repairs)),
        },
        use=f"genmend pull {{source}} --out repairs\n"
        f'genmend speak {plain_word(name, "VOICE")} "TEXT" --use-repairs repairs/repairs.safetensors --out said',
        in_shell=True,
        preview=True,
        not_told=["How the repaired sentences sound, and to whom."],
    )


def _restored(vectors: Mapping[str, np.ndarray], described: Mapping[str, Any]) -> VoiceRepairs:
    repairs = tuple(_repair(found, vectors[str(i)]) for i, found in enumerate(described["repairs"]))
    info = described.get("info", {})  # a file from before it was kept has none
    if not isinstance(described["voice"], str) or not isinstance(info, dict):
        raise ValueError("it does not say which voice it is of")
    return VoiceRepairs(repairs, described["voice"], info)


def _repair(found: dict, vector: np.ndarray) -> CombinationRepair:
    ids = tuple(map(int, found["ids"]))
    symbols, kinds = (tuple(map(str, found[name])) for name in ("symbols", "kinds"))
    if not len(ids) == len(symbols) == len(kinds) > int(found["place"]) >= 0 or vector.ndim != 1:
        raise ValueError("one of its repairs is not whole")
    if not np.isfinite(vector).all():
        raise ValueError("one of its vectors holds NaN or infinity")
    return CombinationRepair(str(found["layer"]), ids, symbols, kinds, int(found["place"]), vector)
