"""What a set of features is given as: an array, a fitted manifold, features with their pipeline, or a file of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Given", "given_features"]


class Given(NamedTuple):
    """Features (n, d) as they came in, the pipeline that made them where it is known, and radii by k where they are."""

    values: Any
    pipeline: Mapping[str, Any] | None = None
    radii: Mapping[int, np.ndarray] = {}


def given_features(given: Any, *, closed: bool | None = None) -> Given:
    """Take apart what stands for a set of features.

    Parameters
    ----------
    given
        An array or tensor; a fitted `Manifold`, whose radii are those of its k; a `FeatureSet`; the path of a file of
        features, as ``genmend features`` writes it or as `features_of` takes it.
    closed : bool, optional
        Whether balls are to contain their sphere: a manifold with the others is refused.

    Raises
    ------
    ValueError
        If a file is damaged, or a manifold has open balls where closed ones are asked for, or the other way round.
    OSError
        If a file cannot be read.
    """
    if isinstance(given, Given):
        return given
    if isinstance(given, (str, os.PathLike)):
        return _of_file(given)
    if hasattr(given, "reference_") and hasattr(given, "radii_"):
        if closed is not None and bool(given.closed) != closed:
            raise ValueError(f"the manifold was fitted with closed={given.closed}, and closed={closed} is asked for; "
                             f"give the same to both")  # fmt: skip
        return Given(given.reference_, None, {given.k: given.radii_})
    if hasattr(given, "values") and isinstance(getattr(given, "pipeline", None), Mapping):
        return Given(given.values, given.pipeline, getattr(given, "radii", {}))
    return Given(given)


def _of_file(path: str | os.PathLike[str]) -> Given:
    from genmend.manifold.kept_features.feature_file import is_kept, load_features

    if is_kept(path):
        kept = load_features(path)
        return Given(kept.values, kept.pipeline, kept.radii)
    from genmend.manifold.features.feature_arrays import FEATURE_SUFFIXES, holds_array, read_features

    if not holds_array(path):
        endings = ", ".join(sorted(FEATURE_SUFFIXES))
        raise ValueError(f"{os.fspath(path)!r} is no file of features ({endings}); give its features, as "
                         f"genmend.manifold.features.features_of(path) returns them")  # fmt: skip
    return Given(read_features(path))
