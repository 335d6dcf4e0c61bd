"""Regions round single samples, and kinds of samples that something flagged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import false_discovery_control, norm

from genmend.concepts.regions.configurations import Configurations
from genmend.concepts.regions.neighbours import nearest_configurations
from genmend.concepts.regions.principal_neurons import Choice, RegionPath, region_of

__all__ = ["FlaggedKind", "find_kinds", "find_region"]


def find_region(
    samples: Configurations,
    number: int,
    *,
    k: int = 8,
    n_neurons: int = 60,
    at_least: float | None = 0.8,
    choice: Choice = "mrmr",
    values: Callable[[np.ndarray], np.ndarray] | None = None,
    **options: Any,
) -> RegionPath:
    """The relaxed decision region round one sample (Kwon et al., AAAI 2024).

    The defaults are those whose members were purest on samples held out (docs/results/concepts-regions.md); the
    published rule is ``n_neurons=10, at_least=None, choice="sorted"``.

    Parameters
    ----------
    samples
        See `genmend.concepts.regions.configurations.configurations`.
    number
        Of the sample.
    k
        Nearest samples by Hamming distance that the rule must hold for, the sample itself among them; published 8.
    n_neurons, at_least, choice, options
        See `region_of`.
    values
        Gives the preactivations ``(k, n_neurons of the layer)`` of samples by their numbers, as `preactivations` has
        them; neurons that serve alike are then chosen by their margin.

    Raises
    ------
    ValueError
        If there are not more than k samples, or no neuron is in one state in the k nearest.
    """
    if not 0 <= number < len(samples):
        n = len(samples)
        raise ValueError(f"number is {number}, but there are {n} samples: give one from 0 to {n - 1}.")
    if len(samples) <= k:
        raise ValueError(
            f"There are {len(samples)} samples, but more than k = {k} are needed: give more, or a smaller k."
        )
    _, near = nearest_configurations(samples, samples[number : number + 1], k)
    # Of samples that are alike to the last bit any may come first.
    group = np.unique(near[0] if number in near[0] else np.append(near[0][:-1], number))
    margins = None if values is None else values(group).reshape(len(group), -1) - samples.thresholds
    return region_of(samples, group, n_neurons=n_neurons, at_least=at_least, choice=choice, values=margins, **options)


@dataclass(frozen=True)
class FlaggedKind:
    """A region that holds far more of the flagged samples than of the others.

    Attributes
    ----------
    path : RegionPath
    seed : int
        The flagged sample it was found round.
    flagged, others : ndarray
        Numbers of the samples inside.
    precision : float
        Flagged share of those inside, 0..1.
    lift : float
        That share over the flagged share of all samples.
    """

    path: RegionPath
    seed: int
    flagged: np.ndarray
    others: np.ndarray
    precision: float
    lift: float

    def to_dict(self) -> dict[str, Any]:
        """JSON's view."""
        return {
            **self.path.to_dict(),
            "seed": self.seed,
            "n_flagged": len(self.flagged),
            "n_others": len(self.others),
            "precision": self.precision,
            "lift": self.lift,
        }


def find_kinds(
    samples: Configurations,
    flagged: np.ndarray,
    *,
    n_kinds: int = 4,
    k: int = 8,
    n_neurons: int = 6,
    agreement: float = 0.8,
    at_least: int | None = None,
) -> list[FlaggedKind]:
    """Kinds of flagged samples: regions that share out as many of them as may be, one after the other.

    Only neurons count that are on more often, or less, in flagged samples than in others, beyond chance (a test of two
    proportions, Benjamini-Hochberg at 5 %; at most 512 of them, the surest). Round each flagged sample the rule is
    found that holds for its k nearest flagged ones and for few others. The kind taken first holds the most flagged
    samples for the fewest others; the next is judged by those not yet held.

    Parameters
    ----------
    samples
        Of all samples.
    flagged
        Booleans of shape ``(n,)``.
    n_kinds
        At most; fewer come where no further region holds two flagged samples more than its others weigh, none where
        no neuron differs.
    k, n_neurons, agreement, at_least
        See `region_of`; by default a rule asks for as many of its neurons as serve it best, more than
        half.

    Raises
    ------
    ValueError
        If fewer than k samples are flagged, or all are.
    """
    flagged = np.asarray(flagged, dtype=bool)
    if flagged.shape != (len(samples),):
        raise ValueError(f"flagged has shape {flagged.shape}, but one boolean for each of {len(samples)} is needed.")
    numbers, rate = np.flatnonzero(flagged), flagged.mean()
    if len(numbers) < k or rate == 1:
        raise ValueError(
            f"{len(numbers)} of {len(samples)} samples are flagged, but at least k = {k} and not all are needed: "
            "give more samples, or a smaller k."
        )
    telling = _telling_neurons(samples, flagged)
    if not len(telling):
        return []
    seen = _only(samples[numbers], telling)
    _, near = nearest_configurations(seen, seen, k)
    rounds = (_kind_round(samples, flagged, numbers[row], telling, n_neurons, agreement, at_least) for row in near)
    found = [kind for kind in rounds if kind is not None]
    if not found:
        return []
    inside = np.array([kind.path.region.contains(samples) for kind in found])
    waiting = flagged.copy()
    kinds: list[FlaggedKind] = []
    while len(kinds) < n_kinds:
        gain = _gain(inside, flagged) - (inside & flagged & ~waiting).sum(1)
        best = int(gain.argmax())
        if gain[best] < 2:
            break
        kinds.append(found[best])
        waiting &= ~inside[best]
    options = {"n_neurons": n_neurons, "agreement": agreement, "among": telling}
    return [_with_its_path(kind, samples, options) for kind in kinds]


