"""A set against a reference class by class: the totals of each class, and which have too few samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genmend.manifold.engine.inputs import as_features
from genmend.manifold.engine.radii import counts
from genmend.manifold.kept_features.given import Given, given_sets
from genmend.manifold.metrics.evaluation import evaluate
from genmend.manifold.metrics.evaluation_result import Evaluation

__all__ = ["ByClass", "evaluate_by_class", "labels_of_folders"]

NO_FOLDER = "(the folder itself)"


@dataclass(frozen=True, eq=False)
class ByClass:
    """Result of `evaluate_by_class`.

    Attributes
    ----------
    classes : mapping of str to Evaluation
        Of each class that has enough samples in both sets, in the order of their names: the query's samples of that
        class against the reference's.
    left_out : mapping of str to str
        The other classes, and why.
    """

    classes: Mapping[str, Evaluation]
    left_out: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """For JSON: "classes" with `Evaluation.to_dict` by class, and "classes_left_out" with the reasons."""
        return {
            "classes": {name: one.to_dict() for name, one in self.classes.items()},
            "classes_left_out": dict(self.left_out),
        }

    def columns(self) -> dict[str, np.ndarray]:
        """A row for each class: its name, the sizes of both sets, and each total at each k as ``k3_precision``."""
        names = list(self.classes)
        found: dict[str, np.ndarray] = {"class": np.array(names, dtype=str)}
        for size in ("n_reference", "n_query"):
            found[size] = np.array([getattr(self.classes[name], size) for name in names], dtype=np.int64)
        for k, at in next(iter(self.classes.values())).at.items() if names else ():
            for total in at.totals:
                found[f"k{k}_{total}"] = np.array([self.classes[name][k].totals[total] for name in names])
        return found


def evaluate_by_class(
    reference: Any,
    query: Any,
    labels: tuple[Sequence[Any], Sequence[Any]] | None = None,
    k: int | Sequence[int] = (3, 5),
    metrics: Sequence[str] | None = None,
    **options: Any,
) -> ByClass:
    """Evaluate each class of a query against the same class of the reference; `evaluate` gives the pooled totals.

    Pooled, a model may put the samples of one class where those of another belong and lose nothing; class by class that
    shows. Values of small classes scatter far, and depend on their sizes: compare a class with itself over models.

    Parameters
    ----------
    reference, query, k, metrics, **options
        As for `evaluate`.
    labels : pair of sequences, optional
        The class of each reference sample and of each query sample. Left out, that which came with the samples, as
        `features_of` tells it; of a set without any the first folder in each name.

    Raises
    ------
    ValueError, TypeError
        If there is not one label for each sample, or none is given and nothing tells the classes; if no class has
        enough samples in both sets; and as `evaluate` does.
    """
    ours, theirs = given_sets(reference, query)
    labels = labels or (_classes(ours, "reference"), _classes(theirs, "query"))
    x = as_features(ours.values, "reference")
    y = as_features(theirs.values, "query", x.shape[1])
    of_reference, of_query = (np.array([str(one) for one in some]) for some in labels)
    for name, some, features in (("reference", of_reference, x), ("query", of_query, y)):
        if len(some) != len(features):
            raise ValueError(
                f"{len(some)} labels came with {len(features)} {name} samples; give one for each, in order"
            )
    needed = max(counts(k)) + 1
    classes, left_out = {}, {}
    for name in sorted({*of_reference.tolist(), *of_query.tolist()}):
        rows = [np.flatnonzero(some == name) for some in (of_reference, of_query)]
        n, m = map(len, rows)
        if min(n, m) < needed:
            left_out[name] = (
                f"{n} reference and {m} query samples, of which {needed} each are needed for k = {needed - 1}"
            )
            continue
        classes[name] = evaluate(x[rows[0]], y[rows[1]], k, metrics, **options)
    if not set(of_reference) & set(of_query):
        first, second = (", ".join(sorted(set(some))[:4]) for some in (of_reference, of_query))
        raise ValueError(f"the reference and the query have no class in common: {first} ... and {second} ...; call the "
                         f"classes alike in both")  # fmt: skip
    if not classes:
        raise ValueError(f"none of the {len(left_out)} classes has {needed} samples in both sets, as k = {needed - 1} "
                         f"needs; the first: {next(iter(left_out.items()))}")  # fmt: skip
    return ByClass(classes, left_out)


def _classes(given: Given, what: str) -> Sequence[str]:
    """The class of each sample of a set: its label, or the first folder in its name."""
    if given.labels is not None:
        return given.labels
    if not any("/" in name for name in given.names):
        of = f", {given.source}," if given.source else ""
        raise ValueError(f"the samples of the {what}{of} have no labels and lie in no subfolders; give "
                         f"labels, or a folder with one a class")  # fmt: skip
    return labels_of_folders(given.names)


def labels_of_folders(names: Sequence[str]) -> list[str]:
    """The class of each sample of a folder of folders: the first folder in its name."""
    return [name.partition("/")[0] if "/" in name else NO_FOLDER for name in names]
