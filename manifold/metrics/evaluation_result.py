"""The result of `evaluate` and of `prdc`: totals, per-sample arrays, intervals and warnings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from html import escape
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from genmend.manifold.engine.inputs import like
from genmend.storage.notebook import NotebookResult, figure_html

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Evaluation", "EvaluationAtK"]

# Totals that `repr` shows, in this order, as many as it has lines for.
_SHOWN = ("precision", "recall", "density", "coverage", "clipped_density", "clipped_coverage", "rarity_percentile_mean")
_MOST_SHOWN = 6

# The per-sample arrays that have an entry for each reference sample; the others have one for each query.
_OF_REFERENCE = frozenset(
    {"radius", "covered", "query_count", "recalled", "p_recalled", "reference_rarity", "reference_clipped_count"}
)


@dataclass(frozen=True, eq=False, repr=False)
class EvaluationAtK:
    """What was found for one k: every total and every array is also an attribute, `evaluation[3].precision`.

    Attributes
    ----------
    k
        Number of neighbours.
    totals
        By name, as in `Evaluation.to_dict`; NaN where undefined.
    arrays
        Per-sample arrays by name, as in `Evaluation.per_sample`; those of `prdc` are tensors for tensors.
    intervals
        Low and high end by name, where they were asked for.
    draws
        Behind them: values by name, one for each split into halves, that scatter as those of other draws would. Of two
        queries evaluated with one seed they belong together, draw by draw.
    """

    k: int
    totals: Mapping[str, float]
    arrays: Mapping[str, Any]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    draws: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        for values in (self.__dict__.get("totals", {}), self.__dict__.get("arrays", {})):
            if name in values:
                return values[name]
        raise AttributeError(f"{name} was not computed for this k; {', '.join(self.__dict__.get('totals', {}))} were; "
                             f"pass its metric to evaluate")  # fmt: skip

    def __repr__(self) -> str:
        totals = ", ".join(f"{name} {value:.4g}" for name, value in self.totals.items())
        return f"EvaluationAtK(k = {self.k}: {totals}; per-sample arrays {', '.join(self.arrays)})"


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation(NotebookResult):
    """Result of `evaluate` and of `prdc`; `evaluation[k]` is the `EvaluationAtK` of one k.

    Attributes
    ----------
    n_reference, n_query, n_features
        Sizes of the two sets.
    closed
        Whether balls contained their sphere.
    seed
        Of all subsets that were drawn.
    at
        What was found for each k.
    totals
        What does not depend on k, by name: vendi, vendi_reference, kid, cmmd, frechet_<features>, and what goes with
        them.
    warnings
        What to keep in mind when reading and comparing, for whoever shows the result.
    interval_method
        What the intervals are and how they were made; empty where there are none.
    draws
        Of kid and vendi, where intervals were asked for: values that scatter as those of other draws would. Of two
        queries evaluated with one seed they belong together, draw by draw.
    """

    n_reference: int
    n_query: int
    n_features: int
    closed: bool
    seed: int
    at: Mapping[int, EvaluationAtK]
    totals: Mapping[str, float]
    warnings: tuple[str, ...] = ()
    interval_method: str = ""
    draws: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __getitem__(self, k: int) -> EvaluationAtK:
        if isinstance(k, str):
            raise KeyError(self._where(k))
        if k not in self.at:
            raise KeyError(f"k = {k} was not computed; {sorted(self.at)} were; pass it to evaluate")
        return self.at[k]

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"an Evaluation has no attribute {name}" if name.startswith("_") else self._where(name))

    def _where(self, name: str) -> str:
        """A sentence that says where a total, or an array, of this name is."""
        at, totals = self.__dict__.get("at", {}), self.__dict__.get("totals", {})
        for k, of in at.items():
            if name in of.totals or name in of.arrays:
                others = f", for each k of {list(at)}" if len(at) > 1 else ""
                return f"{name} depends on the number of neighbours: it is evaluation[{k}].{name}{others}"
        if name in totals:
            return f"{name} does not depend on the number of neighbours: it is evaluation.totals[{name!r}]"
        known = [*dict.fromkeys(total for of in at.values() for total in of.totals), *totals]
        return f"{name} was not computed; {', '.join(known)} were; pass its metric to evaluate"

    def __repr__(self) -> str:
        """At most ten lines: the most asked for totals, a column for each k."""
        balls = "closed" if self.closed else "open"
        lines = [f"Evaluation of {self.n_query} query against {self.n_reference} reference samples, {self.n_features} "
                 f"features, {balls} balls"]  # fmt: skip
        rows = self._rows()
        names = [name for name in _SHOWN if name in rows] + [name for name in rows if name not in _SHOWN]
        shown = names[:_MOST_SHOWN]
        if shown:
            width = max(map(len, shown))
            heads = [f"k = {k}" for k in self.at]
            lines.append(" ".join([" " * width, *(f"{head:>10}" for head in heads)]))
            lines += [" ".join([f"{name:{width}}", *(f"{value:10.4g}" for value in rows[name])]) for name in shown]
        if self.totals:
            lines.append(", ".join(f"{name} {value:.4g}" for name, value in self.totals.items()))
        more = f"{len(names) - len(shown)} more in .to_dict(), " if len(names) > len(shown) else ""
        lines.append(f"{more}samples in .per_sample(), {len(self.warnings)} warnings in .warnings")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """All totals as a table, the warnings and the figures, for a notebook."""
        heads = "".join(f"<th>k = {k}</th>" for k in self.at)
        rows = [
            f"<tr><th>{name}</th>" + "".join(f"<td>{value:.4g}</td>" for value in values) + "</tr>"
            for name, values in self._rows().items()
        ]
        # One number in a row of its own width: these do not depend on k.
        rows += [
            f"<tr><th>{escape(name)}</th><td colspan={max(1, len(self.at))}>{value:.4g}</td></tr>"
            for name, value in self.totals.items()
        ]
        notes = "".join(f"<li>{escape(warning)}</li>" for warning in self.warnings)
        caption = f"{self.n_query} query against {self.n_reference} reference samples, {self.n_features} features"
        table = f"<table><caption>{caption}</caption><tr><th></th>{heads}</tr>{''.join(rows)}</table><ul>{notes}</ul>"
        try:
            return table + figure_html(self.plot())
        except (ModuleNotFoundError, ValueError):  # no matplotlib, or nothing that is drawn was asked for
            return table

    def columns(self) -> dict[str, Any]:
        """One row for each total: its name, its value at every k (NaN where it has none), and their intervals."""
        rows = self._rows()
        names = [*rows, *self.totals]
        found: dict[str, Any] = {"metric": np.array(names)}
        for place, (k, at) in enumerate(self.at.items()):
            found[f"k{k}"] = np.array([rows[name][place] if name in rows else np.nan for name in names])
            if at.intervals:
                ends = [at.intervals.get(name, (np.nan, np.nan)) for name in names]
                found |= {
                    f"k{k}_low": np.array([low for low, _ in ends]),
                    f"k{k}_high": np.array([high for _, high in ends]),
                }
        if self.totals:
            found["value"] = np.array([np.nan] * len(rows) + [float(value) for value in self.totals.values()])
        return found

    def _rows(self) -> dict[str, list[float]]:
        """Each total that depends on k, for every k."""
        names = dict.fromkeys(name for at in self.at.values() for name in at.totals)
        return {name: [at.totals[name] for at in self.at.values()] for name in names}

    def to_dict(self) -> dict[str, Any]:
        """For JSON: what was asked, None where a total is undefined or infinite. No per-sample arrays.

        Under "k" for each k, as far as asked (range; direction):

        - precision, recall, coverage, symmetric_precision, symmetric_recall, p_precision, p_recall: [0, 1]; higher is
          better. expected_precision: precision of the reference against itself, each sample left out of its own ball;
          expected_coverage: what coverage would be on average for equal distributions.
        - density: from 0, about 1 for equal distributions.
        - clipped_density: [0, 1]; higher is better; clipped_density_unclipped: the ratio before it is cut at 1.
        - clipped_coverage: [0, 1]; higher is better, 1 for equal distributions; clipped_coverage_raw: before
          calibration.
        - realism_median: from 0; higher is more realistic. realism_share: share of the query with realism >= 1.
        - rarity_mean, rarity_median, rarity_top10 (mean of the rarest tenth): feature units; higher is rarer, which is
          neither good nor bad. Over the samples inside, so read them beside precision. rarity_percentile_mean: [0, 1].

        Beside it vendi (of the query) and vendi_reference (from 1; higher is more diverse) with the means and standard
        deviations over equally large subsets of both, kid and its deviation over subsets, cmmd, frechet_<features>
        (lower is better), and "intervals": 95 % intervals [low, high] by k and name, with "interval_method".
        """
        found: dict[str, Any] = {
            "n_reference": self.n_reference,
            "n_query": self.n_query,
            "n_features": self.n_features,
            "closed": self.closed,
            "seed": self.seed,
            "k": {str(k): {name: _json(value) for name, value in at.totals.items()} for k, at in self.at.items()},
        }
        found |= {name: _json(value) for name, value in self.totals.items()}
        if any(at.intervals for at in self.at.values()):
            found["intervals"] = {
                str(k): {name: [_json(end) for end in ends] for name, ends in at.intervals.items()}
                for k, at in self.at.items()
            }
            found["interval_method"] = self.interval_method
        return found | {"warnings": list(self.warnings)}

    def per_sample(self) -> dict[str, Any]:
        """Per-sample arrays of every k, `k3_inside` and so on; what the sweeps gave for the metrics asked.

        Of the query, (m,): inside (bool), ball_count (int64), clipped_count (int64, with clipped radii), nearest_ball
        (int64, the smallest ball that contains it, -1 outside), rarity (that ball's radius, NaN outside),
        rarity_percentile (NaN outside), score (least distance / radius, lower is more normal), realism, holds_reference
        (bool, its own ball contains a reference sample), p_inside (probability).

        Of the reference, (n,): radius, covered (bool), query_count (int64, queries in its ball), recalled (bool),
        p_recalled (probability), reference_rarity (float64, leave-one-out, NaN in no other ball),
        reference_clipped_count (int64, leave-one-out).
        """
        return {f"k{k}_{name}": values for k, at in self.at.items() for name, values in at.arrays.items()}

    def with_arrays_like(self, reference: Any, query: Any) -> Self:
        """The same, each array in the form that the set it is about came in: a tensor on its device for a tensor."""

        def converted(at: EvaluationAtK) -> EvaluationAtK:
            arrays = {
                name: like(values, reference if name in _OF_REFERENCE else query) for name, values in at.arrays.items()
            }
            return replace(at, arrays=arrays)

        return replace(self, at={k: converted(at) for k, at in self.at.items()})

    def plot(self) -> Figure:
        """One page of figures: `genmend.manifold.figures.charts.overview`."""
        from genmend.manifold.figures.charts import overview

        return overview(self)


def _json(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
