"""``genmend convert``: a foreign checkpoint to a folder that every other command takes as MODEL."""

from __future__ import annotations

from pathlib import Path

from gans.convert import Converted, convert
from workbench.tables import write_json

__all__ = ["in_words", "run_convert"]


def run_convert(
    source: Path, out: Path, family: str = "auto", *, trusted: bool = False, group: str = "", n_classes: int = 0
) -> Converted:
    """Convert, and write ``summary.json`` beside ``generator.safetensors`` and ``generator.json``."""
    converted = convert(source, out, family, trusted=trusted, group=group or None, n_classes=n_classes)
    write_json(out / "summary.json", converted.to_dict())
    return converted


def in_words(converted: Converted) -> str:
    """What was done, for people."""
    refused = ", ".join(converted.refused) or "none"
    isolation = "; ".join(f"{what} {how}" for what, how in converted.isolation.items())
    options = ", ".join(f"{name}={value!r}" for name, value in converted.options.items()) or "none"
    return (
        f"{converted.source} (SHA-256 {converted.source_sha256}): {converted.family}, group {converted.group!r}, "
        f"{converted.n_arrays} arrays, {converted.n_parameters:,} parameters.\n"
        f"Read {converted.reader}. Refused names: {refused}.\n"
        f"Reading process: {isolation}. It could still read and write files as you can.\n"
        f"Options, in generator.json: {options}. Use {converted.folder} as MODEL."
    )
