"""The .json beside a voice's graph, and whether the two belong together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genmend.tts.voices.onnx.graph import VoiceFileError

__all__ = ["check_numbers", "read_beside"]


def read_beside(source: Path) -> dict[str, Any]:
    """Read a voice's description.

    Raises
    ------
    VoiceFileError
        If it is no JSON object.
    """
    try:
        told = json.loads(source.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise VoiceFileError(
            f"{source} is not the description of a voice ({error!r}): get it again, or write it anew."
        ) from error
    if not isinstance(told, dict):
        raise VoiceFileError(
            f"{source} is a {type(told).__name__}, not the description of a voice: get it again, or write it anew."
        )
    return told


def check_numbers(source: Path | str, numbers: Mapping[str, int], rows: int | None) -> None:
    """Refuse numbers beyond a graph's table of `rows`, which onnxruntime would refuse in the middle; None: unknown.

    Raises
    ------
    VoiceFileError
        Naming the first of them.
    """
    for name, number in numbers.items():
        if rows is not None and number >= rows:
            raise VoiceFileError(
                f"{source} gives {name!r} the number {number}, and the voice knows {rows}: the two do not belong "
                "together; get both again."
            )
