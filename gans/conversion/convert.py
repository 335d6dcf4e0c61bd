"""Turn a foreign checkpoint into a folder of ours: safetensors for the arrays, JSON for the rest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

import genmend
from genmend.gans.conversion.archives import is_safetensors
from genmend.gans.conversion.folder import save_generator
from genmend.gans.conversion.groups import choose_group, choose_layout, groups_of
from genmend.gans.families import LAYOUTS
from genmend.gans.families.layout import check_shapes, load_weights
from genmend.storage.digests import sha256_of_file
from genmend.storage.leftovers import remove_leftovers, temporary_folder

__all__ = ["ConversionError", "Converted", "convert", "read_in_child"]

_SECONDS = 3600


class ConversionError(ValueError):
    """A file that can't be converted; the message says why."""


@dataclass(frozen=True)
class Converted:
    """What a conversion did.

    Attributes
    ----------
    family : str
        Layout of the file.
    folder : str
        Where ``generator.safetensors`` and ``generator.json`` are.
    source, source_sha256 : str
        Name and digest of the file.
    group : str
        Which of the file's groups of arrays was taken, e.g. ``g_ema``.
    other_groups : dict
        How many arrays each of the others has.
    n_arrays, n_parameters : int
        Of the generator.
    reader : str
        How the file was read.
    refused : tuple of str
        Classes and functions that the file asked for and that were not looked up, let alone called.
    isolation : dict
        What the reading process was kept from, and what not.
    config : dict
        Sizes of the model.
    options : dict
        What can be chosen when loading, with the defaults.
    """

    family: str
    folder: str
    source: str
    source_sha256: str
    group: str
    other_groups: Mapping[str, int]
    n_arrays: int
    n_parameters: int
    reader: str
    refused: tuple[str, ...]
    isolation: Mapping[str, str]
    config: Mapping[str, Any]
    options: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON holds it."""
        return asdict(self)


def convert(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    family: str = "auto",
    *,
    trusted: bool = False,
    group: str | None = None,
    n_classes: int = 0,
) -> Converted:
    """Convert a .pkl, .pt, .pth or .safetensors checkpoint to a folder that `gans.load_generator` takes.

    A child process reads the file, without network where the system allows that, and with limits on memory and
    processor time: by torch's safe loader where that admits it, else as data, so that nothing in it is run either way.

    Parameters
    ----------
    source : path-like
    out : path-like
        Folder for ``generator.safetensors`` and ``generator.json``.
    family : str
        A name of `genmend.gans.families.LAYOUTS`, or ``auto``: by the names of the arrays.
    trusted : bool
        That you trust the file. Needed all the same: readers have had faults before. Not for safetensors.
    group : str, optional
        Which group of arrays, where a file has several generators; the averaged one (``g_ema``, ``G_ema``) where None.
    n_classes : int
        Of a conditional DCGAN, whose arrays don't tell it.

    Raises
    ------
    ConversionError
        If `trusted` is False and the file no safetensors, or the file is damaged or holds no arrays.
    genmend.gans.families.layout.LayoutError
        If the arrays are not the family's; every name and shape that doesn't fit is listed.
    """
    source, out = Path(source), Path(out)
    if family != "auto" and family not in LAYOUTS:
        raise ConversionError(f"No family is called {family!r}; there are auto, {', '.join(LAYOUTS)}.")
    if not source.is_file():
        raise ConversionError(f"{source} is no file; give the checkpoint itself (.pkl, .pt, .pth or .safetensors).")
    if not trusted and not is_safetensors(source):
        raise ConversionError(
            f"{source.name} can hold code, as every pickle can. genmend runs none of it, and reads it in a process "
            "of its own, but that is no wall: convert only what you trust, and say so with --i-trust-this-file."
        )
    contents = read_in_child(source)
    _check_contents(source, contents)
    arrays: dict[str, Tensor] = contents["arrays"]
    groups = groups_of(arrays)
    chosen = choose_group(groups, family, group)
    layout = choose_layout(groups[chosen], family)
    state = groups[chosen]
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    stored = {**contents["settings"].get(chosen, {}), **({"n_classes": n_classes} if n_classes else {})}
    config = layout.config(shapes, stored)
    check_shapes(layout.name, layout.expected(config), shapes)
    beside = {name: arrays[name] for name in layout.extras if name in arrays}
    with torch.device("meta"):
        module = layout.build(config)
    module = load_weights(module, layout.translate({**state, **beside}, config))
    converted = Converted(
        family=layout.name,
        folder=str(out),
        source=source.name,
        source_sha256=sha256_of_file(source),
        group=chosen,
        other_groups={name: len(other) for name, other in groups.items() if name != chosen},
        n_arrays=len(state),
        n_parameters=sum(parameter.numel() for parameter in module.parameters()),
        reader=contents["reader"],
        refused=tuple(contents["refused"]),
        isolation=contents["isolation"],
        config=config,
        options=dict(layout.options),
    )
    save_generator(out, module, converted.to_dict())
    return converted


def read_in_child(source: Path) -> dict[str, Any]:
    """Have a process of its own read the file: what `genmend.gans.conversion.child` wrote, with the arrays in it."""
    child, packages = Path(__file__).with_name("child.py"), Path(genmend.__file__).parents[1]
    remove_leftovers(tempfile.gettempdir())  # of killed conversions, as large as the checkpoint
    with temporary_folder(tempfile.gettempdir()) as folder:
        command = [sys.executable, "-I", str(child), str(source.resolve()), folder, str(packages.absolute())]
        # No environment variable that could hold a secret goes along.
        kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "TMPDIR") if name in os.environ}
        try:
            done = subprocess.run(
                command, env={**kept, "OMP_NUM_THREADS": "1"}, cwd=folder, capture_output=True, text=True,
                timeout=_SECONDS, stdin=subprocess.DEVNULL, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise ConversionError(f"Reading {source.name} took more than {_SECONDS} s and was stopped.") from error
        written = Path(folder) / "contents.json"
        if done.returncode or not written.is_file():
            last = (done.stderr.strip().splitlines() or ["it gave no reason"])[-1]
            raise ConversionError(f"The process that read {source.name} ended with code {done.returncode}: {last}.")
        contents: dict[str, Any] = json.loads(written.read_text(encoding="utf-8"))
        if "error" not in contents:
            contents["arrays"] = load_file(Path(folder) / "arrays.safetensors")
    return contents


def _check_contents(source: Path, contents: Mapping[str, Any]) -> None:
    """Raise `ConversionError` if the file could not be read or holds no arrays."""
    if "error" in contents:
        raise ConversionError(f"{source.name} can't be read: {contents['error']}.")
    if not contents["arrays"]:
        refused = ", ".join(contents["refused"]) or "none"
        raise ConversionError(
            f"{source.name} holds no arrays; names that it asks for and that were not run: {refused}."
        )
