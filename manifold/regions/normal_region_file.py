"""A fitted `NormalRegion` as one safetensors file: arrays, and JSON in its metadata; never a pickle."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from sklearn.utils.validation import check_is_fitted

from genmend.manifold.engine.inputs import as_features
from genmend.manifold.regions.normal_region import Group, NormalRegion
from genmend.storage.atomic import whole_file
from genmend.storage.digests import digest

_METADATA = "genmend.normal_region"  # one key only: safetensors does not keep the order of several
_SCHEMA = 1
_ARRAYS = {"vectors", "rows", "radii"}
_SETTINGS = {"k", "quantile", "closed", "min_size", "block_size"}
# What checking the content of a hostile file may raise.
_REFUSED = (SafetensorError, ValueError, TypeError, LookupError, OverflowError, AttributeError, RecursionError)


class NormalRegionFileError(ValueError):
    """The file is not a normal region that can be loaded; the message has its path and what is wrong."""


def save_normal_region(path: str | os.PathLike[str], region: NormalRegion) -> None:
    """Write a fitted region to one file, whole or not at all.

    The vectors are stored as they were fitted, also those of groups without a reference, so that the loaded region can
    be refitted with another k.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the region is not fitted.
    OSError
        If the file cannot be written; an old one is left as it was.
    """
    check_is_fitted(region, "radii_")
    arrays = {"vectors": region.vectors_, "rows": region.rows_.astype(np.int64), "radii": region.radii_}
    # safetensors writes the memory as it lies, also that of a transposed or a strided array.
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    groups = [[group, part.stop - part.start] for group, part in region.groups_.items()]
    content = json.dumps({"settings": region.settings_, "groups": groups})
    described = json.dumps({"schema": _SCHEMA, "digest": _digest(content, arrays), "region": content})
    with whole_file(path) as file:
        file.write(save(arrays, {_METADATA: described}))


def load_normal_region(path: str | os.PathLike[str]) -> NormalRegion:
    """Read a region; it answers as the saved one did, bit for bit. Every value is checked, and no code runs.

    Raises
    ------
    NormalRegionFileError
        If the file is damaged, of another kind, of another schema, or holds anything that is not expected.
    OSError
        If there is no such file, or it cannot be read.
    """
    path = Path(path)
    with path.open("rb"):  # the ordinary error where it is missing, a folder, or not ours to read
        pass
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            names = set(file.keys())
            if _METADATA not in metadata or names != _ARRAYS:
                raise ValueError("it holds something else")
            arrays = {name: file.get_tensor(name) for name in sorted(names)}
        return _region(metadata[_METADATA], arrays)
    except _REFUSED as error:
        reason = str(error) or type(error).__name__
        raise NormalRegionFileError(f"{path} cannot be loaded as a normal region: {reason}; only whole files written "
                                    f"by save_normal_region are accepted.") from error  # fmt: skip


def _region(described: str, arrays: dict[str, np.ndarray]) -> NormalRegion:
    outer = _object(described, {"schema", "digest", "region"})
    if outer["schema"] != _SCHEMA:
        raise ValueError(f"its schema is {outer['schema']!r}, and {_SCHEMA} is read; update genmend if it is newer")
    if outer["digest"] != _digest(outer["region"], arrays):
        raise ValueError("its content does not have the digest that stands beside it")
    content = _object(outer["region"], {"settings", "groups"})
    if set(content["settings"]) != _SETTINGS:
        raise ValueError(f"its settings are {sorted(content['settings'])}, not {sorted(_SETTINGS)}")
    region = NormalRegion(**content["settings"])
    min_size = region._checked()[1]
    vectors = as_features(arrays["vectors"], "vectors")
    if vectors.dtype != arrays["vectors"].dtype:
        raise ValueError(f"its vectors are {arrays['vectors'].dtype}, not float32 or float64")
    groups = _groups(content["groups"], len(vectors))
    _check_rows(arrays["rows"], len(vectors))
    _check_radii(arrays["radii"], groups, min_size, len(vectors))
    return region._restore(vectors, arrays["rows"], arrays["radii"], groups)


def _object(text: Any, keys: set[str]) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict) or set(value) != keys:
        raise ValueError(f"its metadata is not an object of {sorted(keys)}")
    return value


def _groups(pairs: Any, n: int) -> dict[Group, slice]:
    names, sizes = [name for name, _ in pairs], [size for _, size in pairs]
    kinds = {type(name) for name in names}
    if kinds not in ({str}, {int}) and names != [None]:
        raise ValueError("its groups are neither strings nor integers")
    if len(set(names)) != len(names) or any(type(size) is not int or size < 1 for size in sizes) or sum(sizes) != n:
        raise ValueError(f"its groups are not unique, or do not add up to its {n} vectors")
    stops = np.cumsum(sizes).tolist()
    return {name: slice(stop - size, stop) for name, size, stop in zip(names, sizes, stops, strict=True)}


def _check_rows(rows: np.ndarray, n: int) -> None:
    if rows.dtype != np.int64 or rows.shape != (n,) or not np.array_equal(np.sort(rows), np.arange(n)):
        raise ValueError(f"its rows are not a permutation of 0 to {n - 1}")


def _check_radii(radii: np.ndarray, groups: dict[Group, slice], min_size: int, n: int) -> None:
    if radii.dtype != np.float64 or radii.shape != (n,):
        raise ValueError(f"its radii are {radii.dtype} of shape {radii.shape}, not one float64 a vector")
    missing = np.isnan(radii)
    for group, part in groups.items():
        if (missing[part] != (part.stop - part.start < min_size)).any():
            raise ValueError(f"group {group!r} of {part.stop - part.start} has {missing[part].sum()} missing radii, "
                             f"where a reference begins at {min_size} vectors")  # fmt: skip
    if missing.all() or not (np.isfinite(radii) & (radii >= 0))[~missing].all():
        raise ValueError("its radii are not finite numbers of at least 0, or there are none")


def _digest(content: str, arrays: dict[str, np.ndarray]) -> str:
    return digest(content, *(arrays[name] for name in sorted(arrays)))
