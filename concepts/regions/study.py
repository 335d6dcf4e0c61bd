"""Regions made of one half of the samples and judged on the other: of one query, or of kinds of flagged samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import hypergeom

from genmend.concepts.regions.find import FlaggedKind, find_kinds, find_region
from genmend.concepts.regions.held_out import HeldOutPurity, held_out_purity, nearest_by_features
from genmend.concepts.regions.layer_states import LayerStates
from genmend.concepts.regions.neighbours import nearest_configurations
from genmend.concepts.regions.principal_neurons import RegionPath
from genmend.concepts.settings import RegionsSettings

__all__ = ["KindOnHeldOut", "KindsStudy", "QueryStudy", "stratified_halves", "study_kinds", "study_query"]

N_SHUFFLES = 10
LEVEL = 0.05


@dataclass(frozen=True)
class QueryStudy:
    """The region of one sample.

    Attributes
    ----------
    number : int
        Of the sample.
    path : RegionPath
        Its numbers are those of all samples.
    n_held_out : int
    held_out : ndarray
        Members among the samples held out, those that fulfil most of the rule first.
    neighbours : dict
        As many samples held out, by what they are nearest in: 'states', 'euclidean', 'cosine'.
    label : str or None
        The sample's own.
    purity : HeldOutPurity or None
        Shares that carry it; None where there are no labels, or no member is held out.
    """

    number: int
    path: RegionPath
    n_held_out: int
    held_out: np.ndarray
    neighbours: dict[str, np.ndarray]
    label: str | None
    purity: HeldOutPurity | None

    def marks(self, n: int) -> np.ndarray:
        """1 for each of n samples that is in the region, else 0."""
        return _marks(n, self.path.members, self.held_out)

    def to_dict(self) -> dict[str, Any]:
        """JSON's view."""
        return {
            "query": self.number,
            **self.path.to_dict(),
            "n_held_out": self.n_held_out,
            "held_out_members": self.held_out.tolist(),
            "neighbours": {name: numbers.tolist() for name, numbers in self.neighbours.items()},
            "label": self.label,
            "purity": None if self.purity is None else self.purity.to_dict(),
        }


@dataclass(frozen=True)
class KindOnHeldOut:
    """A kind of flagged samples, and what it holds of those held out.

    Attributes
    ----------
    kind : FlaggedKind
        Its numbers are those of all samples.
    flagged, others : ndarray
        Members among the samples held out.
    lift : float
        Flagged share of these over that of all held out; NaN where it has none.
    chance : float
        Probability that as many samples held out, drawn at random, have as many flagged ones, times the kinds found.
    euclidean, cosine : float
        Flagged share of as many samples held out that are nearest to the one it was found round.
    """

    kind: FlaggedKind
    flagged: np.ndarray
    others: np.ndarray
    lift: float
    chance: float
    euclidean: float
    cosine: float

    @property
    def all_flagged(self) -> np.ndarray:
        """Its flagged samples of both halves, in order."""
        return np.sort(np.concatenate([self.kind.flagged, self.flagged]))

    def marks(self, n: int) -> np.ndarray:
        """1 for each of n samples that is in the region, else 0."""
        return _marks(n, self.kind.flagged, self.kind.others, self.flagged, self.others)

    @property
    def share(self) -> float:
        """Flagged share of the members held out."""
        n = len(self.flagged) + len(self.others)
        return len(self.flagged) / n if n else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """JSON's view."""
        figures = {"share": self.share, "lift": self.lift, "euclidean": self.euclidean, "cosine": self.cosine}
        return {
            **self.kind.to_dict(),
            "held_out_flagged": self.flagged.tolist(),
            "held_out_others": self.others.tolist(),
            **{name: None if np.isnan(value) else value for name, value in figures.items()},
            "chance": self.chance,
        }


@dataclass(frozen=True)
class KindsStudy:
    """Kinds of flagged samples, and the same of random ones.

    Attributes
    ----------
    flagged : ndarray
        Of all samples, booleans ``(n,)``.
    kinds : list of KindOnHeldOut
        Those beyond chance first.
    n_flagged, n_samples, n_flagged_held_out, n_held_out : int
        n_flagged of n_samples kinds were found in, and the same of those held out.
    random_kinds : float
        Kinds beyond chance, mean over `n_shuffles` random sets of as many samples.
    n_shuffles : int
    """

    flagged: np.ndarray
    kinds: list[KindOnHeldOut]
    n_flagged: int
    n_samples: int
    n_flagged_held_out: int
    n_held_out: int
    random_kinds: float
    n_shuffles: int

    @property
    def beyond_chance(self) -> list[KindOnHeldOut]:
        """The kinds whose lift on the samples held out is beyond chance at 5 %."""
        return [kind for kind in self.kinds if kind.chance <= LEVEL]

    def to_dict(self) -> dict[str, Any]:
        """JSON's view."""
        facts = {name: value for name, value in vars(self).items() if name not in ("flagged", "kinds")}
        return {**facts, "n_beyond_chance": len(self.beyond_chance), "kinds": [kind.to_dict() for kind in self.kinds]}


