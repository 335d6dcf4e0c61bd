"""A region: the samples in which some neurons are in given states; and regions joined by and, or, not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from genmend.concepts.regions.configurations import Configurations
from genmend.storage.hub.shareable import Shareable

__all__ = ["JoinedRegion", "Region"]


class _Algebra(Shareable):
    """Regions are joined by ``&``, ``|`` and ``~``; each can be saved and shared."""

    _kinds = ("region",)

    def contains(self, samples: Configurations) -> np.ndarray:
        raise NotImplementedError

    def __and__(self, other: Any) -> JoinedRegion:
        return JoinedRegion("and", (self, other))

    def __or__(self, other: Any) -> JoinedRegion:
        return JoinedRegion("or", (self, other))

    def __invert__(self) -> JoinedRegion:
        return JoinedRegion("not", (self,))


@dataclass(frozen=True)
class Region(_Algebra):
    """The samples in which at least m of t neurons are in the states of the rule.

    Attributes
    ----------
    layer : str
    neurons : tuple of int
        Their numbers among the layer's neurons, the most telling first.
    states : tuple of bool
        Whether each must be on.
    at_least : int
        m; ``len(neurons)`` is the published, hard region.
    thresholds : tuple of float
        Above which each neuron is on.
    """

    layer: str
    neurons: tuple[int, ...]
    states: tuple[bool, ...]
    at_least: int
    thresholds: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.neurons:
            raise ValueError("A region needs at least one neuron: the empty rule holds every sample.")
        if not len(self.neurons) == len(self.states) == len(self.thresholds):
            raise ValueError("A region needs one state and one threshold a neuron.")
        if not 1 <= self.at_least <= len(self.neurons):
            raise ValueError(f"at_least is {self.at_least}, but the rule has {len(self.neurons)} neurons.")

    def agreeing(self, samples: Configurations) -> np.ndarray:
        """How many neurons of the rule are in its states, whole numbers of shape ``(n,)``.

        Raises
        ------
        ValueError
            If the samples are of another layer or other thresholds.
        """
        neurons = np.array(self.neurons)
        if samples.layer != self.layer or neurons.max() >= samples.n_neurons:
            raise ValueError(
                f"The region is of layer {self.layer!r}, the samples are of {samples.layer!r} with {samples.n_neurons} "
                "neurons: take configurations of that layer."
            )
        if not np.array_equal(samples.thresholds[neurons], np.array(self.thresholds, dtype=np.float32)):
            raise ValueError("The samples were seen by other thresholds: make them with those of the region's samples.")
        return (samples.states(neurons) == np.array(self.states)).sum(1)

    def contains(self, samples: Configurations) -> np.ndarray:
        """Which samples are in the region, booleans of shape ``(n,)``; errors as `agreeing`."""
        inside: np.ndarray = self.agreeing(samples) >= self.at_least
        return inside

    def to_dict(self) -> dict[str, Any]:
        """JSON's view."""
        return {
            "layer": self.layer,
            "neurons": list(self.neurons),
            "states": list(self.states),
            "at_least": self.at_least,
            "thresholds": list(self.thresholds),
        }


@dataclass(frozen=True)
class JoinedRegion(_Algebra):
    """Regions of one layer joined: samples in all of them, in any, or not in the one.

    >>> one = Region("1", (0,), (True,), 1, (0.0,))
    >>> (one & ~one).how
    'and'
    """

    how: Literal["and", "or", "not"]
    parts: tuple[Any, ...]

    def contains(self, samples: Configurations) -> np.ndarray:
        """Which samples are in it, booleans of shape ``(n,)``."""
        inside = np.array([part.contains(samples) for part in self.parts])
        if self.how == "not":
            return ~inside[0]
        join = np.logical_and if self.how == "and" else np.logical_or
        joined: np.ndarray = join.reduce(inside)
        return joined

    def to_dict(self) -> dict[str, Any]:
        """JSON's view."""
        return {self.how: [part.to_dict() for part in self.parts]}
