"""Features in one safetensors file, with their names, the pipeline that made them and the radii of their balls.

The features are the tensor ``features``: whatever reads arrays of safetensors files reads these, too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from genmend.manifold.engine.inputs import as_count, as_features
from genmend.manifold.engine.radii import knn_radii
from genmend.manifold.kept_features.same_space import pipeline_digest
from genmend.storage.container import ContainerError, load, read_facts, save
from genmend.storage.digests import digest

__all__ = [
    "MOST_K",
    "SUFFIX",
    "KeptFeatures",
    "is_kept",
    "kept_kind",
    "load_features",
    "save_features",
]

SUFFIX = ".safetensors"
# Radii of every k up to this one are kept: papers take 3 to 5, sometimes 10, and a row of them is small beside its
# features.
MOST_K = 10
KINDS = ("images", "audio", "array")
_KIND = "genmend.features"
_ARRAYS = {"features", "names", "radii"}
_LABELS = "labels"  # stands beside them where the samples have classes
_FACTS = {"kind", "source", "pipeline", "pipeline_digest", "skipped", "drawn", "digest"}


@dataclass(frozen=True)
class KeptFeatures:
    """What a file of features holds.

    Attributes
    ----------
    values : ndarray (n, d)
        float32 or float64.
    names : list of n str
    kind : "images", "audio" or "array"
        What the features were made of; "array" where they were given.
    pipeline : dict
        All that made them, as `features.FeatureSet.pipeline`.
    radii : dict of int to ndarray (n,)
        Distance of each sample to its k-th nearest other one, by k from 1.
    source : str
        What they were made from, as it was given.
    skipped : list of (name, reason)
    drawn : dict or None
    labels : list of n str, or None
        As those of a `FeatureSet`.
    """

    values: np.ndarray
    names: list[str]
    kind: str
    pipeline: dict[str, Any]
    radii: dict[int, np.ndarray] = field(default_factory=dict)
    source: str = ""
    skipped: list[tuple[str, str]] = field(default_factory=list)
    drawn: dict[str, Any] | None = None
    labels: list[str] | None = None


def save_features(path: str | os.PathLike[str], features: Any, *, most_k: int = MOST_K) -> KeptFeatures:
    """Write a set of features to one file, whole or not at all.

    Parameters
    ----------
    path
        The file, ending in ``.safetensors``; its folder must exist.
    features : FeatureSet or KeptFeatures
        What to keep.
    most_k : int
        Radii are kept of every k up to this one, or to n - 1 where there are fewer samples.

    Raises
    ------
    ValueError
        For another ending, one sample alone, or a pipeline that is no JSON.
    OSError
        If the file cannot be written; an old one is left as it was.
    """
    path = Path(path)
    if path.suffix.lower() != SUFFIX:
        raise ValueError(f"{path} ends in {path.suffix!r}; features are kept in a file that ends in {SUFFIX}")
    values = as_features(features.values, "features")
    if len(values) < 2:
        raise ValueError(f"{features.source or 'The set'} has 1 sample, which has no neighbours; give at least 2")
    ks = range(1, min(as_count(most_k, "most_k"), len(values) - 1) + 1)
    try:
        pipeline = json.loads(json.dumps(features.pipeline, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"The pipeline of {features.source or 'the features'} cannot be kept ({error}); let the "
                         f"extractor's pipeline() return what JSON holds") from error  # fmt: skip
    known = getattr(features, "radii", {})
    radii = np.column_stack([known[k] for k in ks]) if set(ks) <= set(known) else knn_radii(values, list(ks))
    kept = KeptFeatures(
        values,
        list(map(str, features.names)),
        features.kind,
        pipeline,
        {k: radii[:, k - 1] for k in ks},
        str(features.source),
        [(str(name), str(reason)) for name, reason in features.skipped],
        features.drawn,
        features.labels,
    )
    arrays = {"features": values, "names": _packed(kept.names), "radii": radii}
    if kept.labels is not None:
        arrays[_LABELS] = _packed(kept.labels)
    facts = {
        "kind": kept.kind,
        "source": kept.source,
        "pipeline": pipeline,
        "pipeline_digest": pipeline_digest(pipeline),
        "skipped": kept.skipped,
        "drawn": kept.drawn,
    }
    save(path, _KIND, arrays, {**facts, "digest": _digest(facts, arrays)})
    return kept


def load_features(path: str | os.PathLike[str]) -> KeptFeatures:
    """Read a file of features; every value is checked against the digest that stands in it, and no code runs.

    Raises
    ------
    ContainerError
        If it is damaged, cut off, of another kind or of a newer version: a ValueError that names the file.
    OSError
        If there is no such file, or it cannot be read.
    """
    return load(path, _KIND, _built, command="features")


def is_kept(source: Any) -> bool:
    """Whether a source is the path of a file that `save_features` wrote, as far as its header says."""
    return kept_kind(source) is not None


def kept_kind(source: Any) -> str | None:
    """What the features of a file that `save_features` wrote were made of; None for every other source."""
    if not isinstance(source, (str, os.PathLike)):
        return None
    path = Path(source)
    if path.suffix.lower() != SUFFIX or not path.is_file():
        return None
    try:
        kind, facts, _ = read_facts(path)
    except ContainerError:
        return None
    return str(facts.get("kind")) if kind == _KIND else None


def _built(arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> KeptFeatures:
    if set(arrays) - {_LABELS} != _ARRAYS or set(facts) != _FACTS:
        raise ValueError(f"it holds {sorted(arrays)} and {sorted(facts)}, so something else")
    found = facts.pop("digest")
    if found != _digest(facts, arrays):
        raise ValueError("its content does not have the digest that stands beside it")
    if facts["kind"] not in KINDS or facts["pipeline_digest"] != pipeline_digest(facts["pipeline"]):
        raise ValueError(f"its kind is {facts['kind']!r}, or its pipeline has another digest")
    values, radii = as_features(arrays["features"], "features"), arrays["radii"]
    if values.dtype != arrays["features"].dtype:
        raise ValueError(f"its features are {arrays['features'].dtype}, not float32 or float64")
    if radii.dtype != np.float64 or radii.ndim != 2 or len(radii) != len(values) or radii.shape[1] >= len(values):
        raise ValueError(f"its radii are {radii.dtype} of shape {radii.shape}, not a float64 row a sample")
    if not np.isfinite(radii).all() or (radii < 0).any() or (np.diff(radii, axis=1) < 0).any():
        raise ValueError("its radii are not finite numbers of at least 0 that rise with k")
    names = _texts(arrays["names"], len(values), "names")
    labels = _texts(arrays[_LABELS], len(values), "labels") if _LABELS in arrays else None
    skipped = [(str(name), str(reason)) for name, reason in facts["skipped"]]
    by_k = {column + 1: np.ascontiguousarray(radii[:, column]) for column in range(radii.shape[1])}
    told = facts["source"], skipped, facts["drawn"]
    return KeptFeatures(values, names, facts["kind"], facts["pipeline"], by_k, *told, labels)


def _packed(names: list[str]) -> np.ndarray:
    # As bytes: a JSON header of a million names would be read whole to know what the file is.
    return np.frombuffer(json.dumps(names).encode(), dtype=np.uint8)


def _texts(packed: np.ndarray, n: int, what: str) -> list[str]:
    found = json.loads(packed.tobytes())
    if not isinstance(found, list) or len(found) != n or not all(isinstance(one, str) for one in found):
        raise ValueError(f"its {what} are not one text for each of {n} samples")
    return found


def _digest(facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    return digest(json.dumps(facts, sort_keys=True), *(arrays[name] for name in sorted(arrays)))
