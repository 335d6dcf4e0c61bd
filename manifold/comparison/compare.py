"""Several sets against one reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genmend.manifold.comparison.differences import Difference, Rank, paired_differences, ranks_of
from genmend.manifold.comparison.directions import size_notes
from genmend.manifold.engine.inputs import as_features
from genmend.manifold.engine.radii import BLOCK_SIZE
from genmend.manifold.kept_features.given import Given, given_sets
from genmend.manifold.metrics.evaluation import evaluate
from genmend.manifold.metrics.evaluation_result import Evaluation

__all__ = ["N_SUBSAMPLES", "Comparison", "compare"]

# Halves behind the intervals of differences, where nothing else is asked for: as behind those of one set; each model
# costs some 12 evaluations.
N_SUBSAMPLES = 40
MOST_COPIES = 0.5  # of a set, from which it has no rank: it is the reference, or was made of it
METHOD = (
    "95 % intervals for all pairs of a metric at once (Bonferroni), from {n} random halves of the reference and of "
    "each set, the same of the reference for all; of kid and vendi from what each sample adds to them"
)


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Result of `compare`.

    Attributes
    ----------
    evaluations : mapping of str to Evaluation
        Of each set, by its name, in the order given.
    differences : tuple of Difference
        Every total of every two sets.
    ranks : mapping
        By k (None for kid), metric and name the `Rank` of a set; only what can be ranked.
    left_out : mapping of str to str
        Sets without a rank, and why.
    notes : tuple of str
        What to keep in mind of the comparison; each evaluation has its own warnings beside.
    method : str
        What the intervals are; empty where there are none.
    """

    evaluations: Mapping[str, Evaluation]
    differences: tuple[Difference, ...]
    ranks: Mapping[int | None, Mapping[str, Mapping[str, Rank]]]
    left_out: Mapping[str, str]
    notes: tuple[str, ...]
    method: str

    def best(self, k: int | None, metric: str) -> list[str]:
        """The sets that none is better than by more than chance; none where there are no ranks."""
        return [name for name, one in self.ranks.get(k, {}).get(metric, {}).items() if one.rank == 1]

    def worse_than(self, name: str) -> list[Difference]:
        """Where other sets are worse than this one by more than chance."""
        return [one for one in self.differences if one.better == name]

    def to_dict(self) -> dict[str, Any]:
        """For JSON.

        "models" has `Evaluation.to_dict` by name; "differences" a list with k, metric, first, second, value (first less
        second), low, high, comparable, better (a name or None) and tie; "ranks" by k, metric and name rank and
        tied_with; "not_ranked" names and why. Of kid and vendi k is None, among the ranks "none".
        """
        return {
            "models": {name: one.to_dict() for name, one in self.evaluations.items()},
            "differences": [one.to_dict() for one in self.differences],
            "difference_method": self.method,
            "ranks": {
                "none" if k is None else str(k): {
                    metric: {name: rank.to_dict() for name, rank in by_name.items()} for metric, by_name in at.items()
                }
                for k, at in self.ranks.items()
            },
            "not_ranked": dict(self.left_out),
            "warnings": list(self.notes),
        }

    def columns(self) -> dict[str, np.ndarray]:
        """A row for each difference: k, metric, first, second, value, low, high, better."""
        rows = [one.to_dict() for one in self.differences]
        numbers = {name: np.array([np.nan if row[name] is None else row[name] for row in rows]) for name in
                   ("value", "low", "high")}  # fmt: skip
        texts = {
            name: np.array(["" if row[name] is None else row[name] for row in rows])
            for name in ("k", "metric", "first", "second")
        }
        better = ["tie" if row["tie"] else row["better"] or "" for row in rows]
        return {**texts, **numbers, "better": np.array(better)}

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} ({one.n_query})" for name, one in self.evaluations.items())
        lines = [f"Comparison of {sizes}"]
        for k, at in self.ranks.items():
            for metric, by_name in at.items():
                told = ", ".join(f"{name} {rank.rank}{'=' * bool(rank.tied_with)}" for name, rank in by_name.items())
                lines.append(f"{metric}{'' if k is None else f', k = {k}'}: {told}")
        return "\n".join([*lines[:9], f"{len(self.differences)} differences in .differences, {len(self.notes)} notes"])


