"""Repairs of combinations as one safetensors file, for the voice they were made for; never a pickle."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from genmend.storage.container import load, save
from genmend.tts.mending.combination import CombinationRepair
from genmend.tts.mending.reference_file import voice_digest
from genmend.tts.voices.voice import Voice

__all__ = ["RepairFileError", "load_repairs", "save_repairs"]

_KIND = "genmend_voice_repairs"


class RepairFileError(ValueError):
    """The file holds no repairs of this voice; the message has its path and what is wrong."""


def save_repairs(path: str | os.PathLike[str], voice: Voice, repairs: Sequence[CombinationRepair]) -> None:
    """Write repairs to one file; an older file stays until the new one is whole.

    Raises
    ------
    ValueError
        If there are none.
    OSError
        If it cannot be written.
    """
    if not repairs:
        raise ValueError("There is no repair to save: nothing was moved; repair a sentence with flagged tokens first.")
    described = {
        "voice": voice_digest(voice),
        "repairs": [
            {"layer": r.layer, "ids": r.ids, "symbols": r.symbols, "kinds": r.kinds, "place": r.place} for r in repairs
        ],
    }
    vectors = {str(i): np.asarray(r.vector, dtype=np.float32) for i, r in enumerate(repairs)}
    save(path, _KIND, vectors, described)


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
        if described["voice"] != voice_digest(voice):
            raise ValueError(f"it was made for other weights than those of {voice.name}")
        return [_repair(found, vectors[str(i)]) for i, found in enumerate(described["repairs"])]

    return load(path, _KIND, build, command="speak --repair --save-repairs", error=RepairFileError)


def _repair(found: dict, vector: np.ndarray) -> CombinationRepair:
    ids = tuple(map(int, found["ids"]))
    symbols, kinds = (tuple(map(str, found[name])) for name in ("symbols", "kinds"))
    if not len(ids) == len(symbols) == len(kinds) > int(found["place"]) >= 0 or vector.ndim != 1:
        raise ValueError("one of its repairs is not whole")
    if not np.isfinite(vector).all():
        raise ValueError("one of its vectors holds NaN or infinity")
    return CombinationRepair(str(found["layer"]), ids, symbols, kinds, int(found["place"]), vector)
