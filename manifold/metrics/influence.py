"""How far KID and the Vendi score would move had other samples been drawn: from what each sample adds to them.

Both are smooth functions of the distributions, so to first order their error is a mean over the samples of what each
adds (its influence), and the scatter of that mean is known from one pass. Halves, as the metrics of balls need, would
take as long as many evaluations. The influences are averaged over random groups of rows; a group's mean, shrunk to the
size of the whole, moves as the total would from draw to draw. The groups of a set depend on its size and the seed
alone, so those of two queries against one reference belong together, group by group.

Source: the infinitesimal jackknife, Efron and Stein 1981; influences of U-statistics, Hoeffding 1948.
experiments/images/compared_sets.py counts how often differences of alike sets hold 0.
"""

from __future__ import annotations

import numpy as np

from genmend.manifold.metrics.kernel_distance import kernel_values
from genmend.manifold.metrics.vendi import vendi_influence

__all__ = ["kid_draws", "vendi_draws"]

N_GROUPS = 20
_FEWEST = 4  # samples in a group
_MOST = 4096  # samples of a set whose influence is measured: their scatter is that of all


def kid_draws(
    reference: np.ndarray, query: np.ndarray, total: float, over_subsets: np.ndarray, seed: int
) -> np.ndarray:
    """(N_GROUPS,) values round the kernel distance `total` that scatter as those of other draws of both sets.

    Where the sets are alike it falls faster than the influence says, and the values scatter up to 1.4 times too far.

    Parameters
    ----------
    reference, query
        (n, d) and (m, d) checked features.
    over_subsets
        (s,) the values whose mean `total` is: the choice of the subsets adds to its error where there are several.
    seed
        Of the groups.

    Returns
    -------
    NaN where a set has fewer than 4 samples for each group.
    """
    rows = [_groups(len(values), seed, side) for side, values in enumerate((reference, query))]
    if not all(rows):
        return np.full(N_GROUPS, np.nan)
    x, y = (values[np.concatenate(of)] for values, of in zip((reference, query), rows, strict=True))
    within_x, within_y, between = kernel_values(x, x), kernel_values(y, y), kernel_values(x, y)
    with np.errstate(over="ignore", invalid="ignore"):  # of huge features
        of_x = 2 * ((within_x.sum(axis=1) - np.diag(within_x)) / (len(x) - 1) - between.mean(axis=1))
        of_y = 2 * ((within_y.sum(axis=1) - np.diag(within_y)) / (len(y) - 1) - between.mean(axis=0))
        found = total + _scatter(of_x, rows[0], len(reference)) + _scatter(of_y, rows[1], len(query))
        if len(over_subsets) >= N_GROUPS:
            each = len(over_subsets) // N_GROUPS
            by_group = over_subsets[: each * N_GROUPS].reshape(N_GROUPS, each).mean(axis=1)
            found += _unbiased(by_group - by_group.mean()) * np.sqrt(each / len(over_subsets))
    return found


def vendi_draws(features: np.ndarray, total: float, seed: int) -> np.ndarray:
    """(N_GROUPS,) values round the Vendi score `total` that scatter as those of other draws as large.

    Parameters
    ----------
    features
        (n, d) checked features.
    seed
        Of the groups.

    Returns
    -------
    NaN where a set has fewer than 4 samples for each group, or no more samples than features: the score comes close to
    their number then, and its scatter is more than what each of them adds.
    """
    n, d = features.shape
    rows = _groups(n, seed, 1)
    if not rows or n <= d:
        return np.full(N_GROUPS, np.nan)
    found: np.ndarray = total + _scatter(total * vendi_influence(features)[np.concatenate(rows)], rows, n)
    return found


def _groups(n: int, seed: int, side: int) -> list[np.ndarray]:
    """Rows of each group, at random; none where they are too few."""
    if n < _FEWEST * N_GROUPS:
        return []
    return np.array_split(np.random.default_rng([seed, side]).permutation(n)[:_MOST], N_GROUPS)


def _scatter(influence: np.ndarray, groups: list[np.ndarray], n: int) -> np.ndarray:
    """(N_GROUPS,) deviations as large as those of the mean of n such influences; these stand group after group."""
    cuts = np.cumsum([len(rows) for rows in groups])[:-1]
    means = np.array([part.mean() for part in np.split(influence, cuts)])
    return _unbiased(means - influence.mean()) * np.sqrt(len(influence) / len(groups) / n)


def _unbiased(deviations: np.ndarray) -> np.ndarray:
    """Deviations from their own mean, as large as those from the true one."""
    return deviations * np.sqrt(len(deviations) / (len(deviations) - 1))
