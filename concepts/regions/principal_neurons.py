"""The few neurons that tell a group of samples from all others."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any, Literal

import numpy as np

from genmend.concepts.regions.configurations import Configurations
from genmend.concepts.regions.region import Region

__all__ = ["Choice", "RegionPath", "region_of"]

Choice = Literal["mrmr", "covering", "sorted"]
LEAST_TELLING = 0.5  # of the most telling neuron's difference of means: what all samples fulfil makes soft rules void
MOST_COMPARED = 512  # candidates whose correlations are looked at, the most telling ones


@dataclass(frozen=True)
class RegionPath:
    """A region, and how it came about, neuron by neuron.

    Attributes
    ----------
    region : Region
    members : ndarray
        Numbers of the samples that are in it, the group's own among them.
    positive : ndarray
        Numbers of the group that it was made of.
    n_inside : ndarray
        How many samples are in the region of the first 1, 2, ... t neurons alone, shape ``(t,)``.
    n_positive_inside : ndarray
        How many of the group are, shape ``(t,)``.
    n_candidates : int
        Neurons that the group agrees on.
    """

    region: Region
    members: np.ndarray
    positive: np.ndarray
    n_inside: np.ndarray
    n_positive_inside: np.ndarray
    n_candidates: int

    @property
    def purity(self) -> np.ndarray:
        """The group's share of those inside, by the size of the rule, shape ``(t,)``."""
        return self.n_positive_inside / self.n_inside

    def to_dict(self) -> dict[str, Any]:
        """JSON's view."""
        return {
            "region": self.region.to_dict(),
            "members": self.members.tolist(),
            "positive": self.positive.tolist(),
            "n_inside": self.n_inside.tolist(),
            "n_positive_inside": self.n_positive_inside.tolist(),
            "n_candidates": self.n_candidates,
        }


def region_of(
    samples: Configurations,
    positive: np.ndarray,
    *,
    n_neurons: int = 10,
    agreement: float = 1.0,
    at_least: float | None = None,
    choice: Choice = "covering",
    among: np.ndarray | None = None,
    values: np.ndarray | None = None,
) -> RegionPath:
    """The rule of a few neurons that holds for a group of samples and for few others.

    Parameters
    ----------
    samples
        All samples, the group among them.
    positive
        Numbers of the group: a sample and its nearest (k 8 published), or the samples that a detector flagged.
    n_neurons
        t, published 10. The rule has fewer where the group agrees on fewer, and a covering one where no further neuron
        shuts anybody out.
    agreement
        The share of the group that must be in one state for a neuron to be taken, above 0.5; 1 is published. Below 1
        give `at_least` too, or members of the group fall out one by one.
    at_least
        How many neurons of the rule a sample must fulfil, a whole number from 1, or their share, a float of at most 1;
        default all; never more than the rule has.
    choice
        'sorted' takes those most unlike the whole, ``|mean of the group - mean of all|``, as the published code does.
        'mrmr' takes one by one the neuron with the largest of these, less its mean ``|correlation|`` with those taken
        before (minimum redundancy, maximum relevance; Peng et al., 2005), and none less than half as telling as the
        most telling one. 'covering' takes the one that shuts out most
        of those still inside: the fewest neurons, and the worst of the three on new samples.
    among
        Numbers of the neurons that may be taken; default all.
    values
        Preactivations of the group less the thresholds, shape ``(len(positive), n_neurons of the layer)``: ties go to
        the larger ``|mean| / deviation``, then to the smaller number.

    Raises
    ------
    ValueError
        If the group is empty or holds all samples, no neuron is in one state in it, or an option is out of range.
    """
    positive = np.unique(np.asarray(positive))
    if not 0 < len(positive) < len(samples):
        raise ValueError(
            f"The group has {len(positive)} of {len(samples)} samples, but at least 1 and not all of them are needed."
        )
    if positive[0] < 0 or positive[-1] >= len(samples):
        raise ValueError(f"positive names sample {positive[-1]}, but there are {len(samples)}, from 0.")
    if not 0.5 < agreement <= 1 or n_neurons < 1:
        raise ValueError(f"agreement {agreement} must be above 0.5 and at most 1, n_neurons {n_neurons} at least 1.")
    if choice not in _CHOICES:
        raise ValueError(f"choice is {choice!r}; accepted are {', '.join(map(repr, _CHOICES))}.")
    rates = samples.on_counts(positive) / len(positive)
    allowed = np.arange(samples.n_neurons) if among is None else np.unique(among)
    candidates = allowed[np.maximum(rates, 1 - rates)[allowed] >= agreement]
    if not len(candidates):
        raise ValueError(
            f"No neuron of {samples.layer!r} is in one state in {agreement:.0%} of the {len(positive)} samples, so "
            "that no rule holds for them: take fewer samples, a lower agreement, or another layer."
        )
    order = _by_margin(candidates, values)
    if choice != "covering":  # it alone looks at how all candidates go together
        on, everywhere = rates[candidates] > 0.5, samples.on_in_all[candidates]
        alike = np.where(on, everywhere, len(samples) - everywhere) / len(samples)
        relevance = (np.where(on, rates[candidates], 1 - rates[candidates]) - alike)[order]
        order = order[np.argsort(-relevance, kind="stable")[: max(MOST_COMPARED, n_neurons)]]
    candidates, n_candidates = candidates[order], len(candidates)
    states = rates[candidates] > 0.5
    fulfilled = _fulfilled(samples, candidates, states)
    rows = _CHOICES[choice](fulfilled, positive, len(samples), n_neurons)
    neurons = candidates[rows]
    region = Region(
        samples.layer,
        tuple(neurons.tolist()),
        tuple(states[rows].tolist()),
        _needed(at_least, len(neurons)),
        tuple(samples.thresholds[neurons].tolist()),
    )
    needed = np.array([_needed(at_least, size + 1) for size in range(len(rows))])
    so_far = np.cumsum(_unpacked(fulfilled[rows], len(samples)), axis=0) >= needed[:, None]
    return RegionPath(
        region,
        np.flatnonzero(region.contains(samples)),
        positive,
        so_far.sum(1),
        so_far[:, positive].sum(1),
        n_candidates,
    )


