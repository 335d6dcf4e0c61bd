"""From per-sample arrays to totals, for one k.

Most totals are functions of means: a share, a ratio or a minimum of shares. Those are written down in `_OF_MEANS`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from genmend.manifold.metrics.calibration import calibrated_clipped_coverage, clipped_share, expected_coverage

Arrays = Mapping[str, np.ndarray]
Means = dict[str, Any]

# Which totals a metric has, in the order they are shown in.
TOTALS_OF = {
    "precision": ("precision",),
    "recall": ("recall",),
    "density": ("density",),
    "coverage": ("coverage", "expected_coverage"),
    "realism": ("realism_median", "realism_share"),
    "rarity": ("rarity_mean", "rarity_median", "rarity_top10", "rarity_percentile_mean"),
    "clipped_density": ("clipped_density", "clipped_density_unclipped"),
    "clipped_coverage": ("clipped_coverage", "clipped_coverage_raw"),
    "symmetric_precision": ("symmetric_precision",),
    "symmetric_recall": ("symmetric_recall",),
    "p_precision": ("p_precision",),
    "p_recall": ("p_recall",),
}

# What is averaged over the query and over the reference: the array it comes from, and how.
_QUERY_COLUMNS: dict[str, tuple[str, Callable[[Arrays, int], np.ndarray]]] = {
    "inside": ("inside", lambda of, k: of["inside"]),
    "balls": ("ball_count", lambda of, k: of["ball_count"]),
    "clipped": ("clipped_count", lambda of, k: clipped_share(of["clipped_count"], k)),
    "holding": ("holds_reference", lambda of, k: of["holds_reference"]),
    "realistic": ("realism", lambda of, k: of["realism"] >= 1),
    "rarity": ("rarity", lambda of, k: np.where(of["inside"], of["rarity"], 0)),
    "percentile": ("rarity_percentile", lambda of, k: np.where(of["inside"], of["rarity_percentile"], 0)),
    "p_inside": ("p_inside", lambda of, k: of["p_inside"]),
}
_REFERENCE_COLUMNS: dict[str, tuple[str, Callable[[Arrays, int], np.ndarray]]] = {
    "covered": ("covered", lambda of, k: of["covered"]),
    "queries": ("query_count", lambda of, k: clipped_share(of["query_count"], k)),
    "recalled": ("recalled", lambda of, k: of["recalled"]),
    "own_clipped": ("reference_clipped_count", lambda of, k: clipped_share(of["reference_clipped_count"], k)),
    "p_recalled": ("p_recalled", lambda of, k: of["p_recalled"]),
}

_OF_MEANS: dict[str, Callable[[Means], Any]] = {
    "precision": lambda mean: mean["inside"],
    "recall": lambda mean: mean["recalled"],
    "density": lambda mean: mean["balls"] / mean["k"],
    "coverage": lambda mean: mean["covered"],
    "realism_share": lambda mean: mean["realistic"],
    "rarity_mean": lambda mean: mean["rarity"] / mean["inside"],
    "rarity_percentile_mean": lambda mean: mean["percentile"] / mean["inside"],
    "clipped_density": lambda mean: np.minimum(mean["clipped"] / mean["own_clipped"], 1),
    "clipped_density_unclipped": lambda mean: mean["clipped"] / mean["own_clipped"],
    "clipped_coverage_raw": lambda mean: mean["queries"],
    "symmetric_precision": lambda mean: np.minimum(mean["inside"], mean["holding"]),
    "symmetric_recall": lambda mean: np.minimum(mean["recalled"], mean["covered"]),
    "p_precision": lambda mean: mean["p_inside"],
    "p_recall": lambda mean: mean["p_recalled"],
}


def totals_at_k(arrays: Arrays, k: int, metrics: Collection[str]) -> dict[str, float]:
    """The totals of `metrics` by name, from the arrays of `evaluation_sweep.per_sample_arrays`.

    Beside precision stands expected_precision where the reference was compared with itself, for rarity or Clipped
    Density: the share of its samples in a ball of another one.
    """
    n, m = len(arrays["radius"]), len(arrays["inside"])
    columns = _columns(_QUERY_COLUMNS, arrays, k) | _columns(_REFERENCE_COLUMNS, arrays, k)
    means = {name: values.mean() for name, values in columns.items()}
    names = [name for metric in metrics for name in TOTALS_OF[metric]]
    found = _of_means(means, names, n, m, k)
    if "coverage" in metrics:
        found["expected_coverage"] = expected_coverage(n, m, k)
    if "precision" in metrics and "reference_rarity" in arrays:
        names.insert(names.index("precision") + 1, "expected_precision")
        found["expected_precision"] = np.mean(~np.isnan(arrays["reference_rarity"]))
    if "realism" in metrics:
        found["realism_median"] = np.median(arrays["realism"])
    if "rarity" in metrics:
        rarity = np.sort(arrays["rarity"][arrays["inside"]])
        found["rarity_median"] = np.median(rarity) if len(rarity) else np.nan
        # The mean over the rarest tenth, at least one sample: a shift there is what counts.
        found["rarity_top10"] = rarity[-max(1, len(rarity) // 10) :].mean() if len(rarity) else np.nan
    return {name: float(found[name]) for name in names}


def _columns(
    columns: Mapping[str, tuple[str, Callable[[Arrays, int], np.ndarray]]], arrays: Arrays, k: int
) -> dict[str, np.ndarray]:
    return {name: function(arrays, k) for name, (source, function) in columns.items() if source in arrays}


def _of_means(means: Means, names: Collection[str], n: int, m: int, k: int) -> dict[str, Any]:
    """Those of `names` that are functions of means; undefined ratios are NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = {name: function(means | {"k": k}) for name, function in _OF_MEANS.items() if name in names}
    if "clipped_coverage" in names:
        found["clipped_coverage"] = calibrated_clipped_coverage(means["queries"], n, m, k)
    return found
