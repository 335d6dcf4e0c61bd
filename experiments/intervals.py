"""The bootstrap of every experiment: percentile intervals of a figure, in one place."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray


def bootstrap(
    figure: Callable[[NDArray[np.int64]], float],
    n: int | Sequence[int],
    seed: int | np.random.Generator = 0,
    n_resamples: int = 2_000,
) -> tuple[float, float, float]:
    """A figure of all rows, and its 95 % interval over rows drawn with replacement.

    Parameters
    ----------
    figure
        From the numbers of rows, (n,) int64, to a value; NaN where a resample does not define it, which leaves that
        resample out.
    n
        How many rows there are; of several groups that are each drawn from themselves, how many in each, one after
        the other.
    seed
        Where the draws come from: the same seed draws the same rows for every figure.
    n_resamples
        How often rows are drawn.

    Returns
    -------
    value, lower end, upper end.

    Source: Efron, "Bootstrap methods: another look at the jackknife", 1979; the percentile method. Resampling is
    paired: what belongs to a row is drawn together. `scipy.stats.bootstrap` does the same for one group, but draws
    several groups in another order, which would change figures that are published.
    """
    rng = np.random.default_rng(seed)
    sizes = np.atleast_1d(n)
    starts = np.cumsum(sizes) - sizes

    def resample() -> NDArray[np.int64]:
        parts = [start + rng.integers(0, size, size) for start, size in zip(starts, sizes, strict=True)]
        return np.concatenate(parts)

    low, high = np.nanquantile([figure(resample()) for _ in range(n_resamples)], (0.025, 0.975))
    return float(figure(np.arange(sizes.sum()))), float(low), float(high)


def mean_with_interval(
    values: NDArray[np.generic], seed: int | np.random.Generator = 0, n_resamples: int = 2_000
) -> tuple[float, float, float]:
    """The mean of values (n,) and its 95 % interval, as `bootstrap`: value, lower end, upper end."""
    return bootstrap(lambda rows: float(values[rows].mean()), len(values), seed, n_resamples)
