"""``genmend convert``: a foreign checkpoint to a folder that every other command takes as MODEL, with a page to see."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from genmend.gans.conversion.convert import Converted, convert
from genmend.gans.conversion.folder import SampleSettings, sample_converted
from genmend.gans.families.layout import LayoutError
from genmend.storage.atomic import write_bytes
from genmend.storage.digests import sha256_of_file
from genmend.storage.tables import write_json
from genmend.workbench.pages.gans.convert import samples_picture, write_convert_report, write_misfit
from genmend.workbench.pages.page import need_packages

__all__ = ["ConvertRun", "SampleSettings", "in_words", "run_convert"]


@dataclass(frozen=True)
class ConvertRun:
    """Result of ``genmend convert``.

    Attributes
    ----------
    converted : Converted
    asked : dict
        Family, group and number of classes, as they were asked for.
    file_sha256 : str
        Of ``generator.safetensors``.
    loaded : dict
        What loading it has shown: the digest of its weights as correction files name it, the shape of a latent and of
        each layer's output, the samples' seed. Empty where it was not loaded.
    resumed : bool
        Whether an earlier run had converted the same file already.
    """

    converted: Converted
    asked: dict[str, Any]
    file_sha256: str
    loaded: dict[str, Any]
    resumed: bool

    def to_dict(self) -> dict[str, Any]:
        """JSON's view, as in ``summary.json``; `resumed` is no part of the result."""
        return {
            **self.converted.to_dict(),
            "asked": self.asked,
            "generator_sha256": self.file_sha256,
            "loaded": self.loaded,
        }


def run_convert(
    source: Path,
    out: Path,
    family: str = "auto",
    *,
    trusted: bool = False,
    group: str = "",
    n_classes: int = 0,
    samples: SampleSettings | None = None,
    resume: bool = True,
) -> ConvertRun:
    """Convert, load the result, draw samples, and write ``summary.json``, ``samples.png`` and ``report.html``.

    They lie beside ``generator.safetensors`` and ``generator.json``. Without `samples` nothing is loaded or drawn, for
    models that don't fit into memory. With `resume` a file that was converted already, by its digest, is not again.

    Raises
    ------
    genmend.gans.families.layout.LayoutError
        If the arrays are not the family's; ``misfit.html`` has the list too, and nothing else is written.
    ValueError
        As `genmend.gans.conversion.convert.convert` does, or if an image holds NaN.
    """
    need_packages()
    asked = {"family": family, "group": group, "n_classes": n_classes}
    found = _earlier(source, out, asked) if resume and trusted else None
    misfit = out / "misfit.html"
    try:
        converted = found or convert(source, out, family, trusted=trusted, group=group or None, n_classes=n_classes)
    except LayoutError as error:
        write_misfit(misfit, source.name, asked, str(error))
        raise
    misfit.unlink(missing_ok=True)  # of an earlier run
    converted = replace(converted, folder=str(out))
    picture = out / "samples.png"
    loaded: dict[str, Any] = {}
    if samples is None:  # of an earlier run
        picture.unlink(missing_ok=True)
    else:
        images, loaded = sample_converted(out, samples)
        write_bytes(picture, samples_picture(images))
    run = ConvertRun(converted, asked, sha256_of_file(out / "generator.safetensors"), loaded, found is not None)
    write_json(out / "summary.json", run.to_dict())
    write_convert_report(out / "report.html", run.to_dict(), picture.read_bytes() if loaded else b"")
    return run


def _earlier(source: Path, out: Path, asked: dict[str, Any]) -> Converted | None:
    """What an earlier run made of the same bytes, if it is whole."""
    arrays, settings = out / "generator.safetensors", out / "generator.json"
    if not (source.is_file() and arrays.is_file() and settings.is_file()):
        return None
    try:
        summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
        same = summary["asked"] == asked and summary["source_sha256"] == sha256_of_file(source)
        if not same or summary["generator_sha256"] != sha256_of_file(arrays):
            return None
        known = {field.name: summary[field.name] for field in fields(Converted)}
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return Converted(**known | {"refused": tuple(known["refused"]), "source": source.name})


def in_words(run: ConvertRun) -> str:
    """What was done, for people."""
    converted = run.converted
    refused = ", ".join(converted.refused) or "none"
    isolation = "; ".join(f"{what} {how}" for what, how in converted.isolation.items())
    options = ", ".join(f"{name}={value!r}" for name, value in converted.options.items()) or "none"
    already = "Converted before; nothing was read again.\n" if run.resumed else ""
    return (
        f"{converted.source} (SHA-256 {converted.source_sha256}): {converted.family}, group {converted.group!r}, "
        f"{converted.n_arrays} arrays, {converted.n_parameters:,} parameters.\n{already}"
        f"Read {converted.reader}. Refused names: {refused}.\n"
        f"Reading process: {isolation}. It could still read and write files as you can.\n"
        f"Options, in generator.json: {options}. Use {converted.folder} as MODEL."
    )