def study_query(
    states: LayerStates,
    number: int,
    settings: RegionsSettings,
    labels: Sequence[str] | None = None,
    values: Any = None,
) -> QueryStudy:
    """The region of a sample, made of half of the samples.

    Parameters
    ----------
    states
        Of all samples.
    number
        Of the sample.
    settings
        See there.
    labels
        One a sample.
    values
        See `find_region`; here of all samples' numbers.

    Raises
    ------
    ValueError
        As `find_region`.
    """
    if not 0 <= number < len(states):
        n = len(states)
        raise ValueError(f"--query is {number}, but there are {n} samples: give a number from 0 to {n - 1}.")
    if len(states) < 2 * settings.k + 2:
        raise ValueError(
            f"There are {len(states)} samples, but regions of the k = {settings.k} nearest need "
            f"{2 * settings.k + 2}, half of them to be judged on: give more, or a smaller --k."
        )
    kept, held = _halves(len(states), settings.seed, number)
    seen, new, query = states[kept], states[held], states[number : number + 1]
    path = find_region(
        seen.configurations,
        int(np.searchsorted(kept, number)),
        k=settings.k,
        n_neurons=settings.n_neurons,
        at_least=settings.at_least,
        choice="mrmr",
        values=None if values is None else lambda rows: values(kept[rows]),
    )
    agreeing = path.region.agreeing(new.configurations)
    inside = path.region.contains(new.configurations)
    members = np.argsort(-agreeing, kind="stable")[: int(inside.sum())]
    n = len(members)
    near = nearest_by_features(new.features, query.features[0])
    neighbours = {
        "states": nearest_configurations(new.configurations, query.configurations, max(n, 1))[1][0][:n],
        **{name: order[:n] for name, order in near.items()},
    }
    purity = None
    if labels is not None and n:
        carries = np.array([label == labels[number] for label in labels])
        purity = held_out_purity(
            path.region, new.configurations, query.configurations, new.features, query.features[0], carries[held]
        )
    return QueryStudy(
        number,
        replace(path, members=kept[path.members], positive=kept[path.positive]),
        len(held),
        held[members],
        {name: held[numbers] for name, numbers in neighbours.items()},
        None if labels is None else labels[number],
        purity,
    )


def study_kinds(states: LayerStates, flagged: np.ndarray, settings: RegionsSettings) -> KindsStudy:
    """Kinds of flagged samples found in one half of the samples, and their lift in the other.

    Raises
    ------
    ValueError
        As `find_kinds`.
    """
    flagged = np.asarray(flagged, dtype=bool)
    if not flagged.any() or flagged.all():
        raise ValueError(
            f"{int(flagged.sum())} of {len(flagged)} samples are flagged, but some and not all are needed: "
            "flag others, or give more samples."
        )
    kept, held = stratified_halves(flagged, settings.seed)
    if flagged[kept].sum() < settings.k:
        raise ValueError(
            f"{int(flagged.sum())} of {len(flagged)} samples are flagged, but kinds are found in one half of them by "
            f"the k = {settings.k} nearest: flag at least {2 * settings.k}, give more samples, or a smaller --k."
        )
    rng = np.random.default_rng(settings.seed)
    shuffles = [rng.permutation(flagged) for _ in range(N_SHUFFLES)]
    shuffled = [_kinds(states, other, *stratified_halves(other, settings.seed), settings) for other in shuffles]
    kinds = sorted(_kinds(states, flagged, kept, held, settings), key=lambda kind: kind.chance > LEVEL)
    return KindsStudy(
        flagged,
        kinds,
        int(flagged[kept].sum()),
        len(kept),
        int(flagged[held].sum()),
        len(held),
        float(np.mean([sum(kind.chance <= LEVEL for kind in found) for found in shuffled])),
        N_SHUFFLES,
    )


def _kinds(
    states: LayerStates, flagged: np.ndarray, kept: np.ndarray, held: np.ndarray, settings: RegionsSettings
) -> list[KindOnHeldOut]:
    new, carries = states[held], flagged[held]
    found = find_kinds(states.configurations[kept], flagged[kept], n_kinds=settings.n_kinds, k=settings.k)
    judged = []
    for kind in found:
        inside = kind.path.region.contains(new.configurations)
        n, n_flagged = int(inside.sum()), int((inside & carries).sum())
        chance = float(hypergeom.sf(n_flagged - 1, len(held), carries.sum(), n)) * len(found)
        orders = nearest_by_features(new.features, states.features[kept[kind.seed]])
        near = {name: float(carries[order[:n]].mean()) if n else float("nan") for name, order in orders.items()}
        path = kind.path
        whole = replace(
            kind,
            path=replace(path, members=kept[path.members], positive=kept[path.positive]),
            seed=int(kept[kind.seed]),
            flagged=kept[kind.flagged],
            others=kept[kind.others],
        )
        lift = n_flagged / n / carries.mean() if n and carries.any() else float("nan")
        judged.append(
            KindOnHeldOut(whole, held[inside & carries], held[inside & ~carries], lift, min(chance, 1.0), **near)
        )
    return judged


def _marks(n: int, *numbers: np.ndarray) -> np.ndarray:
    marks = np.zeros(n, dtype=int)
    marks[np.concatenate(numbers)] = 1
    return marks


def stratified_halves(flagged: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of two halves with as many flagged samples; each in order."""
    order = np.random.default_rng(seed).permutation(len(flagged))
    order = order[np.argsort(~flagged[order], kind="stable")]
    return np.sort(order[::2]), np.sort(order[1::2])


def _halves(n: int, seed: int, *first: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of one half, some given ones among them, and of the other; each in order."""
    order = np.random.default_rng(seed).permutation(n)
    order = np.concatenate([np.array(first, dtype=order.dtype), order[~np.isin(order, first)]])
    return np.sort(order[: n - n // 2]), np.sort(order[n - n // 2 :])
