"""Which effects of one unit on others are more than chance: against random units, or by peaks over a threshold."""

from __future__ import annotations

import numpy as np
from scipy.stats import false_discovery_control, genpareto, norm

__all__ = ["N_LEAST", "beyond_random_units", "peaks_over_threshold"]

N_LEAST = 8  # random units that have a spread


def beyond_random_units(effects: np.ndarray, random_effects: np.ndarray, *, false_share: float = 0.05) -> np.ndarray:
    """Which effects are larger in size than those that random units of the same block have on the same unit.

    For each unit j the effects of random units give a centre and a spread (median, and median absolute deviation, as
    few of them may be real); the tails of the normal distribution give a chance, and Benjamini-Hochberg chooses among
    the units j of one source.

    Parameters
    ----------
    effects
        Of m sources on the next block's units, shape ``(m, units)``.
    random_effects
        Of random units of the sources' block, shape ``(r, units)``; at least 8.
    false_share
        Of the chosen ones, 0..1.

    Returns
    -------
    ndarray
        Booleans, shape ``(m, units)``.

    Raises
    ------
    ValueError
        If there are fewer than 8 random units.
    """
    if len(random_effects) < N_LEAST:
        raise ValueError(f"There are {len(random_effects)} random units, but a spread needs at least {N_LEAST}.")
    centre = np.median(random_effects, axis=0)
    spread = np.median(np.abs(random_effects - centre), axis=0) / norm.ppf(0.75)
    # A unit that no random unit moves: any move counts, but by what rounding leaves of the largest.
    least = 1e-6 * np.abs(random_effects).max() + np.finfo(np.float64).tiny
    z = np.abs(effects - centre) / np.maximum(spread, least)
    chance = 2 * norm.sf(z)
    return np.array([false_discovery_control(row) <= false_share for row in chance]).reshape(effects.shape)


def peaks_over_threshold(scores: np.ndarray, *, percentile: float = 90.0, level: float = 0.95) -> float:
    """The published threshold: the return level of a generalised Pareto distribution of the excesses.

    ``u`` is the percentile, ``xi = max(xi, 1e-9)``, ``sigma = min(sigma, deviation of the excesses)``, and
    ``r = u + sigma / xi * ((n / n_excesses * (1 - level)) ** -xi - 1)`` (Kwon et al. 2025; the public code's form).
    At level 0.95 it is about the plain 95 % quantile whatever the percentile is: it keeps some 5 % of the candidates
    whether or not any matters. `beyond_random_units` does not.

    Parameters
    ----------
    scores
        Of the candidates, shape ``(n,)``, at least 0.
    percentile
        0..100, published 90.
    level
        0..1, published 0.95.

    Returns
    -------
    float
        NaN where fewer than two candidates exceed the percentile.
    """
    threshold = float(np.percentile(scores, percentile))
    excesses = scores[scores > threshold] - threshold
    if len(excesses) < 2 or excesses.std() == 0:
        return float("nan")
    shape, _, scale = genpareto.fit(excesses, floc=0)
    shape, scale = max(shape, 1e-9), min(scale, float(excesses.std()))
    return threshold + scale / shape * ((len(scores) / len(excesses) * (1 - level)) ** -shape - 1)
