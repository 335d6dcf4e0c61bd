"""Games of features: Shapley values, and the sum of positive interactions alone (API, ICLR 2025).

A game gives a number to each set of features: the score of an input where the others are hidden. Shapley's value of a
feature is its score alone and all its interactions; where features can stand in for one another the interactions are
negative and hide how much each could do. API leaves the negative ones out, so it is an importance, not a share: it does
not add up to the score.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import factorial
from typing import Literal

import numpy as np
from scipy.stats import t as student

__all__ = ["FeatureInteractions", "Rectified", "exact_interactions", "sampled_interactions"]

Game = Callable[[np.ndarray], np.ndarray]
"""Takes sets as rows of booleans ``(m, n)``, True where a feature is shown, and gives ``(m,)`` numbers."""

Rectified = Literal["interaction", "pair"]

MOST_EXACT = 12


@dataclass(frozen=True)
class FeatureInteractions:
    """What each of n features does, alone and with others.

    Attributes
    ----------
    importance : ndarray
        API, shape ``(n,)``: the effect alone and the positive interactions.
    shapley : ndarray
        Shape ``(n,)``; adds up to the score of all features less that of none.
    alone : ndarray
        ``v(i) - v(none)``, shape ``(n,)``.
    positive, negative : ndarray
        Sums of the positive and of the negative interactions of each feature, shape ``(n,)``; a large negative one
        says that others can stand in for it.
    pairs : ndarray
        Mean interaction of feature i with feature j, shape ``(n, n)``, as it stands in the value of i.
    interval, shapley_interval : ndarray or None
        Half widths of 95 % intervals, shape ``(n,)``; None where every set was asked.
    n_orders : int
        Random orders; 0 where every set was asked.
    n_evaluations : int
        How many sets were asked.
    """

    importance: np.ndarray
    shapley: np.ndarray
    alone: np.ndarray
    positive: np.ndarray
    negative: np.ndarray
    pairs: np.ndarray
    interval: np.ndarray | None
    shapley_interval: np.ndarray | None
    n_orders: int
    n_evaluations: int


def exact_interactions(
    game: Game, n: int, *, rectified: Rectified = "interaction", rectify_alone: bool = False
) -> FeatureInteractions:
    """Ask the game for every set of n features.

    ``API_i = v(i) - v(none) + sum over j, S of w(|S|) max(0, v(S, i, j) - v(S, i) - v(S, j) + v(S))``, with
    ``w(s) = s! (n - s - 1)! / n!``; without the max it is Shapley's value.

    Parameters
    ----------
    game
        See `Game`.
    n
        Features, at most 12: there are ``2 ** n`` sets.
    rectified
        Our reading of an open point of the paper: 'interaction' drops each negative one, 'pair' drops j where its
        mean interaction with i is negative.
    rectify_alone
        Whether a negative effect alone is dropped too.

    Raises
    ------
    ValueError
        If n is not between 1 and 12, or the game gives NaN.

    Examples
    --------
    >>> best = exact_interactions(lambda sets: (sets * [3, 3, 1]).max(1), 3)
    >>> best.importance.tolist(), best.shapley.round(2).tolist()
    ([3.0, 3.0, 1.0], [1.33, 1.33, 0.33])
    """
    if not 1 <= n <= MOST_EXACT:
        raise ValueError(f"There are {n} features; every set is asked for 1 to {MOST_EXACT}: use sampled_interactions.")
    numbers = np.arange(2**n)
    members = (numbers[:, None] >> np.arange(n)) & 1
    values = _asked(game, members.astype(bool))
    weight = np.array([factorial(s) * factorial(n - s - 1) / factorial(n) for s in range(n)])
    sizes = members.sum(1)
    alone = values[1 << np.arange(n)] - values[0]
    signed, above = np.zeros((n, n)), np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            if i == j:
                continue
            sets = numbers[(members[:, i] == 0) & (members[:, j] == 0)]
            one, other = 1 << i, 1 << j
            interaction = values[sets | one | other] - values[sets | one] - values[sets | other] + values[sets]
            signed[i, j] = (weight[sizes[sets]] * interaction).sum()
            above[i, j] = (weight[sizes[sets]] * interaction.clip(0)).sum()
    return FeatureInteractions(
        _importance(alone, signed, above, rectified, rectify_alone),
        alone + signed.sum(1),
        alone,
        above.sum(1),
        (signed - above).sum(1),
        signed,
        None,
        None,
        0,
        len(values),
    )


def sampled_interactions(
    game: Game,
    n: int,
    *,
    n_orders: int = 16,
    seed: int = 0,
    rectified: Rectified = "interaction",
    rectify_alone: bool = False,
) -> FeatureInteractions:
    """Ask the game along random orders; the mean over orders is API, and without the max Shapley's value.

    Our reading of the paper's approximation (its own is unconfirmed): each order shows the features one after the
    other; before each, what every hidden feature would add is asked. The change of that by one more shown feature is
    one interaction, so the mean over orders has no bias where the game is deterministic ('pair' has one that falls with
    the number of orders). Orders come in pairs, one the other's reverse, which share the sets of no feature and
    of all.

    Parameters
    ----------
    game
        See `Game`; it must be deterministic: the max of noise is not 0.
    n
        Features; an order asks ``n (n + 1) / 2`` sets.
    n_orders
        Even; intervals need at least 4.
    seed
        Of the orders.
    rectified, rectify_alone
        As in `exact_interactions`.

    Raises
    ------
    ValueError
        If n is below 1, `n_orders` is odd or below 2, or the game gives NaN.
    """
    if n < 1 or n_orders < 2 or n_orders % 2:
        raise ValueError(
            f"There are {n} features and {n_orders} orders; at least 1 and an even number from 2 are needed."
        )
    rng = np.random.default_rng(seed)
    nothing = float(_asked(game, np.zeros((1, n), dtype=bool))[0])
    n_evaluations = 1
    signed, above = np.zeros((n_orders, n, n)), np.zeros((n_orders, n, n))
    alone = np.zeros(n)
    order = rng.permutation(n)
    for number in range(n_orders):
        order = order[::-1] if number % 2 else rng.permutation(n)
        sets = np.concatenate([_with_each_hidden(order, shown) for shown in range(n)])
        values = _asked(game, sets)
        n_evaluations += len(values)
        alone, signed[number], above[number] = _increments(order, values, nothing)
    mean_signed, mean_above = signed.mean(0), above.mean(0)
    each = alone + signed.sum(2)
    each_importance = np.maximum(alone, 0) if rectify_alone else alone
    each_importance = each_importance + above.sum(2)
    return FeatureInteractions(
        _importance(alone, mean_signed, mean_above, rectified, rectify_alone),
        each.mean(0),
        alone,
        mean_above.sum(1),
        (mean_signed - mean_above).sum(1),
        mean_signed,
        _half_width(each_importance),
        _half_width(each),
        n_orders,
        n_evaluations,
    )


def _with_each_hidden(order: np.ndarray, shown: int) -> np.ndarray:
    """The sets of the first features of an order and one more, in the order of the rest, shape ``(n - shown, n)``."""
    hidden = order[shown:]
    sets = np.zeros((len(hidden), len(order)), dtype=bool)
    sets[:, order[:shown]] = True
    sets[np.arange(len(hidden)), hidden] = True
    return sets


def _increments(order: np.ndarray, values: np.ndarray, nothing: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n = len(order)
    signed, above = np.zeros((n, n)), np.zeros((n, n))
    before = np.zeros(n)
    now, start = nothing, 0
    alone = np.zeros(n)
    for shown in range(n):
        hidden = order[shown:]
        asked = values[start : start + len(hidden)]
        start += len(hidden)
        adds = np.zeros(n)
        adds[hidden] = asked - now
        if shown == 0:
            alone = adds
        else:
            change = adds[hidden] - before[hidden]
            signed[hidden, order[shown - 1]] = change
            above[hidden, order[shown - 1]] = change.clip(0)
        before, now = adds, asked[0]
    return alone, signed, above


def _importance(
    alone: np.ndarray, signed: np.ndarray, above: np.ndarray, rectified: Rectified, rectify_alone: bool
) -> np.ndarray:
    if rectified not in ("interaction", "pair"):
        raise ValueError(f"rectified is {rectified!r}; accepted are 'interaction' and 'pair'.")
    parts = above if rectified == "interaction" else signed.clip(0)
    return (np.maximum(alone, 0) if rectify_alone else alone) + parts.sum(1)


def _half_width(each: np.ndarray) -> np.ndarray | None:
    """95 % over the pairs of an order and its reverse, which are not independent of each other."""
    pairs = each.reshape(-1, 2, each.shape[1]).mean(1)
    if len(pairs) < 2:
        return None
    return student.ppf(0.975, len(pairs) - 1) * pairs.std(0, ddof=1) / np.sqrt(len(pairs))


def _asked(game: Game, sets: np.ndarray) -> np.ndarray:
    values = np.asarray(game(sets), dtype=np.float64)
    if values.shape != (len(sets),):
        raise ValueError(f"The game gave shape {values.shape} for {len(sets)} sets, but one number a set is needed.")
    if not np.isfinite(values).all():
        raise ValueError(
            "The game gave NaN or infinity: the model's score of an input with hidden features is no number."
        )
    return values
