"""A folder that holds a shared file: the file, its card, and a short JSON that says which file it is and its digest.

A repository of the hub is such a folder. What stands in the JSON comes from strangers: the name is checked, so is the
size, so is the digest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genmend import __version__
from genmend.storage.atomic import copy_file, write_bytes
from genmend.storage.container import ContainerError, whole_number
from genmend.storage.digests import sha256_of_file
from genmend.storage.hub.card import checked_licence, model_card
from genmend.storage.hub.kinds import KINDS, Kind, describe, kind_of
from genmend.storage.tables import read_json, write_json

__all__ = ["CARD", "INDEX", "MOST_BYTES", "MOST_OF_INDEX", "Entry", "checked_file", "read_index", "write_shelf"]

CARD, INDEX = "README.md", "genmend.json"
MOST_BYTES = 8 << 30
MOST_OF_INDEX = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}\.safetensors")


@dataclass(frozen=True)
class Entry:
    """What the JSON says: the kind, and name, size and SHA-256 of the file."""

    kind: Kind
    file: str
    sha256: str
    n_bytes: int


def write_shelf(file: Path, folder: Path, *, source: str, licence: str, about: str = "") -> Path:
    """Put a file into a folder, with its card and the JSON; files of the same names are replaced.

    Parameters
    ----------
    file
        Of one of `KINDS`; it is copied whole.
    folder
        Made where it is not there.
    source
        What the card's lines on its use name: the folder, or the repository that it will be.
    licence, about
        As the card tells them; see `model_card`.

    Returns
    -------
    Path
        The file in the folder.

    Raises
    ------
    ValueError
        If there is no licence, or the file is of no kind that can be shared.
    OSError
        If it cannot be read, or the folder not be written.
    """
    name = checked_licence(licence)
    kind, described = describe(file)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / kind.file
    copy_file(file, target)
    digest = sha256_of_file(target)
    write_bytes(folder / CARD, model_card(kind, described, source, name, about, digest).encode())
    write_json(
        folder / INDEX,
        {
            "schema": 1,
            "kind": kind.name,
            "file": kind.file,
            "sha256": digest,
            "bytes": target.stat().st_size,
            "licence": name,
            "genmend": __version__,
        },
    )
    return target


def read_index(path: Path, where: str) -> Entry:
    """Read the JSON of a folder or a repository.

    Parameters
    ----------
    path
        Of the JSON.
    where
        The folder or the repository, for messages.

    Raises
    ------
    ContainerError
        If it is damaged or newer, its kind is unknown, or it names a file that could lie elsewhere, is of another
        format or too large.
    """
    try:
        if path.stat().st_size > MOST_OF_INDEX:
            raise ValueError(f"it has {path.stat().st_size} bytes, more than {MOST_OF_INDEX}")
        found = read_json(path)
        if found.get("schema") != 1:
            raise ValueError(f"its schema is {found.get('schema')!r}, and 1 is read; update genmend if it is newer")
        kind = KINDS.get(str(found.get("kind")))
        if kind is None:
            raise ValueError(f"it holds the kind {_short(found.get('kind'))}, and {', '.join(KINDS)} are known")
        file, digest = found.get("file"), found.get("sha256")
        if not isinstance(file, str) or not _NAME.fullmatch(file) or ".." in file:
            raise ValueError(
                f"it names the file {_short(file)}, and a plain name that ends in .safetensors is accepted"
            )
        if not isinstance(digest, str) or not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise ValueError(f"the SHA-256 is {_short(digest)}")
        n_bytes = whole_number(found.get("bytes"), "size in bytes")
        if n_bytes > MOST_BYTES:
            raise ValueError(f"the file has {n_bytes} bytes, more than {MOST_BYTES}")
    except (ValueError, RecursionError) as fault:
        raise ContainerError(f"The {INDEX} of {where} is refused: {fault}; ask for it to be shared anew.") from fault
    return Entry(kind, file, digest, n_bytes)


def checked_file(path: Path, entry: Entry, where: str) -> Path:
    """Return a file's path, once it is what the JSON says: the size, the digest and the kind.

    Raises
    ------
    ContainerError
        If it is another file, or none.
    """
    fault = None
    if not path.is_file():
        fault = "is not there"
    elif path.stat().st_size != entry.n_bytes:
        fault = f"has {path.stat().st_size} bytes, not {entry.n_bytes}"
    elif sha256_of_file(path) != entry.sha256:
        fault = "has another SHA-256"
    elif (found := kind_of(path)[0]) != entry.kind:
        fault = f"holds {found.noun}, not {entry.kind.noun}"
    if fault:
        raise ContainerError(
            f"{entry.file} of {where} {fault}, as its {INDEX} says it: it is damaged or was changed; get it again."
        )
    return path


def _short(value: Any) -> str:
    return repr(value)[:80]
