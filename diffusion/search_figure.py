"""The picture of a gain search: usability kept against novelty won."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from diffusion.gain_search import GainSearch

__all__ = ["search_figure"]


def search_figure(search: GainSearch) -> Figure:
    """Every trial as a point, as large as its number of samples; the Pareto front as a line; the choice as a star."""
    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    axes = figure.subplots()
    most = max(trial.comparison.n for trial in search.trials)
    for trial in search.trials:
        found = trial.comparison
        kept = found.feasible(search.tau, search.keep_inside)
        axes.scatter(
            min(found.usability.values()),
            found.novelty,
            s=12 + 48 * found.n / most,
            color="tab:green" if kept else "tab:gray",
            alpha=0.9 if kept else 0.45,
            linewidths=0,
        )
    front = sorted(
        (min(search.trials[i].comparison.usability.values()), search.trials[i].comparison.novelty) for i in search.front
    )
    axes.plot(*zip(*front, strict=True), color="black", linewidth=0.8, label="Pareto front, all seeds")
    for trial in search.trials:
        if trial.edits == search.edits and trial.edits and trial.comparison.n == most:
            axes.scatter(
                min(trial.comparison.usability.values()),
                trial.comparison.novelty,
                marker="*",
                s=220,
                color="tab:orange",
                edgecolors="black",
                linewidths=0.6,
                label="chosen",
                zorder=3,
            )
            break
    axes.axvline(search.tau, color="tab:red", linewidth=0.8, linestyle="--", label=f"tau = {search.tau:g}")
    axes.axhline(1, color="black", linewidth=0.5, linestyle=":")
    axes.set_xlabel("usability, amplified / original (lowest scorer)")
    axes.set_ylabel("novelty, amplified / original")
    axes.set_title("Gain search; green: kept with confidence; size: samples", fontsize=10)
    axes.legend(fontsize=8)
    return figure
