"""The three ways in which checkpoints lie in a file, read without running what is in them.

torch.save's zip archive, torch.save's older format (several pickles, then the numbers), and a plain pickle, as NVIDIA
publishes its models; in that, each tensor's numbers are bytes of the older format.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from genmend.gans.conversion.arrays import Storage
from genmend.gans.conversion.unpickling import Made, Name, Persistent, PickleError, read_pickle

__all__ = ["explain_kind", "is_safetensors", "read_checkpoint"]

_OTHER_KINDS = {
    b"\x1f\x8b": "compressed by gzip: unpack it first",
    b"BZh": "compressed by bzip2: unpack it first",
    b"\xfd7zXZ": "compressed by xz: unpack it first",
    b"7z\xbc\xaf": "a 7z archive: unpack it first",
    b"Rar!": "a RAR archive: unpack it first",
    b"\x89HDF": "an HDF5 file, as Keras writes them, and convert reads those of PyTorch",
    b"\x93NUMPY": "a single numpy array, and no checkpoint",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
}
_PRINTABLE = frozenset(range(32, 127)) | {9, 10, 13}
_MAGIC = 0x1950A86A20F9469CFC6C
_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors do: the header's length, and the header, which is JSON."""
    with path.open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") <= path.stat().st_size - 8


def explain_kind(path: Path) -> None:
    """Raise PickleError with what a file is where its beginning says that it is no checkpoint."""
    with path.open("rb") as file:
        start = file.read(512)
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"version https://git-lfs"):
        raise PickleError(
            "it is a Git LFS pointer, a few lines in place of the file: fetch the file itself, e.g. with git lfs pull"
        )
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--")):
        raise PickleError(
            "it is a web page, as a link gives that wants a login or a confirmation: download the file itself"
        )
    for beginning, kind in _OTHER_KINDS.items():
        if start.startswith(beginning):
            raise PickleError(f"it is {kind}")
    if start and all(byte in _PRINTABLE for byte in start) and not start.startswith((b"(", b"c", b"]", b"}")):
        shown = start[:60].decode("ascii").split("\n")[0]
        raise PickleError(f"it is a text that begins {shown!r}, and no checkpoint: download or export the file again")


def read_checkpoint(path: Path) -> tuple[Any, list[Name], Storage]:
    """Return what a file would have made, the names that it asks for, and a function that gives a tensor's numbers.

    Raises
    ------
    PickleError
        If the file is damaged or of another kind.
    """
    if zipfile.is_zipfile(path):
        return _read_zip(path)
    with path.open("rb") as file:
        return _read_stream(file)


def _read_zip(path: Path) -> tuple[Any, list[Name], Storage]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > path.stat().st_size:
                raise PickleError("its members are larger than the archive: torch.save compresses nothing")
            pickles = [m.filename for m in members if m.filename.split("/")[-1] == "data.pkl"]
            if len(pickles) != 1:
                inside = ", ".join(member.filename for member in members[:5]) or "nothing"
                raise PickleError(f"it is a zip archive of {inside}, and none of torch.save's: unpack it first")
            (pickled,) = pickles
            folder = pickled.removesuffix("data.pkl")
            names = {member.filename for member in members}
            if f"{folder}byteorder" in names and archive.read(f"{folder}byteorder") != b"little":
                raise PickleError("its numbers are big-endian")
            root, asked, outside = read_pickle(io.BytesIO(archive.read(pickled)))
            keys = _dtypes(outside)
            stored = {key: archive.read(f"{folder}data/{key}") for key in keys}
    except PickleError:
        raise
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        raise PickleError(f"it is no archive of torch.save's ({error})") from error
    return root, asked, _storage_of(stored)


def _read_stream(file: BinaryIO) -> tuple[Any, list[Name], Storage]:
    """The older format of torch.save, or a plain pickle."""
    root, asked, outside = read_pickle(file)
    if root != _MAGIC:
        if outside:
            raise PickleError("its tensors' numbers are in another place that it does not name")
        return root, asked, _storage_of({})
    read_pickle(file)  # the format's version
    system, _, _ = read_pickle(file)
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise PickleError("its numbers are big-endian")
    root, asked, outside = read_pickle(file)
    keys, _, _ = read_pickle(file)
    dtypes = _dtypes(outside)
    if not isinstance(keys, list) or not set(map(str, keys)) <= set(dtypes):
        raise PickleError("its list of numbers does not fit its tensors")
    return root, asked, _storage_of({str(key): _read_numbers(file, dtypes[str(key)]) for key in keys})


def _read_numbers(file: BinaryIO, dtype: torch.dtype) -> bytes:
    length = int.from_bytes(file.read(8), "little", signed=True) * torch.empty(0, dtype=dtype).element_size()
    # Asked in two steps, so that a length that lies never allocates more than the file has.
    data = file.read(max(length, 0)) if length < 2**26 else b"".join(_blocks(file, length))
    if len(data) != length:
        raise PickleError(f"a tensor has {length} bytes by its own word, and {len(data)} follow")
    return data


def _blocks(file: BinaryIO, length: int) -> list[bytes]:
    blocks = []
    while length and (block := file.read(min(length, 2**26))):
        blocks.append(block)
        length -= len(block)
    return blocks


def _dtypes(outside: list[Persistent]) -> dict[str, torch.dtype]:
    """Type of the numbers by key; classes, which the older format refers to with their source text, have none."""
    classes = [item for item in outside if isinstance(item.identifier, tuple) and item.identifier[:1] == ("module",)]
    return {_parts(item)[1]: _parts(item)[0] for item in outside if item not in classes}


def _parts(item: Persistent) -> tuple[torch.dtype, str, Any]:
    """Type of the numbers, key, and the part of it that is meant: the fields of torch's persistent identifiers."""
    identifier = item.identifier
    if not isinstance(identifier, tuple) or len(identifier) < 5 or identifier[0] != "storage":
        raise PickleError(f"it refers to something outside that is no storage: {identifier!r:.80}")
    kind = identifier[1]
    if not isinstance(kind, Name) or kind.name not in _DTYPES:
        raise PickleError(f"it has numbers of the type {kind}; the known types are {', '.join(_DTYPES)}")
    return _DTYPES[kind.name], str(identifier[2]), identifier[5] if len(identifier) > 5 else None


def _storage_of(stored: Mapping[str, bytes]) -> Storage:
    """How to get from what stands for a storage in the tree to its numbers."""
    known: dict[str, Tensor] = {}

    def storage(value: Any) -> Tensor:
        if isinstance(value, Made) and value.of == Name("torch.storage", "_load_from_bytes"):
            data = value.args[0]
            if isinstance(data, Made):  # bytes as the older protocols write them
                data = str(data.args[0]).encode("latin1")
            root, _, inner = _read_stream(io.BytesIO(data))
            return inner(root)
        if not isinstance(value, Persistent):
            raise PickleError(f"a tensor's numbers are a {type(value).__name__}")
        dtype, key, view = _parts(value)
        if key not in stored:
            raise PickleError(f"a tensor's numbers {key!r} are missing")
        if key not in known:
            data = bytearray(stored[key])
            known[key] = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
        numbers = known[key]
        return numbers if view is None else numbers[view[1] : view[1] + view[2]]

    return storage
