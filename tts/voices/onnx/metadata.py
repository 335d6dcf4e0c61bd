"""What sherpa-onnx writes into a graph (its metadata) and beside it (tokens.txt), as fields of a description."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from genmend.tts.voices.onnx.graph import VoiceFileError

__all__ = ["read_metadata", "read_tokens"]

# Full names of languages, as sherpa-onnx has them, where only these are given; espeak-ng's codes.
_LANGUAGES = {"english": "en-us", "german": "de", "french": "fr-fr", "spanish": "es", "italian": "it", "polish": "pl",
              "portuguese": "pt", "dutch": "nl", "swedish": "sv", "danish": "da", "norwegian": "nb", "finnish": "fi",
              "russian": "ru", "ukrainian": "uk", "czech": "cs", "greek": "el", "turkish": "tr"}  # fmt: skip


def read_metadata(model: Any) -> dict[str, Any]:
    """Fields of a description that the metadata of a graph says; none where it has none of sherpa-onnx'."""
    given = {entry.key: entry.value for entry in model.metadata_props}
    if "sample_rate" not in given:
        return {}
    comment = given.get("comment", "").lower()
    found: dict[str, Any] = {"sample_rate": _whole(given, "sample_rate", 22_050)}
    language = given.get("voice") or _LANGUAGES.get(given.get("language", "").split(",")[0].strip().lower())
    if given.get("has_espeak") == "1":
        found |= {"reads": "ipa", "language": language or "en-us"}
    elif given.get("frontend") == "characters":
        found |= {"reads": "characters", "language": language or given.get("language") or None}
    if given.get("model_type") == "kokoro":
        names = [name for name in given.get("speaker_names", "").split(",") if name]
        return found | ({"style_names": names} if names else {})
    n = _whole(given, "n_speakers", 1)
    found["speakers"] = max(n, 1) if "piper" in comment else n
    if "piper" in comment:
        return found | {"begin": "^", "end": "$", "blank": 0}
    if "coqui" in comment:
        found["blank"] = _whole(given, "blank_id", 0) if given.get("add_blank", "1") != "0" else None
        if given.get("use_eos_bos", "1") != "0":
            return found | {"begin": _whole(given, "bos_id", 0), "end": _whole(given, "eos_id", 0)}
        return found | {"blank_outside": True}
    if given.get("model_type") == "matcha-tts":
        ends = {"begin": "^", "end": "$"} if given.get("use_eos_bos") == "1" else {}
        return found | {"blank": _whole(given, "pad_id", 0), "blank_outside": True} | ends
    if given.get("add_blank") == "1":
        found |= {"blank": 0, "blank_outside": True}
    return found


def _whole(given: dict[str, str], key: str, default: int) -> int:
    try:
        return int(given.get(key, default))
    except ValueError:
        raise VoiceFileError(
            f"The graph's metadata says {key} = {given[key]!r}, where a whole number is needed: get the voice again, "
            f"or say it in its .json."
        ) from None


def read_tokens(path: Path) -> Any:
    """Read a table of symbols: tokens.txt ("SYMBOL NUMBER" a line, a space being a symbol too), or a .json.

    Raises
    ------
    VoiceFileError
        If a line of it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            return json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise VoiceFileError(f"{path} cannot be read as a table of symbols ({error}): get it again.") from error
    found: dict[str, int] = {}
    for line, content in enumerate(text.split("\n"), start=1):
        symbol, _, number = content.rstrip("\r").rpartition(" ")
        if not content.strip():
            continue
        if not number.isdecimal():
            raise VoiceFileError(
                f"{path} has {content[:40]!r} in line {line}, where a symbol and its number are needed: get it again."
            )
        found[symbol or " "] = int(number)
    return found
