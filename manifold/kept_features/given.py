"""What a set of features is given as: an array, a fitted manifold, features with their pipeline, or a file of them.

Or samples themselves, which are read as `features_of` reads them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from genmend.manifold.engine.inputs import is_tensor

__all__ = ["Given", "given_features", "given_sets"]


class Given(NamedTuple):
    """Features (n, d) as they came in, with what is known: the pipeline that made them, radii by k, names, labels."""

    values: Any
    pipeline: Mapping[str, Any] | None = None
    radii: Mapping[int, np.ndarray] = {}
    names: Sequence[str] = ()
    labels: Sequence[str] | None = None
    source: str = ""


def given_features(given: Any, *, closed: bool | None = None, beside: Given | None = None) -> Given:
    """Take apart what stands for a set of features.

    Parameters
    ----------
    given
        An array or tensor of features; a fitted `Manifold`, whose radii are those of its k; a `FeatureSet`; a path or
        anything else that `features.features_of` takes, arrays of images in memory left out: a folder or file of
        samples or features, a data set, a DataLoader, an iterator of batches.
    closed : bool, optional
        Whether balls are to contain their sphere: a manifold with the others is refused.
    beside : Given, optional
        What it is compared with: samples are read with the extractor of this, else with the usual one of their kind.

    Raises
    ------
    ValueError
        If a file is damaged, or a manifold has open balls where closed ones are asked for, or the other way round; and
        as `features_of` does.
    OSError
        If a file cannot be read.
    """
    if isinstance(given, Given):
        return given
    if hasattr(given, "reference_") and hasattr(given, "radii_"):
        if closed is not None and bool(given.closed) != closed:
            raise ValueError(f"the manifold was fitted with closed={given.closed}, and closed={closed} is asked for; "
                             f"give the same to both")  # fmt: skip
        return Given(given.reference_, getattr(given, "pipeline_", None), {given.k: given.radii_})
    if hasattr(given, "values") and isinstance(getattr(given, "pipeline", None), Mapping):
        return _of_set(given)
    return _read(given, beside) if _is_read(given) else Given(given)


def given_sets(reference: Any, *queries: Any, closed: bool | None = None) -> list[Given]:
    """The same of a reference and of what is compared with it.

    Raises
    ------
    ValueError
        Also if two of them are one iterator, which can be gone through once.
    """
    once = [id(given) for given in (reference, *queries) if hasattr(given, "__next__")]
    if len(set(once)) < len(once):
        raise ValueError("two of the sets are one iterator, which can be gone through once; give one for each")
    ours = given_features(reference, closed=closed)
    return [ours, *(given_features(query, beside=ours) for query in queries)]


def _is_read(given: Any) -> bool:
    """Whether it is more than an array of features, or what numpy makes one of."""
    if isinstance(given, (str, os.PathLike)):
        return True
    if is_tensor(given) or isinstance(given, (list, tuple, Mapping)):
        return False
    if any(hasattr(given, name) for name in ("__array__", "__array_interface__", "tocsr")):
        return False
    return any(hasattr(given, name) for name in ("__iter__", "__next__", "__getitem__")) or callable(given)


def _read(given: Any, beside: Given | None) -> Given:
    from genmend.manifold.features.feature_set import features_of
    from genmend.manifold.kept_features.feature_file import is_kept, load_features
    from genmend.manifold.kept_features.opened import extractor_beside

    if is_kept(given):
        return _of_set(load_features(given))
    known = beside is not None and beside.pipeline is not None
    return _of_set(features_of(given, extractor_beside(beside) if known else ""))  # type: ignore[arg-type]


def _of_set(found: Any) -> Given:
    told = getattr(found, "names", ()), getattr(found, "labels", None), str(getattr(found, "source", ""))
    return Given(found.values, found.pipeline, getattr(found, "radii", {}), *told)
