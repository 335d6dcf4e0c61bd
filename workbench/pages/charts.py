"""Charts of scores, as matplotlib figures: ROC curves, precision, the steps of a correction."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score, roc_curve

__all__ = ["hits_and_precision_chart", "ladder_chart", "roc_chart"]


def roc_chart(scores: Mapping[str, NDArray[np.floating]], truth: NDArray[np.bool_]) -> Figure:
    """ROC curves against labels, the area under each in the legend."""
    figure = Figure(figsize=(4.8, 4.4), layout="constrained")
    axes = figure.subplots()
    for name, values in scores.items():
        false_alarms, hits, _ = roc_curve(truth, values)
        axes.plot(false_alarms, hits, label=f"{name}: {roc_auc_score(truth, values):.3f}")
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle=":")
    axes.set_xlabel(f"normal samples flagged (of {int((~truth).sum())})")
    axes.set_ylabel(f"artifacts flagged (of {int(truth.sum())})")
    axes.legend(loc="lower right", title="area under the curve")
    return figure


def hits_and_precision_chart(
    false_alarms: NDArray[np.floating], hits: NDArray[np.floating], precision: NDArray[np.floating]
) -> Figure:
    """A ROC curve, and beside it precision against the share of the broken that is found."""
    figure = Figure(figsize=(8.0, 3.8), layout="constrained")
    roc, precise = figure.subplots(1, 2)
    roc.plot([0, *false_alarms], [0, *hits])
    roc.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle=":")
    roc.set_xlabel("normal samples flagged")
    roc.set_ylabel("broken samples flagged")
    precise.plot(hits, precision)
    precise.set_xlabel("broken samples flagged")
    precise.set_ylabel("share of the flagged that is broken")
    precise.set_ylim(0, 1.03)
    return figure


def ladder_chart(n_by_rung: Mapping[int, int], n_rungs: int, n_descents: int, n_given_up: int) -> Figure:
    """How many samples each target of the descent and each step of the ladder was enough for, and who was given up."""
    figure = Figure(figsize=(6.4, 2.8), layout="constrained")
    axes = figure.subplots()
    tried = [*range(n_rungs, n_rungs + n_descents), *range(n_rungs)]  # in the order in which they are tried
    names = [f"step {rung + 1}" if rung < n_rungs else f"moved {rung - n_rungs + 1}" for rung in tried]
    axes.bar(
        [*names, "given up"],
        [n_by_rung.get(rung, 0) for rung in tried] + [n_given_up],
        color=["tab:blue"] * len(tried) + ["tab:red"],
    )
    axes.set_ylabel("samples")
    axes.tick_params(axis="x", rotation=30)
    return figure
