"""Whether a recording's file ends where its own container says: decoders play what is left of a torn one in silence."""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

__all__ = ["cut_off"]

# A program that writes into a pipe doesn't know the length and puts a number of about this size, or none.
_UNKNOWN = 0x7FFF0000
_LARGEST_OGG_PAGE = 27 + 255 + 255 * 255


def cut_off(file: BinaryIO) -> str | None:
    """Say what is missing at the end of a WAV, AIFF or OGG file; None where nothing is, and for other formats.

    FLAC decoders find out by themselves; an MP3 file is a stream of frames and has no end.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(12)
    if start[:4] == b"RIFF" and start[8:] == b"WAVE":
        return _short_chunk(file, size, b"data", "<")
    if start[:4] == b"FORM" and start[8:] in (b"AIFF", b"AIFC"):
        return _short_chunk(file, size, b"SSND", ">")
    if start[:4] == b"OggS":
        file.seek(max(0, size - _LARGEST_OGG_PAGE))
        return None if _last_page_ends(file.read()) else "its last page does not end the stream"
    return None


def _short_chunk(file: BinaryIO, size: int, wanted: bytes, order: str) -> str | None:
    """The same of the chunk of sound, in a file of chunks: four letters, a length, that many bytes, an even number."""
    while len(header := file.read(8)) == 8:
        length = struct.unpack(f"{order}I", header[4:])[0]
        there = size - file.tell()
        if header[:4] == wanted:
            if length > there and length < _UNKNOWN:
                return f"its header announces {length} bytes of sound, and {there} are there"
            return None
        file.seek(length + length % 2, os.SEEK_CUR)
    return None  # without such a chunk a decoder complains


def _last_page_ends(tail: bytes) -> bool:
    """Whether the last page (letters, version, flags, ..., table of lengths, content) is whole and flagged as last."""
    place = tail.rfind(b"OggS")
    if place < 0 or len(tail) < place + 27:
        return False
    lengths = tail[place + 27 : place + 27 + tail[place + 26]]
    whole = len(tail) >= place + 27 + tail[place + 26] + sum(lengths)
    return whole and bool(tail[place + 5] & 4)
