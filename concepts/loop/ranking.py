"""Which method to look at first: the order of the methods by what they are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genmend.concepts.loop.tuning import Tuned, half_width

__all__ = ["DEFAULT_WEIGHTS", "SAME", "Explained", "checked_weights", "fails_a_check", "pareto", "ranked"]

SAME = 0.8  # rank correlation from which an explanation is called the same

DEFAULT_WEIGHTS = {"faithful": 3.0, "stable": 1.0, "compact": 1.0, "cheap": 1.0}


@dataclass(frozen=True)
class Explained:
    """What one method said, and how good that is.

    Attributes
    ----------
    method : str
    settings : dict
    attributions : ndarray
        One number a pixel, float32, shape ``(n, h, w)``.
    scores : dict of str to ndarray
        Measure -> one number a sample, shape ``(n,)``.
    seconds : float
        Of the explanations, a sample.
    passes : int
        Runs of the model, a sample.
    warnings : tuple of str
    tuned : Tuned or None
        What tuning gave, where it was asked for and the method has something to tune.
    """

    method: str
    settings: dict[str, Any]
    attributions: np.ndarray
    scores: dict[str, np.ndarray]
    seconds: float
    passes: int
    warnings: tuple[str, ...]
    tuned: Tuned | None = None

    def mean(self, measure: str) -> tuple[float, float]:
        """Mean over the samples, and the half width of its 95 % interval by Student's t (NaN for one sample)."""
        values = self.scores[measure]
        return float(values.mean()), half_width(values)


def checked_weights(weights: Mapping[str, float] | None) -> dict[str, float]:
    """The weight of each property; those that are not named count nothing.

    Raises
    ------
    ValueError
        If a property is unknown, a weight is below 0, or all are 0.
    """
    chosen = dict(DEFAULT_WEIGHTS if weights is None else weights)
    for name, value in chosen.items():
        if name not in DEFAULT_WEIGHTS or not value >= 0:
            raise ValueError(f"weight {name}={value}: accepted are {', '.join(DEFAULT_WEIGHTS)}, each at least 0.")
    if not sum(chosen.values()) > 0:
        raise ValueError("All weights are 0: give one of them more.")
    return {name: float(chosen.get(name, 0.0)) for name in DEFAULT_WEIGHTS}


def _properties(found: Sequence[Explained]) -> dict[str, np.ndarray]:
    """Property -> one number a method, higher is better."""
    values = {
        "faithful": [each.mean("AbPC")[0] for each in found],
        "stable": [-each.mean("sensitivity")[0] for each in found],
        "compact": [-each.mean("complexity")[0] for each in found],
        "cheap": [-each.passes for each in found],
    }
    return {name: np.array(numbers, dtype=float) for name, numbers in values.items()}


def ranked(found: Sequence[Explained], weights: Mapping[str, float]) -> list[Explained]:
    """The methods by the weighted sum of their ranks in each property, the best first.

    Those that explain another class or a model of random weights alike stand behind the others, whatever their ranks:
    they show what is there, not why. The control stands last.
    """
    control = [each for each in found if each.method == "random"]
    rest = [each for each in found if each.method != "random"]
    if not rest:
        return control
    total = np.zeros(len(rest))
    for name, values in _properties(rest).items():
        # The mean rank of equals.
        below = (values[:, None] > values).sum(1)
        equal = (values[:, None] == values).sum(1)
        total += weights[name] * (below + (equal - 1) / 2)
    in_order = [rest[i] for i in np.argsort(-total, kind="stable")]
    return sorted(in_order, key=fails_a_check) + control


def fails_a_check(found: Explained) -> bool:
    """Whether a method explains another class, or a model of random weights, as it explains this one."""
    return any(float(found.scores[name].mean()) > SAME for name in ("other class", "random weights"))


def pareto(found: Sequence[Explained]) -> list[str]:
    """Names of the methods than which none is at least as good in every property and better in one."""
    values = np.array(list(_properties(found).values())).T
    return [
        each.method
        for each, own in zip(found, values, strict=True)
        if not ((values >= own).all(1) & (values > own).any(1)).any()
    ]
