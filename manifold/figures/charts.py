"""Pictures of an evaluation, as matplotlib figures: drawn, returned, never shown.

Every function takes what `manifold.evaluate` returns and leaves pyplot and its global state alone. Those with a single
axis draw on a given `ax` and return its figure. The galleries of samples are in `genmend.manifold.figures.galleries`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from genmend.manifold.figures.galleries import (
    chosen_k,
    common_gallery,
    interval,
    missed_gallery,
    numbers_of_k,
    off_manifold_gallery,
    per_sample,
    rare_gallery,
    value,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "common_gallery",
    "density_coverage_plane",
    "k_sweep",
    "metric_bars",
    "missed_gallery",
    "off_manifold_gallery",
    "overview",
    "precision_recall_plane",
    "rare_gallery",
    "rarity_histogram",
    "score_histogram",
]

REFERENCE, QUERY = "tab:blue", "tab:orange"
SWEPT = ("precision", "recall", "density", "coverage", "clipped_density", "clipped_coverage")
MARKERS = "osD^vP*X<>"


def rarity_histogram(evaluation: Any, k: int | None = None, *, ax: Axes | None = None) -> Figure:
    """Rarity of the query against that of the reference itself, each sample of which is left out of its own balls.

    Bars are shares of the whole set, in percent, so that those of a set add up to its share inside the manifold; the
    legend says how much is outside, where rarity is undefined. The last bar also holds what is rarer than it.

    Parameters
    ----------
    evaluation : Evaluation
        As `manifold.evaluate` returns it, rarity included.
    k : int, optional
        One of those computed; the smallest where left out.
    ax : matplotlib Axes, optional
        Where to draw; a new figure where left out.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    ValueError
        If that k, or rarity, was not computed.
    """
    k = chosen_k(evaluation, k)
    sets = {
        "reference, leave-one-out": (per_sample(evaluation, f"k{k}_reference_rarity"), REFERENCE),
        "query": (per_sample(evaluation, f"k{k}_rarity"), QUERY),
    }
    ax = ax or _axis(6.4, 3.6)
    inside = np.concatenate([values[np.isfinite(values)] for values, _ in sets.values()])
    edges = _edges(inside)
    for name, (values, colour) in sets.items():
        here = values[np.isfinite(values)]
        label = f"{name}: {_percent(1 - len(here) / len(values))} off-manifold"
        _bars(ax, here, edges, 100 / len(values), colour, label)
    rest = "; last bar: and beyond" if len(inside) and inside.max() > edges[-1] else ""
    ax.set_xlabel(f"rarity (k = {k}, feature units; right = rarer{rest})")
    ax.set_ylabel("share of the set (%)")
    _legend_above(ax, columns=1)
    return _figure_of(ax)


def score_histogram(evaluation: Any, k: int | None = None, *, ax: Axes | None = None) -> Figure:
    """How far from normal each query is: smallest distance / radius over the balls, 1 on the edge of the manifold.

    Arguments, return value and errors as for `rarity_histogram`.
    """
    k = chosen_k(evaluation, k)
    scores = per_sample(evaluation, f"k{k}_score")
    ax = ax or _axis(6.4, 3.6)
    finite = scores[np.isfinite(scores)]
    edges = _edges(np.append(finite, 1.0))
    _bars(ax, np.clip(scores, None, edges[-1]), edges, 100 / len(scores), QUERY, "query")
    ax.axvline(1, color="black", linestyle="--", linewidth=1, label="edge: beyond it off-manifold")
    ax.set_xlim(0, None)
    rest = "; last bar: and beyond" if scores.max() > edges[-1] else ""
    ax.set_xlabel(f"distance / radius (k = {k}; left = more normal{rest})")
    ax.set_ylabel("share of the query (%)")
    _legend_above(ax)
    return _figure_of(ax)


def precision_recall_plane(
    evaluations: Mapping[str, Any] | Any, k: int | None = None, *, ax: Axes | None = None
) -> Figure:
    """A point for each evaluation: precision to the right, recall upwards, both best at 1; bars are their intervals.

    A cross shows where two sets alike would be (expected_precision), of several evaluations where all are against one
    reference of their size.

    Parameters
    ----------
    evaluations : mapping of str to Evaluation, or one Evaluation
        What to compare, under the names of the legend. Compare equal sizes only.
    k, ax
        As for `rarity_histogram`; k has to be one of every evaluation's.
    """
    words = ("share of the query", "share of the reference")
    figure, ax = _plane(evaluations, k, ("precision", "recall"), words, "expected_precision", ax)
    ax.set_xlim(-0.02, 1.02)
    ax.set_ylim(-0.02, 1.02)
    return figure


def density_coverage_plane(
    evaluations: Mapping[str, Any] | Any, k: int | None = None, *, ax: Axes | None = None
) -> Figure:
    """A point for each evaluation: density to the right, coverage upwards; else as `precision_recall_plane`.

    The cross is at a density of 1 and at the coverage that sets alike have on average.
    """
    words = ("1 as the reference", "share of the reference")
    figure, ax = _plane(evaluations, k, ("density", "coverage"), words, "expected_coverage", ax)
    ax.set_xlim(-0.02, max(1.2, ax.get_xlim()[1]))
    ax.set_ylim(-0.02, 1.02)
    return figure


def _plane(
    evaluations: Mapping[str, Any] | Any,
    k: int | None,
    metrics: tuple[str, str],
    words: tuple[str, str],
    expected: str,
    ax: Axes | None,
) -> tuple[Figure, Axes]:
    """A point for each evaluation in the plane of two metrics, and a cross where two sets alike would be."""
    several = isinstance(evaluations, Mapping)
    named = evaluations if several else {"query": evaluations}
    if not named:
        raise ValueError("there is nothing to draw: give at least one evaluation")
    k = chosen_k(next(iter(named.values())), k)
    own = ax is None
    ax = ax or _axis(7.2, 4.2)
    for number, (name, evaluation) in enumerate(named.items()):
        x, y = (value(evaluation, k, metric) for metric in metrics)
        spread = [_whiskers(evaluation, k, metric, at) for metric, at in zip(metrics, (x, y), strict=True)]
        ax.errorbar(
            x, y, xerr=spread[0], yerr=spread[1], fmt=MARKERS[number // 10 % len(MARKERS)], color=f"C{number % 10}",
            capsize=2, label=name, clip_on=False, zorder=3,
        )  # fmt: skip
    alike = _alike(list(named.values()), k, expected)
    if alike is not None:
        across = alike if expected == "expected_precision" else 1.0
        ax.plot(across, alike, "+", color="black", markersize=11, label="two sets alike", clip_on=False)
        if not several:
            ax.legend(fontsize="small", loc="lower left")
    ax.grid(alpha=0.3)
    ax.set_xlabel(f"{metrics[0]} (k = {k}, {words[0]})")
    ax.set_ylabel(f"{metrics[1]} (k = {k}, {words[1]})")
    figure = _figure_of(ax)
    if own and several:
        figure.legend(loc="outside right center", fontsize="small", frameon=False)
    elif several:
        ax.legend(fontsize="small")
    return figure, ax


def _alike(evaluations: Sequence[Any], k: int, expected: str) -> float | None:
    """What two sets alike would have, where all evaluations say the same."""
    told = [evaluation.to_dict() for evaluation in evaluations]
    sizes = {about.get(name) for about in told for name in ("n_query", "n_reference")}
    found = {about["k"][str(k)].get(expected) for about in told}
    return found.pop() if len(found) == 1 and (len(told) == 1 or len(sizes) == 1) else None


def k_sweep(evaluation: Any, metrics: Sequence[str] = SWEPT, *, ax: Axes | None = None) -> Figure:
    """Metrics against k, with intervals as bands; dotted: the coverage that equal distributions would have.

    Parameters
    ----------
    evaluation : Evaluation
        With as many k as there are to be points.
    metrics : sequence of str
        Which; those that were not computed are left out.
    ax
        As for `rarity_histogram`.

    Raises
    ------
    ValueError
        If none of them was computed.
    """
    ks = numbers_of_k(evaluation)
    computed = evaluation.to_dict()["k"]
    shown = [name for name in metrics if all(computed[str(k)].get(name) is not None for k in ks)]
    if not shown:
        raise ValueError(f"none of {', '.join(metrics)} was computed for every k; pass them to evaluate")
    ax = ax or _axis(6.4, 3.6)
    for number, name in enumerate(shown):
        heights = [value(evaluation, k, name) for k in ks]
        ax.plot(ks, heights, marker=MARKERS[number % len(MARKERS)], markersize=5, color=f"C{number}", label=name)
        bands = [interval(evaluation, k, name) for k in ks]
        if all(band is not None for band in bands):
            ax.fill_between(ks, *np.transpose([band for band in bands if band]), color=f"C{number}", alpha=0.15)
    if "coverage" in shown and computed[str(ks[0])].get("expected_coverage") is not None:
        expected = [value(evaluation, k, "expected_coverage") for k in ks]
        ax.plot(ks, expected, ":_", color=f"C{shown.index('coverage')}", label="coverage if alike")
    ax.set_xticks(ks)
    ax.set_ylim(0, None)
    ax.set_xlabel("k (number of neighbours)")
    ax.set_ylabel("metric (no unit)")
    _legend_above(ax, columns=3)
    return _figure_of(ax)


def metric_bars(
    evaluation: Any, k: int | None = None, metrics: Sequence[str] = SWEPT, *, ax: Axes | None = None
) -> Figure:
    """A bar a metric at one k, with its interval; a tick where coverage of equal distributions would be.

    Arguments, return value and errors as for `k_sweep`; `k` as for `rarity_histogram`.
    """
    k = chosen_k(evaluation, k)
    computed = evaluation.to_dict()["k"][str(k)]
    shown = [name for name in metrics if computed.get(name) is not None]
    if not shown:
        raise ValueError(f"none of {', '.join(metrics)} was computed for k = {k}; pass them to evaluate")
    ax = ax or _axis(6.4, 3.6)
    for row, name in enumerate(shown):
        height = value(evaluation, k, name)
        whiskers = _whiskers(evaluation, k, name, height)
        ax.barh(row, height, xerr=whiskers, capsize=2, color=QUERY, alpha=0.7)
        end = height if whiskers is None else height + float(whiskers[1, 0])
        words = f"{height:.3f}"
        if name == "coverage" and computed.get("expected_coverage") is not None:
            expected = value(evaluation, k, "expected_coverage")
            ax.plot([expected, expected], [row - 0.4, row + 0.4], color="black")
            end, words = max(end, expected), f"{words}\n({expected:.3f} if alike)"
        ax.annotate(words, (end, row), xytext=(4, 0), textcoords="offset points", va="center", fontsize="small")
    ax.set_yticks(range(len(shown)), shown)
    ax.invert_yaxis()
    ax.set_xlim(0, max(1.3, 1.2 * ax.get_xlim()[1]))  # room for the words at the bars' ends
    ax.set_xlabel(f"metric (k = {k}, no unit)")
    return _figure_of(ax)


def overview(evaluation: Any, k: int | None = None) -> Figure:
    """What there is to see of an evaluation on one page: totals, sweep over k, rarity, and distance from normal.

    With a single k the precision-recall plane takes the sweep's place. A panel whose metrics were not computed stays
    empty and says so. Arguments, return value and errors as for `rarity_histogram`.
    """
    from matplotlib.figure import Figure

    k = chosen_k(evaluation, k)
    figure = Figure(figsize=(12, 7.6), layout="constrained")
    several = len(numbers_of_k(evaluation)) > 1
    panels = (
        partial(metric_bars, k=k),
        k_sweep if several else partial(precision_recall_plane, k=k),
        partial(rarity_histogram, k=k),
        partial(score_histogram, k=k),
    )
    for draw, ax in zip(panels, figure.subplots(2, 2).flat, strict=True):
        try:
            draw(evaluation, ax=ax)
        except ValueError as error:
            ax.set_axis_off()
            ax.text(0.5, 0.5, str(error), ha="center", va="center", wrap=True, transform=ax.transAxes)
    about = evaluation.to_dict()
    figure.suptitle(f"{about['n_query']} query samples against {about['n_reference']} reference samples")
    return figure


def _axis(width: float, height: float) -> Axes:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained").subplots()


def _figure_of(ax: Axes) -> Figure:
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure


def _edges(values: np.ndarray, n_bins: int = 40) -> np.ndarray:
    """Bin edges from the least value to the 99.5 % quantile: one outlier must not squeeze all others into one bar."""
    if not len(values):
        return np.linspace(0, 1, n_bins + 1)
    low, high = float(values.min()), float(np.quantile(values, 0.995))
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # all alike: a bar has to have a width
        low, high = low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1)
    return np.linspace(low, high, n_bins + 1)


def _bars(ax: Axes, values: np.ndarray, edges: np.ndarray, weight: float, colour: str, label: str) -> None:
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), bins=edges)
    ax.stairs(counts * weight, edges, fill=True, alpha=0.45, color=colour, label=label)
    ax.stairs(counts * weight, edges, color=colour, linewidth=1)


def _legend_above(ax: Axes, columns: int = 2) -> None:
    ax.legend(
        loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2, columnspacing=1, ncols=columns, fontsize="small",
        frameon=False,
    )  # fmt: skip


def _whiskers(evaluation: Any, k: int, name: str, at: float) -> np.ndarray | None:
    ends = interval(evaluation, k, name)
    return None if ends is None else np.maximum([[at - ends[0]], [ends[1] - at]], 0)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
