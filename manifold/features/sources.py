"""What features can be taken of: folders, files and arrays of images or audio, all as numbered samples."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from genmend.manifold.engine.inputs import is_tensor, tensor_values
from genmend.manifold.features.audio_files import AUDIO_SUFFIXES, check_wave, read_audio
from genmend.manifold.features.image_arrays import array_of, channels_last, check_image_type, is_picture, pixels_of
from genmend.manifold.features.image_files import FORMATS, IMAGE_SUFFIXES, decode_image, image_bytes
from genmend.manifold.features.unusable import UnusableSampleError
from genmend.storage.digests import sha256_of, sha256_of_file

__all__ = ["Samples", "image_samples", "samples_of"]

_HASHED_BYTES = 1 << 32
_ACCEPTED = (
    f"a folder or list of images ({', '.join(FORMATS)}) or audio files, images (n, 3, h, w) in [0, 1] or uint8 or a "
    "list of images, waves with their sample_rate, or features (n, d) (.npy, .npz, .safetensors, .csv)"
)


@dataclass(frozen=True)
class Samples:
    """Samples of one kind. `digest(i)` names the content of one; `load(i)` gives its digest and the sample itself.

    An image is a tensor (3, h, w) in [0, 1], a recording a pair: mono wave (samples,) and sample rate.
    """

    kind: str
    names: list[str]
    digest: Callable[[int], bytes]
    load: Callable[[int], tuple[bytes, Any]]
    description: str
    paths: list[Path] | None = None

    def place(self, index: int) -> str:
        """Where one sample is, for a message: its path, or its name where it is in memory."""
        return self.names[index] if self.paths is None else str(self.paths[index])


def samples_of(source: Any, sample_rate: int | None = None) -> Samples:
    """Find out what a source holds; nothing is read yet.

    Raises
    ------
    ValueError
        If it is empty, mixes images and audio, or has a shape that is not accepted.
    FileNotFoundError
        If there is no such path.
    TypeError
        If it is of another type.
    """
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if path.is_dir():
            return _folder(path)
        if path.exists():
            return _files([path], [path.name], str(path))
        raise FileNotFoundError(f"There is no {path}; give {_ACCEPTED}.")
    if is_tensor(source):
        source = tensor_values(source, "The source")
    if isinstance(source, np.ndarray):
        if sample_rate is None:
            return image_samples(source, f"{len(source) if source.ndim else 0} images in memory")
        return _waves(list(source), sample_rate)
    if isinstance(source, Sequence) and source and all(isinstance(entry, (str, os.PathLike)) for entry in source):
        return _files([Path(entry) for entry in source], [str(entry) for entry in source], "a list of files")
    if isinstance(source, Sequence) and not isinstance(source, bytes):
        if not source:
            raise ValueError(f"The source is an empty list; give {_ACCEPTED}.")
        shapes = {_n_dimensions(entry) for entry in source}
        if shapes == {1} or sample_rate is not None:
            return _waves([array_of(entry, f"wave {i}") for i, entry in enumerate(source)], sample_rate)
        if shapes <= {2, 3}:
            return _image_list(source)
    raise TypeError(f"The source is a {type(source).__name__}; give {_ACCEPTED}.")


def _folder(folder: Path) -> Samples:
    found = []
    seen = {folder.resolve()}
    for place, folders, files in os.walk(folder, followlinks=True):
        below = {name: Path(place, name).resolve() for name in folders if not name.startswith(".")}
        folders[:] = [name for name, real in below.items() if real not in seen]  # links may lead round in a circle
        seen |= set(below.values())
        found += [Path(place, name) for name in files if not name.startswith(".")]
    known = [path for path in found if path.suffix.lower() in IMAGE_SUFFIXES | AUDIO_SUFFIXES]
    if not known:
        endings = ", ".join(sorted({path.suffix or path.name for path in found})[:5])
        raise ValueError(
            f"{folder} holds no images ({', '.join(FORMATS)}) and no audio files"
            f"{f', only {endings}' if endings else ''}; give a folder that does."
        )
    named = sorted((path.relative_to(folder).as_posix(), path) for path in known)
    return _files([path for _, path in named], [name for name, _ in named], str(folder))


def _files(paths: list[Path], names: list[str], description: str) -> Samples:
    endings = {path.suffix.lower() for path in paths}
    if endings <= AUDIO_SUFFIXES:
        return Samples(
            "audio", names, lambda i: _digest_of_file(paths[i]), lambda i: _recording(paths[i]), description, paths
        )
    if endings <= IMAGE_SUFFIXES:
        return Samples(
            "images", names, lambda i: _digest_of_file(paths[i]), lambda i: _image(paths[i]), description, paths
        )
    if endings <= AUDIO_SUFFIXES | IMAGE_SUFFIXES:
        raise ValueError(f"{description} holds both images and audio ({', '.join(sorted(endings))}); give one kind.")
    other = sorted(endings - AUDIO_SUFFIXES - IMAGE_SUFFIXES)
    raise ValueError(f"{description} holds files of other kinds ({', '.join(other)}); give {_ACCEPTED}.")


def _image(path: Path) -> tuple[bytes, Tensor]:
    content = image_bytes(path)  # once: what is decoded is what was hashed
    return bytes.fromhex(sha256_of([content])), decode_image(content, path)


def _recording(path: Path) -> tuple[bytes, tuple[np.ndarray, int]]:
    return _digest_of_file(path), read_audio(path)


def _digest_of_file(path: Path) -> bytes:
    try:
        if path.stat().st_size > _HASHED_BYTES:
            raise UnusableSampleError(path, f"it is larger than {_HASHED_BYTES >> 30} GB")
        return bytes.fromhex(sha256_of_file(path))
    except OSError as error:
        raise UnusableSampleError(path, f"{error.strerror or error}; give a file that can be read") from error


def _n_dimensions(entry: Any) -> int:
    return 3 if is_picture(entry) else int(np.ndim(entry)) if not is_tensor(entry) else int(entry.ndim)


def _image_list(images: Sequence[Any]) -> Samples:
    """Images of sizes of their own, each turned into an array only when its turn comes."""

    def single(index: int) -> Samples:
        try:
            pixels = array_of(images[index], f"image {index}")
            return image_samples(pixels[None, ..., None] if pixels.ndim == 2 else pixels[None], "an image")
        except ValueError as error:
            raise UnusableSampleError(f"image {index}", str(error)) from error

    def load(index: int) -> tuple[bytes, Tensor]:
        try:
            return single(index).load(0)
        except UnusableSampleError as error:
            raise UnusableSampleError(f"image {index}", error.reason) from error

    return Samples(
        "images", _numbers(images), lambda index: single(index).digest(0), load, f"{len(images)} images in memory"
    )


def _waves(waves: list[np.ndarray], sample_rate: int | None) -> Samples:
    if sample_rate is None:
        raise ValueError("The source is a list of waves: give their sample_rate in Hertz, too.")
    if not waves or any(wave.ndim != 1 for wave in waves):
        raise ValueError(f"Waves have shapes {[wave.shape for wave in waves][:3]}; give at least one, mono (samples,).")
    rate = int(sample_rate)

    def load(index: int) -> tuple[bytes, tuple[np.ndarray, int]]:
        return digest(index), (check_wave(waves[index], rate, str(index)), rate)

    def digest(index: int) -> bytes:
        return _digest_of_array(waves[index], f"{rate} Hz")

    return Samples("audio", _numbers(waves), digest, load, f"{len(waves)} waves in memory")


def image_samples(array: np.ndarray, description: str) -> Samples:
    """The images of an array of any accepted shape; of one that is mapped from a file only those that are looked at."""
    images = channels_last(array)
    check_image_type(array)

    def load(index: int) -> tuple[bytes, Tensor]:
        return digest(index), pixels_of(images[index], str(index))

    def digest(index: int) -> bytes:
        return _digest_of_array(images[index], "image")

    return Samples("images", _numbers(array), digest, load, description)


def _digest_of_array(array: np.ndarray, what: str) -> bytes:
    return bytes.fromhex(sha256_of([f"{what} {array.dtype} {array.shape};", array]))


def _numbers(array: Any) -> list[str]:
    return [str(index) for index in range(len(array))]
