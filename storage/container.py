"""One format for arrays and JSON facts: a safetensors file, never a pickle, written whole and read strictly.

The JSON object stands in the file's metadata under its kind, ``genmend.detector`` for one, and begins with ``schema``,
the version of that kind. It is the only entry: safetensors does not keep the order of several, and the same content is
to give the same bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, overload

import numpy as np
from safetensors import SafetensorError, safe_open

from genmend.storage.atomic import whole_file
from genmend.storage.leftovers import temporary_folder
from genmend.storage.tables import parse_json

__all__ = ["ContainerError", "finite_number", "load", "read_facts", "save", "whole_number", "write_arrays"]

Built = TypeVar("Built")
Arrays = dict[str, Any]
Facts = dict[str, Any]

_LARGEST = 1e300  # of a number among the facts

# What reading and checking the content of a damaged or hostile file may raise.
_FAULTS = (SafetensorError, LookupError, TypeError, ValueError, OverflowError, AttributeError, RuntimeError)


class ContainerError(ValueError):
    """The file is not one of the wanted kind and version, or it is damaged; the message has its path and the fault."""


def save(
    path: str | os.PathLike[str], kind: str, arrays: Mapping[str, Any], facts: Mapping[str, Any], schema: int = 1
) -> None:
    """Write arrays and facts to one file, whole or not at all.

    Parameters
    ----------
    path
        The file; its folder must exist.
    kind
        What the file holds, e.g. ``genmend.detector``.
    arrays
        Name -> numpy array or tensor, of any shape; tensors may lie on any device and share memory.
    facts
        Anything JSON holds, without NaN and infinity.
    schema
        Version of the kind; raise it when the content changes its meaning.

    Raises
    ------
    ValueError
        If the facts hold NaN or infinity.
    OSError
        If the file cannot be written; an old one is left as it was.
    """
    metadata = {kind: json.dumps({"schema": schema, **facts}, allow_nan=False)}
    with whole_file(path) as temporary:
        write_arrays(temporary, arrays, metadata)


@overload
def load(
    path: str | os.PathLike[str],
    kind: str,
    *,
    schema: int = 1,
    framework: Literal["numpy", "torch"] = "numpy",
    command: str = "",
    error: type[ValueError] = ContainerError,
) -> tuple[Arrays, Facts]: ...


@overload
def load(
    path: str | os.PathLike[str],
    kind: str,
    build: Callable[[Arrays, Facts], Built],
    *,
    schema: int = 1,
    framework: Literal["numpy", "torch"] = "numpy",
    command: str = "",
    error: type[ValueError] = ContainerError,
) -> Built: ...


def load(
    path: str | os.PathLike[str],
    kind: str,
    build: Callable[[Arrays, Facts], Any] = lambda arrays, facts: (arrays, facts),
    *,
    schema: int = 1,
    framework: Literal["numpy", "torch"] = "numpy",
    command: str = "",
    error: type[ValueError] = ContainerError,
) -> Any:
    """Read a file that `save` wrote, and build what it holds; no code from the file runs.

    Parameters
    ----------
    path, kind, schema
        The file, and the kind and version that it has to be.
    build
        What to make of the arrays and the facts; without it they are returned as a pair. It checks them: an ordinary
        error in it (ValueError, TypeError, KeyError, ...) is told as a fault of the file.
    framework
        Whether the arrays are numpy's, or tensors on the CPU.
    command
        The ``genmend`` command that writes such files, for messages.
    error
        What to raise for a file that is refused.

    Raises
    ------
    error
        If the file is damaged, of another kind or version, or `build` finds fault with it.
    FileNotFoundError
        If there is no such file; the message names the command.
    OSError
        If it cannot be read.
    """
    path = Path(path)
    writes = f"`genmend {command}` writes one" if command else "only whole files as genmend writes them are accepted"
    if not path.exists():
        raise FileNotFoundError(f"There is no {_noun(kind)} file {path}; {writes}.")
    with path.open("rb") as file:  # the ordinary error where it is a folder, or not ours to read
        start = file.read(8)
    try:
        with safe_open(path, framework={"numpy": "np", "torch": "pt"}[framework]) as opened:
            metadata = opened.metadata() or {}
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (not a dict)
        if framework == "torch":  # what it gives is the mapped file itself, and would change when that is written to
            arrays = {name: values.clone() for name, values in arrays.items()}
        return build(arrays, _facts(metadata, kind, schema))
    except _FAULTS as fault:
        raise error(f"{path} cannot be loaded as {_noun(kind, 'a ')}: {_reason(fault, start)}; {writes}.") from fault


def read_facts(path: str | os.PathLike[str]) -> tuple[str, Facts, dict[str, tuple[int, ...]]]:
    """Read what a file that `save` wrote is: its kind, its facts and the shapes of its arrays, which are not read.

    Raises
    ------
    ContainerError
        If it is damaged, or none that `save` wrote.
    OSError
        If there is none, or it cannot be read.
    """
    with open(path, "rb") as file:  # the ordinary error where it is a folder, or not ours to read
        start = file.read(8)
    try:
        with safe_open(path, framework="np") as opened:
            metadata = opened.metadata() or {}
            shapes = {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
        told = [name for name in metadata if name.startswith("genmend")]
        told += [metadata.get("schema", "").rpartition("/")[0], metadata.get("format", "").rpartition(".")[0]]
        kind = next((name for name in told if name.startswith("genmend")), None)
        if kind is None:
            raise ValueError("it has nothing of genmend in its metadata")
        return kind, _facts(metadata, kind, 1), shapes
    except _FAULTS as fault:
        raise ContainerError(
            f"{path} cannot be read as a file of genmend: {_reason(fault, start)}; only whole files as genmend writes "
            "them are accepted."
        ) from fault


def finite_number(value: Any, name: str) -> float:
    """A number among the facts of a file as a float; ValueError for what is none, or not finite as a float."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST:
        return float(value)
    raise ValueError(f"its {name} is {_short(value)}, and a finite number is accepted")


