"""Reading one recording: in blocks, with limits, because a header is only a claim.

Decoders play what is left of a torn file without a complaint, so `cut_off` checks whether the file ends where its own
container says.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from genmend.manifold.features.unusable import UnusableSampleError

__all__ = ["AUDIO_SUFFIXES", "check_wave", "cut_off", "read_audio"]

# What counts as a recording in a folder; a format that libsndfile cannot read is an error there.
AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".m4a", ".aac", ".wma"})

MOST_SECONDS = 600
MOST_CHANNELS = 8
RATES = (4_000, 192_000)

# Channels whose mean has so small a share of their power cancel each other: rounding noise is left (-40 dB).
_CANCELLED = 1e-4
_LOUDEST = 32.0  # floats may go beyond full scale, but not as far as integers do
_BLOCK = 1 << 16
# A program that writes into a pipe doesn't know the length and puts a number of about this size, or none.
_UNKNOWN = 0x7FFF0000
_LARGEST_OGG_PAGE = 27 + 255 + 255 * 255


def read_audio(path: str | Path) -> tuple[NDArray[np.float32], int]:
    """Read a recording (WAV, FLAC, OGG, MP3, AIFF) as mono, the mean of its channels.

    Returns
    -------
    wave : ndarray (samples,) float32
        Full scale is 1.
    sample_rate : int
        Hertz.

    Raises
    ------
    UnusableSampleError
        If the file is missing, damaged, cut off (as far as its format tells), empty, longer than 10 minutes, has more
        than 8 channels, channels that cancel each other, a rate outside 4 to 192 kHz, or samples that are not finite. A
        ValueError; its attributes are `path` and `reason`.
    ModuleNotFoundError
        If the package soundfile is not installed.
    """
    try:
        import soundfile
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Reading audio needs the package soundfile, which is not installed: pip install 'genmend[audio]'.",
            name="soundfile",
        ) from error
    blocks: list[NDArray[np.float32]] = []
    power = 0.0  # of all channels
    try:
        with open(path, "rb") as content:
            missing = cut_off(content)
        with soundfile.SoundFile(path) as file:
            rate = int(file.samplerate)
            _check_format(path, rate, file.channels)
            left = MOST_SECONDS * rate
            # Until nothing comes: the number of frames in the header is never used.
            while len(block := file.read(_BLOCK, dtype="float32", always_2d=True)):
                left -= len(block)
                if left < 0:
                    raise UnusableSampleError(path, f"it is longer than {MOST_SECONDS // 60} minutes; cut it")
                blocks.append(block.mean(axis=1, dtype=np.float32))
                power += float(np.square(block, dtype=np.float64).mean(axis=1).sum())
    except UnusableSampleError:
        raise
    except OSError as error:
        raise UnusableSampleError(path, f"{error.strerror or error}; give a file that can be read") from error
    except Exception as error:  # whatever a decoder does on hostile bytes, the caller gets one kind of error
        reason = str(error).removeprefix(f"Error opening {str(path)!r}: ") or type(error).__name__
        raise UnusableSampleError(path, f"it is no whole WAV, FLAC, OGG, MP3 or AIFF file ({reason})") from error
    if missing:
        raise UnusableSampleError(path, f"it ends too early: {missing}")
    wave = check_wave(np.concatenate(blocks) if blocks else np.zeros(0), rate, path)
    if float(np.square(wave, dtype=np.float64).sum()) < _CANCELLED * power:
        raise UnusableSampleError(path, "its channels cancel each other, so their mean is silence; give one of them")
    return wave, rate


def check_wave(wave: NDArray[np.floating], rate: int, path: str | Path) -> NDArray[np.float32]:
    """One mono wave as float32, if it is within the limits of `read_audio`; `path` is what an error calls it.

    Integers are brought to full scale 1 by their type, as files of them are (those without a sign have their zero
    in the middle).
    """
    _check_format(path, rate, 1)
    if wave.dtype.kind in "iu":
        largest = 2.0 ** (8 * wave.dtype.itemsize - 1)
        wave = (wave.astype(np.float64) - (largest if wave.dtype.kind == "u" else 0)) / largest
    if wave.size == 0:
        raise UnusableSampleError(path, "it holds no samples")
    if wave.size > MOST_SECONDS * rate:
        raise UnusableSampleError(path, f"it is longer than {MOST_SECONDS // 60} minutes; cut it")
    finite = np.isfinite(wave)
    if not finite.all():
        raise UnusableSampleError(path, f"sample {int(np.flatnonzero(~finite)[0])} is not finite")
    peak = float(np.abs(wave).max())
    if peak > _LOUDEST:
        raise UnusableSampleError(
            path, f"its samples reach {peak:g}, and full scale is 1; divide by what it is in yours"
        )
    return wave.astype(np.float32, copy=False)


def _check_format(path: str | Path, rate: int, channels: int) -> None:
    if not RATES[0] <= rate <= RATES[1]:
        raise UnusableSampleError(path, f"its sample rate is {rate} Hz, and {RATES[0]} to {RATES[1]} are accepted")
    if channels > MOST_CHANNELS:
        raise UnusableSampleError(path, f"it has {channels} channels, and {MOST_CHANNELS} are the most")


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
    """What is missing of the chunk of sound. A chunk is four letters, a length, and that many bytes, padded to even."""
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
