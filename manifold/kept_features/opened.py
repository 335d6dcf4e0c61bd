"""Features of a file, with a way to the samples that they were made of; and the extractor that goes with them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from genmend.manifold.features.extractors.loading import AUDIO_EXTRACTORS, extractor_of_file
from genmend.manifold.features.sources import samples_of
from genmend.manifold.kept_features.feature_file import load_features
from genmend.manifold.kept_features.feature_set import FeatureSet

if TYPE_CHECKING:
    from genmend.manifold.kept_features.given import Given

__all__ = ["drawn_rows", "extractor_beside", "open_kept"]


def open_kept(path: str | os.PathLike[str], limit: int | None, seed: int) -> FeatureSet:
    """The features of a file that `FeatureSet.save` wrote, `limit` of them drawn; errors as of `load_features`."""
    kept = load_features(path)
    rows = drawn_rows(len(kept.values), limit, seed)
    whole = len(rows) == len(kept.values)
    drawn = kept.drawn if whole else {"n_given": len(kept.values), "seed": seed, "folders_left_out": []}
    names = [kept.names[row] for row in rows]
    return FeatureSet(
        kept.values if whole else kept.values[rows],
        names,
        kept.kind,
        kept.pipeline,
        kept.skipped,
        str(path),
        drawn,
        _samples_again(kept.source, names) if kept.kind != "array" else None,
        kept.radii if whole else {},
        None if kept.labels is None else [kept.labels[row] for row in rows],
    )


def _samples_again(source: str, names: list[str]) -> Callable[[int], Any] | None:
    """What loads the sample of a row from where the features were made, if all are there under their names."""
    try:
        samples = samples_of(source)
    except (ValueError, TypeError, OSError, ModuleNotFoundError):
        return None
    places = {name: index for index, name in enumerate(samples.names)}
    if not set(names) <= set(places):
        return None
    return lambda row: samples.load(places[names[row]])[1]


def drawn_rows(n: int, limit: int | None, seed: int) -> list[int]:
    """All of n samples, or `limit` of them drawn at random, ascending."""
    if limit is None or limit >= n:
        return list(range(n))
    return sorted(np.random.default_rng(seed).choice(n, limit, replace=False).tolist())


def extractor_beside(kept: FeatureSet | Given) -> str:
    """Name the extractor that a set has to be read with to be compared with one whose features were kept.

    Empty where it is not known: that of features that were given, or a function without a name.

    Raises
    ------
    ValueError
        If it is a model or a function of the user's that nobody has named in this process: a file is not to choose
        what code is run.
    """
    name = str((kept.pipeline or {}).get("extractor") or "")
    if name and name not in AUDIO_EXTRACTORS:
        try:
            extractor_of_file(name)
        except ValueError as error:
            raise ValueError(
                f"{kept.source} has features by {name!r}, which is none of ours, and a file is not to choose what code "
                f"is run: name that extractor for the other set (--extractor, in Python extractor=)."
            ) from error
    return name
