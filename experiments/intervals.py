"""The bootstrap of every experiment: percentile intervals of a figure, in one place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def bootstrap(
    figure: Callable[[NDArray[np.int64]], float],
    n: int | Sequence[int],
    seed: int | np.random.Generator = 0,
    n_resamples: int = 2_000,
    level: float = 0.95,
) -> tuple[float, float, float]:
    """A figure of all rows, and its interval (95 %) over rows drawn with replacement.

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
    level
        Of the interval.

    Returns
    -------
    value, lower end, upper end.

    Source: Efron, "Bootstrap methods: another look at the jackknife", 1979; the percentile method. Resampling is
    paired: what belongs to a row is drawn together. `scipy.stats.bootstrap` does the same for one group, but draws
    several groups in another order, which would change figures that are published.
    """
    sizes = tuple(np.atleast_1d(n).tolist())
    draws = (
        _draws(seed, sizes, n_resamples) if isinstance(seed, np.random.Generator) else _kept(seed, sizes, n_resamples)
    )
    low, high = np.nanquantile([figure(rows) for rows in draws], _ends_of(level))
    return float(figure(np.arange(sum(sizes)))), float(low), float(high)


def _ends_of(level: float) -> tuple[float, float]:
    """Exactly 0.025 and 0.975 at 0.95."""
    beyond = round((1 - level) / 2, 12)
    return beyond, 1 - beyond


def _draws(seed: int | np.random.Generator, sizes: tuple[int, ...], n_resamples: int) -> NDArray[np.int64]:
    """Rows of all resamples, ``(n_resamples, sum of sizes)``."""
    rng = np.random.default_rng(seed)
    draws = np.empty((n_resamples, sum(sizes)), dtype=np.int64)
    starts = np.cumsum(sizes) - sizes
    for rows in draws:
        for start, size in zip(starts, sizes, strict=True):
            rows[start : start + size] = start + rng.integers(0, size, size)
    draws.flags.writeable = False
    return draws


_kept = lru_cache(maxsize=2)(_draws)  # a page asks for the same draws dozens of times


def mean_with_interval(
    values: NDArray[np.generic], seed: int | np.random.Generator = 0, n_resamples: int = 2_000
) -> tuple[float, float, float]:
    """The mean of values (n,) and its 95 % interval, as `bootstrap`: value, lower end, upper end."""
    return bootstrap(lambda rows: float(values[rows].mean()), len(values), seed, n_resamples)
