"""What features can be taken of: folders, files and arrays of images or audio, all as numbered samples."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genmend.manifold.engine.inputs import as_features, is_tensor, tensor_values
from genmend.manifold.features.feature_arrays import array_sources, open_array
from genmend.manifold.features.image_arrays import array_of, is_picture
from genmend.manifold.features.image_files import FORMATS
from genmend.manifold.features.sources.array_shards import array_labels, image_shards
from genmend.manifold.features.sources.datasets import dataset_samples, is_dataset
from genmend.manifold.features.sources.files import SAMPLE_SUFFIXES, sample_files
from genmend.manifold.features.sources.memory import image_list, image_samples, waves
from genmend.manifold.features.sources.parquet_images import PARQUET_SUFFIXES, parquet_samples
from genmend.manifold.features.sources.samples import Samples
from genmend.manifold.features.sources.tar_shards import is_compressed_tar, tar_samples
from genmend.storage.named_paths import named_paths

__all__ = ["samples_of"]

_ACCEPTED = (
    f"a folder or list of images ({', '.join(FORMATS)}) or audio files, .tar or .parquet files of images, images "
    "(n, 3, h, w) in [0, 1] or uint8 or a list of images, waves with their sample_rate, or features (n, d) (.npy, "
    ".npz, .safetensors, .csv)"
)
# How the shards of one part of a data set are called: train-00000-of-00003.parquet.
_PART = re.compile(r"(?P<part>.+?)-\d{3,}-of-\d{3,}")


def samples_of(source: Any, sample_rate: int | None = None) -> Samples:
    """Find out what a source holds; no sample is read yet.

    Raises
    ------
    ValueError
        If it is empty, mixes images and audio, or has a shape that is not accepted.
    FileNotFoundError
        If there is no such path.
    ModuleNotFoundError
        If it is a parquet file, and pyarrow is not installed.
    TypeError
        If it is of another type.
    """
    if sample_rate is None and (arrays := array_sources(source)):
        return _images_of_arrays(arrays, str(source) if isinstance(source, (str, os.PathLike)) else "a list of files")
    if isinstance(source, (str, os.PathLike)):
        return _named(source)
    if is_tensor(source):
        source = tensor_values(source, "The source")
    if isinstance(source, np.ndarray):
        if sample_rate is None:
            return image_samples(source, f"{len(source) if source.ndim else 0} images in memory")
        return waves(list(source), sample_rate)
    if isinstance(source, Sequence) and source and all(isinstance(entry, (str, os.PathLike)) for entry in source):
        return _files([Path(entry) for entry in source], [str(entry) for entry in source], "a list of files")
    if isinstance(source, Mapping) and source:
        parts = ", ".join(map(str, list(source)[:6]))
        raise TypeError(f"The source is a {type(source).__name__} of {parts}; give one of them.")
    if is_dataset(source):
        return dataset_samples(source)
    if isinstance(source, Sequence) and not isinstance(source, bytes):
        if not source:
            raise ValueError(f"The source is an empty list; give {_ACCEPTED}.")
        shapes = {_n_dimensions(entry) for entry in source}
        if shapes == {1} or sample_rate is not None:
            return waves([array_of(entry, f"wave {i}") for i, entry in enumerate(source)], sample_rate)
        if shapes <= {2, 3}:
            return image_list(source)
    raise TypeError(f"The source is a {type(source).__name__}; give {_ACCEPTED}.")


def _named(source: str | os.PathLike[str]) -> Samples:
    """What a path names, or a path and a part of it, or a pattern."""
    try:
        named = named_paths(source)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}; give {_ACCEPTED}.") from None
    first = named.paths[0]
    if not named.is_pattern and first.is_dir():
        return _folder(first, named.key)
    return _files(named.paths, [path.name for path in named.paths], str(source), named.key)


def _folder(folder: Path, key: str) -> Samples:
    found = []
    seen = {folder.resolve()}
    for place, folders, files in os.walk(folder, followlinks=True):
        below = {name: Path(place, name).resolve() for name in folders if not name.startswith(".")}
        folders[:] = [name for name, real in below.items() if real not in seen]  # links may lead round in a circle
        seen |= set(below.values())
        found += [Path(place, name) for name in files if not name.startswith(".")]
    for kind in ("sample", "tar", "parquet"):
        if known := [path for path in found if _kind(path) == kind]:
            if kind != "sample":
                _check_one_part(folder, known)
            named = sorted((path.relative_to(folder).as_posix(), path) for path in known)
            return _files([path for _, path in named], [name for name, _ in named], str(folder), key)
    endings = sorted({path.suffix or path.name for path in found})
    remedy = "load it with datasets.load_from_disk and give that" if ".arrow" in endings else "give a folder that does"
    only = f", only {', '.join(endings[:5])}" if endings else ""
    raise ValueError(f"{folder} holds no images ({', '.join(FORMATS)}) and no audio files{only}; {remedy}.")


def _kind(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix in SAMPLE_SUFFIXES:
        return "sample"
    if suffix == ".tar" or is_compressed_tar(path):
        return "tar"
    return "parquet" if suffix in PARQUET_SUFFIXES else ""


def _check_one_part(folder: Path, paths: list[Path]) -> None:
    """Refuse the shards of several parts of a data set, such as those to train on and those to test on."""
    parts = defaultdict(list)
    for path in paths:
        if found := _PART.fullmatch(path.stem):
            parts[path.parent / found["part"]].append(path)
    if len(parts) > 1:
        shown = sorted(str(part.relative_to(folder)) for part in parts)
        example = sorted(parts)[0]
        raise ValueError(
            f"{folder} holds {len(parts)} parts of a data set: {', '.join(shown[:6])}; name one, as "
            f"'{example}-*{paths[0].suffix}'."
        )


def _files(paths: list[Path], names: list[str], description: str, key: str = "") -> Samples:
    """Files of one kind: samples themselves, or shards that hold many."""
    kinds = {_kind(path) for path in paths}
    missing = next((path for path in paths if kinds != {"sample"} and not path.is_file()), None)
    if missing is not None and "" not in kinds:
        raise FileNotFoundError(f"{missing} is no file; give {_ACCEPTED}.")
    if kinds == {"sample"} and not key:
        return sample_files(paths, names, description)
    if kinds == {"tar"}:
        for path in paths:
            if is_compressed_tar(path):
                raise ValueError(f"{path} is compressed, and an image in it is found only by unpacking all before it; "
                                 f"give the plain .tar.")  # fmt: skip
        return tar_samples(paths, key, description)
    if kinds == {"parquet"}:
        return parquet_samples(paths, key, description)
    endings = sorted({path.suffix.lower() for path in paths})
    if kinds == {"sample"}:
        raise ValueError(f"{description}: parts can be named of arrays, parquet files and tar archives, and it holds "
                         f"images or recordings.")  # fmt: skip
    if "" not in kinds:
        raise ValueError(f"{description} holds files of several kinds ({', '.join(endings)}); give one kind.")
    other = sorted({path.suffix.lower() for path in paths if not _kind(path)})
    raise ValueError(f"{description} holds files of other kinds ({', '.join(other)}); give {_ACCEPTED}.")


def _images_of_arrays(sources: list[Any], description: str) -> Samples:
    """The images of one file of an array, or of several."""
    array = open_array(sources[0])
    if array.ndim == 2:
        raise ValueError(f"{description} holds features (n, d); images or recordings are needed here.")
    if array.ndim not in (3, 4):
        as_features(array, str(sources[0]))  # says what is wrong with it
    if len(sources) > 1:
        return image_shards(sources, description)
    try:
        labels = array_labels(sources[0], len(array)) or []
        return image_samples(array, description, dict(enumerate(labels)))
    except ValueError as error:
        raise ValueError(f"{description}: {error}") from error


def _n_dimensions(entry: Any) -> int:
    return 3 if is_picture(entry) else int(np.ndim(entry)) if not is_tensor(entry) else int(entry.ndim)
