"""Features that lie in files: memory-mapped, so that a reference need not fit into memory."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from genmend.manifold.engine.inputs import LARGEST, MOST_COLUMNS
from genmend.storage.numpy_files import open_npy

FilePath = str | os.PathLike[str]

SUFFIXES = (".npy", ".safetensors")
_STORED = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": np.uint16}
_ACCEPTED = "float32, float64 and float16, in safetensors also bfloat16, are accepted"
_CHECKED_BYTES = 1 << 24


class FeatureShards:
    """Several files as one read-only (n, d) array that is read where it is indexed.

    Indexing with a row number, a slice or an array of row numbers reads these rows only, widened to float32 where they
    are stored in half precision. `numpy.asarray` reads everything into memory.

    Attributes
    ----------
    paths
        The files, in the order of their rows.
    starts
        Row at which each file begins, and at the end n.
    shape, dtype
        (n, d), and what indexing gives: float32 or float64.
    """

    def __init__(self, paths: Sequence[Path], arrays: Sequence[np.ndarray]) -> None:
        self.paths = tuple(paths)
        self.starts = tuple(accumulate((len(array) for array in arrays), initial=0))
        self.shape = (self.starts[-1], arrays[0].shape[1])
        self.dtype = np.dtype(np.float64 if arrays[0].dtype == np.float64 else np.float32)
        self._arrays = tuple(arrays)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                return self._between(start, max(start, stop))
            rows = np.arange(start, stop, step)
        index = np.asarray(rows)
        if index.dtype.kind not in "iu":
            raise TypeError(f"the index has dtype {index.dtype}; a row number, a slice or an array of row numbers is "
                            f"accepted")  # fmt: skip
        flat = np.where(index < 0, index + len(self), index).ravel()
        if flat.size and not 0 <= flat.min() <= flat.max() < len(self):
            raise IndexError(f"row {rows!r} is out of range for {len(self)} rows")
        shard = np.searchsorted(self.starts, flat, side="right") - 1
        found = np.empty((flat.size, self.shape[1]), dtype=self.dtype)
        for number in np.unique(shard):
            here = shard == number
            found[here] = widen(self._arrays[number][flat[here] - self.starts[number]])
        return found.reshape(*index.shape, self.shape[1])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(self.dtype if dtype is None else dtype, copy=False)

    def _between(self, start: int, stop: int) -> np.ndarray:
        parts = [
            widen(array[max(start - first, 0) : stop - first])
            for array, (first, end) in zip(self._arrays, pairwise(self.starts), strict=True)
            if first < stop and start < end
        ]
        if len(parts) == 1:
            return parts[0]  # within one file of float32 or float64: no copy
        return np.concatenate(parts) if parts else np.empty((0, self.shape[1]), dtype=self.dtype)


def open_features(path: FilePath | Sequence[FilePath], *, check: bool = True) -> np.ndarray | FeatureShards:
    """Open features stored in files as one read-only array, without reading them into memory.

    Parameters
    ----------
    path
        A ``.npy`` or ``.safetensors`` file with one 2-D array (in safetensors the only tensor, or the one called
        ``features``), a folder (its files of these two kinds, in the order of their names), or a sequence of files.
    check
        Whether to read all values once, block by block, and refuse NaN, infinite and huge ones.

    Returns
    -------
    (n, d): a `numpy.memmap` for one file of a type that numpy has, else a `FeatureShards`. Both go wherever features
    are accepted; what keeps them out of memory is float32 or float64 on disk, or `ShardedManifold`, shard by shard.

    Raises
    ------
    FileNotFoundError
        If a file or folder does not exist.
    ValueError
        For a damaged file, another type or number of dimensions, no rows, column-major (Fortran) order, shards that
        differ in width or type, or values that are not finite; the message names the file.
    """
    paths = feature_paths(path)
    arrays = [_map_file(one) for one in paths]
    for one, array in zip(paths, arrays, strict=True):
        if array.shape[1] != arrays[0].shape[1] or array.dtype != arrays[0].dtype:
            raise ValueError(f"{one} holds {array.shape[1]} columns of {_type(array)}, but {paths[0]} holds "
                             f"{arrays[0].shape[1]} of {_type(arrays[0])}; give shards of one extraction")  # fmt: skip
        if check:
            _check_values(array, one)
    return arrays[0] if len(arrays) == 1 and arrays[0].dtype != np.uint16 else FeatureShards(paths, arrays)


def feature_paths(path: FilePath | Sequence[FilePath]) -> list[Path]:
    """The files that a path, a folder or a sequence of paths stands for, in the order of their rows."""
    if not isinstance(path, (str, os.PathLike)):
        found = [Path(one) for one in path]
    elif Path(path).is_dir():
        found = sorted(
            one for one in Path(path).iterdir() if one.suffix.lower() in SUFFIXES and not one.name.startswith(".")
        )
    else:
        found = [Path(path)]
    if not found:
        raise ValueError(f"{path} holds no {' or '.join(SUFFIXES)} file; give files or a folder of them")
    for one in found:
        if not one.is_file():
            raise FileNotFoundError(f"{one} is no file; give {' or '.join(SUFFIXES)} files or a folder of them")
        if one.suffix.lower() not in SUFFIXES:
            raise ValueError(f"{one} ends in {one.suffix!r}; {' and '.join(SUFFIXES)} files are accepted")
    return found


def widen(rows: np.ndarray) -> np.ndarray:
    """Stored rows as float32 or float64: exactly, and without a copy where they already are."""
    if rows.dtype == np.uint16:  # bfloat16 is the upper half of a float32
        return (rows.astype(np.uint32) << 16).view(np.float32)
    return np.asarray(rows.astype(np.float32) if rows.dtype == np.float16 else rows)


def _map_file(path: Path) -> np.ndarray:
    array = _mapped_npy(path) if path.suffix.lower() == ".npy" else _mapped_safetensors(path)
    if array.ndim != 2:
        raise ValueError(f"{path} has shape {array.shape}; a 2-D array (samples, features) is accepted")
    if not 1 <= array.shape[1] <= MOST_COLUMNS:
        raise ValueError(f"{path} has {array.shape[1]} columns; 1 to {MOST_COLUMNS} are accepted")
    if not array.flags.c_contiguous:
        raise ValueError(f"{path} is stored column by column (Fortran order); save numpy.ascontiguousarray of it")
    return array


def _mapped_npy(path: Path) -> np.ndarray:
    array = open_npy(path)
    if array.dtype.type not in _STORED.values() or array.dtype.type is np.uint16 or not array.dtype.isnative:
        raise ValueError(
            f"{path} holds {array.dtype}; {_ACCEPTED}, in this machine's byte order; save it as one of them"
        )
    if not array.size:
        raise ValueError(_empty(path, array.shape))
    return array


def _mapped_safetensors(path: Path) -> np.ndarray:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:  # checks the whole header: offsets, sizes, no gaps
            names = list(file.keys())
        with path.open("rb") as raw:
            length = int.from_bytes(raw.read(8), "little")
            header = json.loads(raw.read(length))
    except (SafetensorError, ValueError, OSError, RecursionError) as error:
        raise ValueError(f"{path} is no intact safetensors file ({error}); write it again") from error
    if len(names) != 1 and "features" not in names:
        raise ValueError(f"{path} holds {len(names)} tensors ({', '.join(sorted(names)[:5])}); one, or one called "
                         f"'features', is accepted")  # fmt: skip
    entry = header["features" if "features" in names else names[0]]
    if entry["dtype"] not in _STORED:
        raise ValueError(f"{path} holds {entry['dtype']}; {_ACCEPTED}")
    dtype = np.dtype(_STORED[entry["dtype"]])
    return _memmap(path, dtype, tuple(entry["shape"]), 8 + length + entry["data_offsets"][0], "C")


def _empty(path: Path, shape: tuple[int, ...]) -> str:
    return f"{path} is empty (shape {shape}); at least one row and one column are needed"


def _memmap(path: Path, dtype: np.dtype, shape: tuple[int, ...], offset: int, order: Any) -> np.ndarray:
    if any(size < 1 for size in shape):
        raise ValueError(_empty(path, shape))
    if offset % dtype.itemsize:
        raise ValueError(f"{path}: its values begin at byte {offset}, not at a multiple of {dtype.itemsize}; save it "
                         f"again with the safetensors or numpy package")  # fmt: skip
    try:
        return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape, order=order)
    except (ValueError, OverflowError, TypeError, OSError) as error:
        raise ValueError(f"{path} is cut off: its header announces shape {shape} of {dtype} ({error}); write it again"
                         ) from error  # fmt: skip


def _blocks(array: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    step = max(1, _CHECKED_BYTES // (4 * array.shape[1]))
    for start in range(0, len(array), step):
        yield start, widen(array[start : start + step])


def _check_values(array: np.ndarray, path: Path) -> None:
    for start, block in _blocks(array):
        if not -LARGEST < float(block.min()) <= float(block.max()) < LARGEST:
            row = int(np.flatnonzero(~(np.abs(block.astype(np.float64)) < LARGEST).all(axis=1))[0])
            raise ValueError(f"{path} holds NaN, infinite or huge (>= {LARGEST:.0e}) values in row {start + row}; drop "
                             f"or mend the row")  # fmt: skip


def _type(array: np.ndarray) -> str:
    return "bfloat16" if array.dtype == np.uint16 else str(array.dtype)