def whole_number(value: Any, name: str, least: int = 1) -> int:
    """A count among the facts of a file; ValueError for what is none, or below `least` or beyond 2**53."""
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= 1 << 53:
        return value
    raise ValueError(f"its {name} is {_short(value)}, and a whole number of at least {least} is accepted")


def _short(value: Any) -> str:
    if isinstance(value, int) and abs(value) > _LARGEST:
        return f"an integer of {value.bit_length()} bits"
    return repr(value)[:40]


def write_arrays(path: Path, arrays: Mapping[str, Any], metadata: dict[str, str] | None = None) -> None:
    """Write arrays or tensors as safetensors to `path`, which `whole_file` has given; OSError where that fails."""
    try:
        # safetensors writes to a file beside its own, of a name that does not tell who was killed while it wrote.
        with temporary_folder(path.parent) as folder:
            _write(Path(folder) / path.name, arrays, metadata)
            os.replace(Path(folder) / path.name, path)
    except SafetensorError as fault:  # a full disk, for one: to callers an error of the file system like any other
        raise OSError(f"A file can't be written in {path.parent} ({fault}); make room there.") from fault


def _write(path: Path, arrays: Mapping[str, Any], metadata: dict[str, str] | None) -> None:
    # safetensors writes the memory as it lies, also that of a transposed array, and refuses arrays that share it.
    if all(isinstance(values, np.ndarray) for values in arrays.values()):
        from safetensors.numpy import save_file

        save_file({name: np.ascontiguousarray(values) for name, values in arrays.items()}, path, metadata)
        return
    import torch
    from safetensors.torch import save_file as save_tensors

    tensors = {name: torch.as_tensor(values).detach().cpu().clone().contiguous() for name, values in arrays.items()}
    save_tensors(tensors, path, metadata)


def _facts(metadata: Mapping[str, str], kind: str, schema: int) -> Facts:
    """The facts, also of a file from before there was one format."""
    short = kind.rpartition(".")[2]
    if kind in metadata:
        facts = parse_json(metadata[kind])
    elif metadata.get("schema", "").startswith(f"{kind}/") and short in metadata:  # detectors and densities
        facts = {"schema": _number(metadata["schema"].rpartition("/")[2]), **parse_json(metadata[short])}
    elif metadata.get("format", "").startswith(f"{kind}."):  # probe moves
        facts = {**metadata, "schema": _number(metadata["format"].rpartition(".")[2])}
    else:
        raise ValueError(f"it has no {kind!r} in its metadata, so it holds something else than {kind}/{schema}")
    found = facts.pop("schema", None)
    if found != schema or isinstance(found, bool):
        raise ValueError(f"its schema is {found!r}, and {kind}/{schema} is read; update genmend if it is newer")
    return facts


def _reason(fault: Exception, start: bytes) -> str:
    """What is wrong with a file that begins with `start`."""
    if not isinstance(fault, SafetensorError):
        return str(fault) or type(fault).__name__
    # A safetensors file begins with the length of its header, of which these bytes are 0.
    if start[:2] == b"PK" or (start[:1] == b"\x80" and any(start[2:])):
        return "it is a pickle or an archive as torch.save writes, which could run code, and is never opened"
    return f"it is no intact safetensors file ({fault})"


def _number(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def _noun(kind: str, article: str = "") -> str:
    """The kind in words: ``genmend.normal_region`` is "normal region", with the article unless it is a plural."""
    words = kind.removeprefix("genmend").strip("._").replace("_", " ")
    return words if words.endswith("s") else article + words