def compare(
    reference: Any,
    queries: Mapping[str, Any],
    k: int | Sequence[int] = (3, 5),
    metrics: Sequence[str] | None = None,
    *,
    closed: bool = True,
    bootstrap: int = N_SUBSAMPLES,
    seed: int = 0,
    equal_sizes: bool = False,
    features: str = "features",
    block_size: int = BLOCK_SIZE,
    cluster: Any = None,
) -> Comparison:
    """Evaluate several sets against one reference, with paired differences and ranks that know ties.

    Parameters
    ----------
    reference, k, metrics, closed, seed, features, block_size, cluster
        As for `evaluate`.
    queries : mapping of str to features
        At least two sets by name, each as `evaluate` takes it.
    bootstrap : int
        Halves behind the intervals; without them (0) there are no ranks.
    equal_sizes : bool
        Take as many samples of each set, drawn with `seed`, as the smallest has: some metrics rise with their number.

    Raises
    ------
    ValueError, TypeError
        For fewer than two sets, and as `evaluate` does, with the name of the set.
    """
    if len(queries) < 2:
        raise ValueError(f"queries holds {len(queries)} sets; at least two are compared, and evaluate takes one")
    ours, *given = given_sets(reference, *queries.values(), closed=closed)
    sets = dict(zip(queries, given, strict=True))
    notes: list[str] = []
    if equal_sizes:
        sets, notes = _cut(sets, seed)
    evaluations = {}
    for name, query in sets.items():
        try:
            evaluations[name] = evaluate(
                ours, query, k, metrics, closed=closed, bootstrap=bootstrap, seed=seed, features=features,
                block_size=block_size, cluster=cluster,
            )  # fmt: skip
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    left_out = {name: why for name, one in evaluations.items() if (why := _why_no_rank(one))}
    notes += size_notes({name: one.n_query for name, one in evaluations.items()})
    notes += [f"{name} has no rank: {why}" for name, why in left_out.items()]
    notes += _same_samples(sets)
    differences = tuple(paired_differences(evaluations))
    if not bootstrap:
        notes.append("without halves (bootstrap) nothing says which differences are chance: there are no ranks")
    method = METHOD.format(n=bootstrap // 2 * 2) if bootstrap else ""
    return Comparison(
        evaluations, differences, ranks_of(differences, list(sets), list(left_out)), left_out, tuple(notes), method
    )


def _cut(sets: Mapping[str, Given], seed: int) -> tuple[dict[str, Given], list[str]]:
    """As many samples of each set as the smallest has, and what to say of it."""
    values = {name: as_features(one.values, name) for name, one in sets.items()}
    smallest = min(values, key=lambda name: len(values[name]))
    n = len(values[smallest])
    found, said = {}, []
    for name, rows in values.items():
        if len(rows) == n:
            found[name] = sets[name]
            continue
        drawn = np.sort(np.random.default_rng(seed).choice(len(rows), n, replace=False))
        found[name] = Given(rows[drawn], sets[name].pipeline)
        said.append(f"{n} of the {len(rows)} samples of {name} were drawn at random with seed {seed}, as many as "
                    f"{smallest} has")  # fmt: skip
    return found, said


def _why_no_rank(evaluation: Evaluation) -> str:
    for at in evaluation.at.values():
        if "score" in at.arrays and "radius" in at.arrays:
            copies = int((np.asarray(at.arrays["score"]) == 0).sum())
            if copies >= MOST_COPIES * evaluation.n_query:
                return f"{copies} of its {evaluation.n_query} samples are exact copies of reference samples"
    return ""


def _same_samples(sets: Mapping[str, Given]) -> list[str]:
    """Which two sets hold the same features."""
    names, found = list(sets), []
    for place, first in enumerate(names):
        for second in names[place + 1 :]:
            if np.array_equal(np.asarray(sets[first].values), np.asarray(sets[second].values)):
                found.append(f"{first} and {second} hold the same samples")
    return found