def _with_its_path(kind: FlaggedKind, samples: Configurations, options: dict[str, Any]) -> FlaggedKind:
    """The same, with the path of its rule by as many neurons as it asks for."""
    path = region_of(samples, kind.path.positive, at_least=kind.path.region.at_least, **options)
    return replace(kind, path=path)


def _telling_neurons(samples: Configurations, flagged: np.ndarray, most: int = 512) -> np.ndarray:
    """Neurons whose rate differs between flagged samples and the others, the surest first."""
    n_flagged, n_others = int(flagged.sum()), int((~flagged).sum())
    on = samples.on_counts(np.flatnonzero(flagged))
    on_others = samples.on_counts(np.flatnonzero(~flagged))
    rate = (on + on_others) / len(flagged)
    spread = np.sqrt(rate * (1 - rate) * (1 / n_flagged + 1 / n_others))
    difference = np.abs(on / n_flagged - on_others / n_others)
    z = np.divide(difference, spread, out=np.zeros_like(spread), where=spread > 0)
    order = np.argsort(-z, kind="stable")
    chance = false_discovery_control(2 * norm.sf(z[order]))
    return order[:most][chance[:most] <= 0.05]


def _only(samples: Configurations, neurons: np.ndarray) -> Configurations:
    bits = np.packbits(samples.states(neurons), axis=1)
    return replace(samples, bits=bits, n_neurons=len(neurons), thresholds=samples.thresholds[neurons])


def _kind_round(
    samples: Configurations,
    flagged: np.ndarray,
    group: np.ndarray,
    telling: np.ndarray,
    n_neurons: int,
    agreement: float,
    at_least: int | None,
) -> FlaggedKind | None:
    options: dict[str, Any] = {"n_neurons": n_neurons, "agreement": agreement, "among": telling}
    best, most = None, -np.inf
    seed = int(group[0])
    # The few it begins with agree by chance on some neurons; those whom the rule brings in do not.
    while len(group):
        try:
            path = region_of(samples, group, **options)
        except ValueError:  # these few agree on no neuron
            break
        least = _best_share(path.region.agreeing(samples), flagged, len(path.region.neurons))
        least = least if at_least is None else min(at_least, len(path.region.neurons))
        region = replace(path.region, at_least=least)
        inside = region.contains(samples)
        path = replace(path, region=region, members=np.flatnonzero(inside))
        own = flagged[path.members]
        gain = float(_gain(inside, flagged))
        if gain <= most:
            break
        precision = float(own.mean()) if len(own) else 0.0
        lift = precision / float(flagged.mean())
        best, most = FlaggedKind(path, seed, path.members[own], path.members[~own], precision, lift), gain
        group = path.members[own]
    return best


def _gain(inside: np.ndarray, flagged: np.ndarray) -> np.ndarray:
    """Flagged samples inside, less a part of the others inside; along the last axis.

    The part is the root of the flagged samples' odds: the odds themselves, which chance would give, prefer large mixed
    regions; 1 finds none where few samples are flagged.
    """
    cost = np.sqrt(flagged.mean() / (1 - flagged.mean()))
    return (inside & flagged).sum(-1) - cost * (inside & ~flagged).sum(-1)


def _best_share(agreeing: np.ndarray, flagged: np.ndarray, n_neurons: int) -> int:
    """How many neurons of a rule it serves best to ask for; the most where several serve alike."""
    counts = np.arange(n_neurons, n_neurons // 2, -1)
    return int(counts[_gain(agreeing >= counts[:, None], flagged).argmax()])
