"""Charts of a dissection: how many units detect which concept."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.figure import Figure as Drawing
from numpy.typing import NDArray

__all__ = ["concept_bars", "distance_histogram"]

MOST_BARS = 40


def concept_bars(detectors: Mapping[str, Mapping[str, int]]) -> Figure:
    """One bar a concept, the layers on top of each other in it; the 40 concepts with most units, falling."""
    totals: dict[str, int] = {}
    for counts in detectors.values():
        for concept, count in counts.items():
            totals[concept] = totals.get(concept, 0) + count
    shown = sorted(totals, key=lambda concept: (-totals[concept], concept))[:MOST_BARS]
    figure = Figure(figsize=(7.2, 1.4 + 0.24 * max(len(shown), 3)), layout="constrained")
    axes = figure.subplots()
    left = np.zeros(len(shown))
    colours = colormaps["viridis"](np.linspace(0.1, 0.9, len(detectors)))
    for colour, (layer, counts) in zip(colours, detectors.items(), strict=True):
        widths = np.array([counts.get(concept, 0) for concept in shown])
        axes.barh(shown, widths, left=left, color=colour, label=f"{layer} ({sum(counts.values())})")
        left += widths
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.set_xlabel("units that detect the concept")
    axes.legend(title="layer (detectors)", loc="lower right")
    if not shown:
        axes.text(0.5, 0.5, "no unit detects a concept", transform=axes.transAxes, ha="center")
    return figure


def distance_histogram(kid: Mapping[str, NDArray[np.float64]], extractor: str) -> Drawing:
    """How the units of each layer are distributed; the worst stand to the right."""
    figure = Drawing(figsize=(6.4, 3.2), layout="constrained")
    axes = figure.subplots()
    bins = np.histogram_bin_edges(np.concatenate(list(kid.values())), 40).tolist()
    for layer, values in kid.items():
        axes.hist(values, bins=bins, histtype="step", linewidth=1.6, label=f"{layer} ({len(values)})")
    axes.set_yscale("symlog", linthresh=1)
    axes.set_xlabel(f"unit-KID in {extractor}, to own-normal samples (higher = further off)")
    axes.set_ylabel("units")
    axes.legend(title="layer (units)")
    return figure
