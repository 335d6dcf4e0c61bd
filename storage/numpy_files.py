"""Arrays in .npy and .npz files, checked against the file before anything is allocated; nothing is ever unpickled.

A header is only a claim: its shape and type are compared with the bytes that are there.
"""

from __future__ import annotations

import os
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

__all__ = ["npz_names", "open_npy", "open_npz", "read_numbers"]

# What numpy's reader of headers, a Python parser, may raise on damaged bytes.
_UNREADABLE = (ValueError, TypeError, OverflowError, EOFError, SyntaxError, tokenize.TokenError, MemoryError,
               RecursionError)  # fmt: skip
_DEFLATE_MOST = 1100  # bytes that one byte can stand for, with room
_BLOCK = 1 << 24
_MOST_AXES = 32
_LOCAL_HEADER = 30  # bytes of a zip member's own header, before its name


class _Header(NamedTuple):
    shape: tuple[int, ...]
    column_major: bool
    dtype: np.dtype
    offset: int  # of the values, from where the header begins


def open_npy(path: str | os.PathLike[str]) -> np.ndarray:
    """Open the array of a .npy file, mapped read-only: nothing is read but what is looked at.

    Any shape, order, and type but objects; column by column (Fortran order) comes as a view of that order.

    Raises
    ------
    ValueError
        If it is no .npy file, is damaged or cut off, or holds objects; the message names the file.
    OSError
        If it cannot be opened.
    """
    path = Path(path)
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if zipfile.is_zipfile(path) and file.read(2) == b"PK":
            raise ValueError(f"{path} is a zip archive, as .npz files are; save the array alone with numpy.save")
        file.seek(0)
        header = _read_header(file, size, str(path))
    return _mapped(path, header, 0, str(path))


def read_numbers(path: str | os.PathLike[str]) -> np.ndarray:
    """Read a .npy file of numbers or truth values into memory, in this machine's byte order and row by row.

    Raises
    ------
    ValueError
        As `open_npy`, and for text, dates, structures and complex numbers.
    OSError, MemoryError
        If it cannot be opened, or held.
    """
    array = open_npy(path)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{path} holds {array.dtype} values; numbers are accepted, saved with numpy.save")
    wide = array.dtype.kind == "f" and array.dtype.itemsize > 8  # longer than what others hold
    return np.array(array, np.float64 if wide else array.dtype.newbyteorder("="), order="C")


def npz_names(path: str | os.PathLike[str]) -> list[str]:
    """The names of the arrays of an .npz file, in its order.

    Raises
    ------
    ValueError
        If it is no zip archive, or a damaged one.
    OSError
        If it cannot be opened.
    """
    with Path(path).open("rb"):  # the ordinary error where it is a folder, or not there
        pass
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except Exception as error:  # a damaged zip raises whatever its reader does
        raise ValueError(f"{path} is no intact .npz file: it is no zip archive ({error})") from error


def open_npz(path: str | os.PathLike[str], name: str) -> np.ndarray:
    """Open one array of an .npz file, its check sum compared: mapped if it is stored as it is, else unpacked.

    Raises
    ------
    ValueError
        If the file is damaged, has no array of that name, or holds objects there.
    OSError
        If it cannot be opened.
    """
    path, names = Path(path), npz_names(path)
    if name not in names:
        raise ValueError(f"{path} holds no array {name!r}; it holds {', '.join(sorted(names)[:8]) or 'none'}")
    place = f"{path}:{name}"
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            info = members[name]
            if info.file_size > _DEFLATE_MOST * info.compress_size + _BLOCK:
                raise ValueError(f"it announces {info.file_size} bytes and holds {info.compress_size}")
            with archive.open(info) as file:
                header = _read_header(file, info.file_size, place)
            if info.compress_type == zipfile.ZIP_STORED:
                _check_sum(archive, info)
                return _mapped(path, header, _start_of(path, info), place)
            content = archive.read(info)
    except OSError:
        raise
    except Exception as error:  # a damaged zip raises whatever its decoder does
        raise ValueError(f"{place} is no intact array of an .npz file ({error})") from error
    return _shaped(np.frombuffer(content, header.dtype, _count(header), header.offset), header)


def _read_header(file: IO[bytes], size: int, place: str) -> _Header:
    """The header at the beginning of `file`, of which `size` bytes are there."""
    try:
        version = np.lib.format.read_magic(file)
        read: Any = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, column_major, dtype = read(file)
        offset = file.tell()
    except _UNREADABLE as error:
        raise ValueError(f"{place} is no intact .npy file: its header cannot be read; write it again with numpy.save"
                         ) from error  # fmt: skip
    if dtype.hasobject:
        raise ValueError(f"{place} holds {dtype} values, which would be unpickled and could run code; save numbers")
    header = _Header(tuple(shape), bool(column_major), dtype, offset)
    if len(header.shape) > _MOST_AXES or dtype.itemsize == 0 or any(not 0 <= n < 1 << 62 for n in header.shape):
        raise ValueError(
            f"{place} announces a shape, or a type, that no array has: {str(header.shape)[:80]} of {dtype}"
        )
    wanted = _count(header) * dtype.itemsize
    if wanted > size - offset:
        raise ValueError(f"{place} is cut off: its header announces shape {header.shape} of {dtype}, {wanted} bytes, "
                         f"and {size - offset} are there; write it again")  # fmt: skip
    return header


def _count(header: _Header) -> int:
    count = 1
    for length in header.shape:  # in Python's integers, which do not overflow
        count *= length
    return count


def _mapped(path: Path, header: _Header, start: int, place: str) -> np.ndarray:
    order: Any = "F" if header.column_major else "C"
    try:
        if not _count(header):
            return np.empty(header.shape, header.dtype, order)
        return np.memmap(path, header.dtype, "r", start + header.offset, header.shape, order)
    except (ValueError, OverflowError, TypeError) as error:
        raise ValueError(f"{place} cannot be opened with shape {header.shape} of {header.dtype} ({error})") from error


def _shaped(values: np.ndarray, header: _Header) -> np.ndarray:
    return values.reshape(header.shape, order="F" if header.column_major else "C")


def _check_sum(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
    """Read a member to its end, which raises where its check sum is another."""
    found = 0
    with archive.open(info) as file:
        while block := file.read(_BLOCK):
            found = zlib.crc32(block, found)
    if found != info.CRC:
        raise ValueError("its check sum is not that of its bytes")


def _start_of(path: Path, info: zipfile.ZipInfo) -> int:
    """Where the bytes of a stored member begin in the file."""
    with path.open("rb") as file:
        file.seek(info.header_offset + 26)
        lengths = file.read(4)
    return (
        info.header_offset
        + _LOCAL_HEADER
        + int.from_bytes(lengths[:2], "little")
        + int.from_bytes(lengths[2:], "little")
    )
