"""A fitted `NormalRegion` as one safetensors file: arrays, and JSON in its metadata; never a pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from genmend.manifold.engine.inputs import as_features
from genmend.manifold.regions.normal_region import Group, NormalRegion
from genmend.storage.container import load, save
from genmend.storage.digests import digest
from genmend.storage.hub.kinds import Description

_KIND = "genmend.normal_region"
_ARRAYS = {"vectors", "rows", "radii"}
_SETTINGS = {"k", "quantile", "closed", "min_size", "block_size"}


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
    groups = [[group, part.stop - part.start] for group, part in region.groups_.items()]
    content = json.dumps({"settings": region.settings_, "groups": groups})
    save(path, _KIND, arrays, {"digest": _digest(content, arrays), "region": content})


def load_normal_region(path: str | os.PathLike[str]) -> NormalRegion:
    """Read a region; it answers as the saved one did, bit for bit. Every value is checked, and no code runs.

    Raises
    ------
    NormalRegionFileError
        If the file is damaged, of another kind, of another schema, or holds anything that is not expected.
    OSError
        If there is no such file, or it cannot be read.
    """
    return load(path, _KIND, _region, error=NormalRegionFileError)


def _region(arrays: dict[str, np.ndarray], outer: dict[str, Any]) -> NormalRegion:
    if set(arrays) != _ARRAYS or set(outer) != {"digest", "region"}:
        raise ValueError(f"it holds {sorted(arrays)} and {sorted(outer)}, so something else")
    if outer["digest"] != _digest(outer["region"], arrays):
        raise ValueError("its content does not have the digest that stands beside it")
    content = json.loads(outer["region"])
    if set(content) != {"settings", "groups"}:
        raise ValueError(f"it describes {sorted(content)}, not groups and settings")
    if set(content["settings"]) != _SETTINGS:
        raise ValueError(f"its settings are {sorted(content['settings'])}, not {sorted(_SETTINGS)}")
    region = NormalRegion(**content["settings"])
    min_size = region._check_parameters()[1]
    vectors = as_features(arrays["vectors"], "vectors")
    if vectors.dtype != arrays["vectors"].dtype:
        raise ValueError(f"its vectors are {arrays['vectors'].dtype}, not float32 or float64")
    groups = _groups(content["groups"], len(vectors))
    _check_rows(arrays["rows"], len(vectors))
    _check_radii(arrays["radii"], groups, min_size, len(vectors))
    return region._restore(vectors, arrays["rows"], arrays["radii"], groups)


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


def describe_normal_region(facts: Mapping[str, Any], shapes: Mapping[str, Sequence[int]]) -> Description:
    """Say what the file of a region holds, of its facts and the shapes of its arrays alone."""
    content = json.loads(facts["region"])
    sizes = {str(group): size for group, size in content["groups"]}
    grouped = list(sizes) != ["None"]
    n, d = shapes["vectors"]
    return Description(
        title="Normal region",
        what="Where normal vectors lie: for each group the union of its vectors' k-nearest-neighbour balls. The "
        "vectors themselves are in the file.",
        does={
            "vectors": f"{n}, of {d} numbers",
            "groups": f"{len(sizes)}, of {min(sizes.values())} to {max(sizes.values())} vectors" if grouped else "none",
            **content["settings"],
        },
        use="from genmend.manifold import NormalRegion\n\n"
        'region = NormalRegion.from_pretrained("{source}")\nprint(region.contains(vectors'
        + (", groups))" if grouped else "))"),
        not_told=["Which features or which layer the vectors are of: it judges vectors of the same ones alone."],
    )