def _needed(at_least: float | None, size: int) -> int:
    """How many neurons of a rule of this size a sample must fulfil."""
    if at_least is None:
        return size
    if isinstance(at_least, float):
        if not 0 < at_least <= 1:
            raise ValueError(
                f"at_least is {at_least}; give a share above 0 and at most 1, or a whole number of neurons."
            )
        return ceil(at_least * size - 1e-9)
    return min(at_least, size)


def _fulfilled(samples: Configurations, neurons: np.ndarray, states: np.ndarray) -> np.ndarray:
    """Packed along samples: in which of them each neuron is in its state, shape ``(len(neurons), ceil(n / 8))``."""
    block = max(1, 2**24 // len(samples))
    return np.concatenate(
        [
            np.packbits(states[i : i + block, None] == samples.states(neurons[i : i + block]).T, axis=1)
            for i in range(0, len(neurons), block)
        ]
    )


def _by_margin(candidates: np.ndarray, values: np.ndarray | None) -> np.ndarray:
    if values is None:
        return np.arange(len(candidates))
    chosen = values[:, candidates]
    margin = np.abs(chosen.mean(0)) / (chosen.std(0) + np.finfo(np.float32).eps)
    return np.argsort(-margin, kind="stable")


def _covering(fulfilled: np.ndarray, positive: np.ndarray, n: int, n_neurons: int) -> np.ndarray:
    """Rows chosen one by one: the one that leaves fewest of the others inside; it ends where none shuts out any."""
    group = np.zeros(n, dtype=bool)
    group[positive] = True
    others = np.packbits(~group)
    inside = others
    chosen: list[int] = []
    left = int(np.bitwise_count(inside).sum())
    while len(chosen) < n_neurons:
        counts = np.bitwise_count(fulfilled & inside).sum(1, dtype=np.int64)
        best = int(counts.argmin())
        if counts[best] == left and chosen:
            break
        chosen.append(best)
        inside, left = inside & fulfilled[best], int(counts[best])
        if not left:
            break
    return np.array(chosen)


def _sorted(fulfilled: np.ndarray, positive: np.ndarray, n: int, n_neurons: int) -> np.ndarray:
    """The rows that fewest samples fulfil, against how many of the group do: the largest difference of means."""
    return np.argsort(-_relevance(fulfilled, positive, n), kind="stable")[:n_neurons]


def _mrmr(fulfilled: np.ndarray, positive: np.ndarray, n: int, n_neurons: int) -> np.ndarray:
    relevance = _relevance(fulfilled, positive, n)
    telling = np.flatnonzero(relevance >= LEAST_TELLING * relevance.max())
    relevance, states = relevance[telling], _unpacked(fulfilled[telling], n).astype(np.float32)
    states -= states.mean(1, keepdims=True)
    states /= np.maximum(np.linalg.norm(states, axis=1, keepdims=True), 1e-6)
    redundancy = np.zeros(len(states))
    chosen: list[int] = []
    for size in range(min(n_neurons, len(states))):
        best = int((relevance - redundancy / max(size, 1)).argmax())
        chosen.append(best)
        redundancy += np.abs(states @ states[best])
        relevance[best] = -np.inf
    return telling[chosen]


def _relevance(fulfilled: np.ndarray, positive: np.ndarray, n: int) -> np.ndarray:
    """The group's share that is in a neuron's state, less the share of all."""
    own = _unpacked(fulfilled, n)[:, positive].mean(1)
    relevance: np.ndarray = own - np.bitwise_count(fulfilled).sum(1, dtype=np.int64) / n
    return relevance


def _unpacked(bits: np.ndarray, n: int) -> np.ndarray:
    return np.unpackbits(bits, axis=1, count=n).astype(bool)


_CHOICES = {"mrmr": _mrmr, "covering": _covering, "sorted": _sorted}
