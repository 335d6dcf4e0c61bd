"""Bootstrap: how far means of per-sample values would scatter if the samples were drawn again."""

from __future__ import annotations

import numpy as np

LEVEL = 0.95
_CHUNK_VALUES = 1 << 22


def resampled_means(values: np.ndarray, n_resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Means of the columns over rows drawn with replacement, as many as there are.

    All columns of a resample see the same rows, so that ratios and minima of means keep their dependence.

    Parameters
    ----------
    values
        (n, c) float64.
    n_resamples
        How often to draw.
    rng
        Where the draws come from.

    Returns
    -------
    (n_resamples, c) float64.
    """
    n = len(values)
    means = np.empty((n_resamples, values.shape[1]))
    at_once = max(1, _CHUNK_VALUES // n)
    for start in range(0, n_resamples, at_once):
        part = means[start : start + at_once]
        own = n * np.arange(len(part))[:, None]  # the counts of each resample in a range of bins of its own
        drawn = rng.integers(n, size=(len(part), n)) + own
        counts = np.bincount(drawn.ravel(), minlength=len(part) * n).reshape(len(part), n)
        np.matmul(counts.astype(np.float64), values, out=part)
        part /= n
    return means


def percentile_interval(replicates: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of the (n_resamples,) replicates; NaN where any of them is undefined.

    Source: Efron, "Bootstrap methods: another look at the jackknife", 1979; the percentile method.
    """
    tail = (1 - LEVEL) / 2
    if np.isnan(replicates).any():
        return float("nan"), float("nan")
    low, high = np.quantile(replicates, [tail, 1 - tail], method="nearest")  # others subtract, inf - inf among them
    return float(low), float(high)
