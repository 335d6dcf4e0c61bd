"""Arrays in files that a user brings: features (n, d), and images (n, h, w, 3) as samplers write them.

.npy and .safetensors files, and what an .npz file stores as it is, stay on disk as far as their type allows.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from genmend.manifold.engine.inputs import as_features, to_array
from genmend.manifold.features.feature_tables import TABLE_SUFFIXES, read_table
from genmend.manifold.sharded.mapped_features import SUFFIXES, FeatureShards, open_features
from genmend.storage.named_paths import named_paths
from genmend.storage.numpy_files import npz_names, open_npy, open_npz

__all__ = [
    "FEATURE_SUFFIXES",
    "array_sources",
    "holds_array",
    "named_array",
    "open_array",
    "read_features",
    "shard_paths",
]

SHARD_SUFFIXES = frozenset({*SUFFIXES, ".npz"})
FEATURE_SUFFIXES = frozenset({*SUFFIXES, ".npz", *TABLE_SUFFIXES})
# What an array that is meant is called where a file holds several: ours, numpy's own of an array without a name, and
# those of dgm-eval and of common scripts. The others are labels, then.
_KNOWN_NAMES = ("features", "arr_0", "feats", "reps", "embeddings", "images")
_BESIDE = {".txt", ".json", ".csv", ".tsv", ".md", ".log"}  # what may lie beside shards
_WITH_NAME = re.compile(r"(?P<path>.+\.(?:npz|safetensors)):(?P<name>[^/\\]+)", re.IGNORECASE | re.DOTALL)


def holds_array(source: Any) -> bool:
    """Whether a source is the path of a file of arrays, by its ending; ``FILE.npz:KEY`` is one, too."""
    if not isinstance(source, (str, os.PathLike)):
        return False
    return named_array(source)[0].suffix.lower() in FEATURE_SUFFIXES and not Path(source).is_dir()


def named_array(source: str | os.PathLike[str]) -> tuple[Path, str]:
    """The file of a source, and the name of an array in it, if one is given: ``FILE.npz:KEY``."""
    named = None if Path(source).exists() else _WITH_NAME.fullmatch(os.fspath(source))
    return (Path(named["path"]), named["name"]) if named else (Path(source), "")


def open_array(source: str | os.PathLike[str]) -> np.ndarray:
    """Open the array of a file, whatever its shape: ``FILE.npz:KEY`` names one of several.

    Two-dimensional ones are features and checked as such; others are images, or what `features_of` refuses.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError, TypeError
        If the file is damaged, or holds objects, several arrays of which none is known, or features that are not
        finite real numbers; the message names the file.
    """
    path, name = named_array(source)
    suffix = path.suffix.lower()
    if not path.exists():
        raise FileNotFoundError(f"There is no {path}; give a .npy, .npz, .safetensors or .csv file.")
    if suffix in TABLE_SUFFIXES:
        return read_table(path)[0]
    if suffix == ".npz":
        array = _of_npz(path, name)
    elif suffix == ".npy":
        array = open_npy(path)
    else:
        return _of_safetensors(path, name)
    if array.ndim != 2:
        return array
    if suffix == ".npy" and array.dtype in (np.float16, np.float32, np.float64) and array.flags.c_contiguous:
        return cast(np.ndarray, open_features(path))  # checked block by block, never as a whole
    return as_features(array, str(source))


def shard_paths(source: Any) -> list[Path]:
    """The .npy, .npz and .safetensors files of a folder, or a list, of nothing but such; none of other sources.

    Text may lie beside them in the folder (.txt, .json, .csv, .md). They are one array, in the order of their names:
    where it does not fit into memory `manifold.ShardedManifold` does without.
    """
    if isinstance(source, Sequence) and not isinstance(source, (str, bytes)):
        paths = [Path(one) for one in source if isinstance(one, (str, os.PathLike))]
        shards = len(paths) == len(source) and all(path.suffix.lower() in SHARD_SUFFIXES for path in paths)
        return paths if shards else []
    if not isinstance(source, (str, os.PathLike)) or not Path(source).is_dir():
        return []
    paths = sorted(path for path in Path(source).iterdir() if not path.name.startswith("."))
    shards = {path.suffix.lower() for path in paths} - _BESIDE <= SHARD_SUFFIXES
    return [path for path in paths if path.suffix.lower() in SHARD_SUFFIXES and path.is_file()] if shards else []


def array_sources(source: Any) -> list[str | os.PathLike[str]]:
    """The files of arrays that a source names, one or several of one set, each as `open_array` takes it; else none.

    A file, ``FILE.npz:KEY``, what `shard_paths` takes, ``FOLDER:KEY`` of .npz files, or a pattern, ``batch_*.npz``.

    Raises
    ------
    FileNotFoundError
        If it is named as a file of arrays, and there is none.
    """
    if not isinstance(source, (str, os.PathLike)):
        return list(shard_paths(source))
    try:
        named = named_paths(source)
    except FileNotFoundError as error:
        if holds_array(source):
            raise FileNotFoundError(f"{error}; give a .npy, .npz, .safetensors or .csv file.") from None
        return []
    if holds_array(source) and not named.is_pattern:
        return [source]
    paths = named.paths if named.is_pattern else shard_paths(named.paths[0])
    if any(path.suffix.lower() not in SHARD_SUFFIXES for path in paths):
        return []
    return [f"{path}:{named.key}" if named.key else path for path in paths]


def read_features(source: str | os.PathLike[str]) -> np.ndarray:
    """Open features (n, d), as far as they can be without reading them; arguments and errors as for `open_array`.

    Raises
    ------
    ValueError
        Also if the array has another number of dimensions.
    """
    array = open_array(source)
    return array if array.ndim == 2 else as_features(array, str(source))


def _of_npz(path: Path, name: str) -> np.ndarray:
    try:
        names = npz_names(path)
    except ValueError as error:
        raise ValueError(f"{error}; write it again with numpy.savez(path, features=features)") from error
    return open_npz(path, name or _meant(names, path))


def _meant(names: list[str], path: Path) -> str:
    """The one array that is meant among the names of a file."""
    known = [name for name in _KNOWN_NAMES if name in names]
    if len(names) == 1 or known:
        return known[0] if known else names[0]
    listed = ", ".join(sorted(names)[:8]) or "none"
    if {"mu", "sigma"} <= set(names):
        raise ValueError(
            f"{path} holds mu and sigma, the mean and covariance that a Fréchet distance (FID) is computed from; the "
            "metrics here need the samples themselves: give their features, (n, d), or the images"
        )
    raise ValueError(f"{path} is no .npz file of one array that is meant: it holds {len(names)} arrays: {listed}; name "
                     f"one, as {path.name}:{sorted(names)[0] if names else 'features'}")  # fmt: skip


def _of_safetensors(path: Path, name: str) -> np.ndarray:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:  # numpy has no bfloat16
            names = list(file.keys())
            chosen = name or ("features" if "features" in names else names[0] if len(names) == 1 else "")
            shape = file.get_slice(chosen).get_shape() if chosen in names else []
            array = to_array(file.get_tensor(chosen), chosen) if chosen in names and (name or len(shape) != 2) else None
    except (SafetensorError, ValueError, OSError) as error:
        raise ValueError(f"{path} is no intact safetensors file ({error}); write it again") from error
    if name and name not in names:
        raise ValueError(f"{path} holds no array {name!r}; it holds {', '.join(sorted(names)[:8]) or 'none'}")
    if array is not None:
        return array if array.ndim != 2 else as_features(array, f"{path}:{chosen}")
    features = open_features(path)
    return np.asarray(features) if isinstance(features, FeatureShards) else features
