"""Histograms of several series over common bins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["series_histogram"]


def series_histogram(series: Mapping[str, NDArray[np.floating]], label: str, threshold: float | None = None) -> Figure:
    """Histograms of several series over common bins; the axis ends at the 0.5 % and 99.5 % quantiles of all values.

    Parameters
    ----------
    series : mapping
        Name -> values (n,), finite.
    label : str
        Of the axis.
    threshold : float, optional
        Where a dashed line stands.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    axes = figure.subplots()
    everything = np.concatenate([np.asarray(values) for values in series.values()])
    lowest, highest = np.quantile(everything, [0.005, 0.995])
    bins = np.linspace(lowest, highest, 50).tolist()
    for name, values in series.items():
        axes.hist(np.clip(values, bins[0], bins[-1]), bins=bins, alpha=0.55, label=f"{name} (n = {len(values)})")
    if threshold is not None:
        axes.axvline(threshold, color="black", linestyle="--", linewidth=1, label=f"threshold {threshold:.3g}")
    axes.set_xlabel(label)
    axes.set_ylabel("samples")
    axes.legend()
    return figure
