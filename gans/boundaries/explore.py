"""Explore what the generator treats alike: the supporting boundaries of a query, and latents on their inner side."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genmend.gans.boundaries.affine_region import AffineRegion, as_affine
from genmend.gans.boundaries.bouncing import N_BOUNCING_MOVES, bouncing
from genmend.gans.boundaries.boundary_set import SupportingSet, compare_with_rankings, supporting_set
from genmend.gans.boundaries.bounds import Bounds, NormShell
from genmend.gans.boundaries.exploration import Exploration, mean_distance, spread
from genmend.gans.boundaries.hit_and_run import N_MOVES, hit_and_run
from genmend.gans.boundaries.homogeneity import ball_round, homogeneity, random_set, rotate_round
from genmend.gans.boundaries.preactivation import preactivations
from genmend.gans.boundaries.region import GenerativeRegion, NoRegionError, generative_region
from genmend.gans.boundaries.tree import grow_tree
from genmend.gans.generator import Generator, generator_facts
from genmend.gans.latent_prior import free_latents
from genmend.gans.probing import Probe, probed
from genmend.gans.settings import ExploreSettings
from genmend.manifold.features import load_extractor
from genmend.storage.digests import sha256_of_array
from genmend.storage.notebook import NotebookResult
from genmend.storage.pieces import Work

__all__ = ["N_RANDOM", "ExploreRun", "QueryRegion", "explore", "explore_set"]

_LEFT_OUT = 0.001  # of own latents, beyond the bounds of an exploration
N_RANDOM = 4  # random sets that a supporting set's error is compared with


@dataclass(frozen=True)
class QueryRegion:
    """One query's supporting set, and latents inside its region.

    Attributes
    ----------
    query : Tensor
        (1, *latent_shape).
    mask : Tensor
        bool, the supporting set: (c, h, w) of neurons, (c,) of units.
    latents, rotated : Tensor
        (n, *latent_shape): inside the region, and the same rotated round the query (`rotate_round`).
    facts : dict
        The row of ``queries.csv``; NaN is unknown.
    none_because : str
        Why there is no region to explore; empty where there is one. Without one, no latents either.
    """

    query: Tensor = field(repr=False)
    mask: Tensor = field(repr=False)
    latents: Tensor = field(repr=False)
    rotated: Tensor = field(repr=False)
    facts: dict[str, float]
    none_because: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON holds it."""
        known = {name: None if np.isnan(value) else value for name, value in self.facts.items()}
        return known | ({"none_because": self.none_because} if self.none_because else {})


@dataclass(frozen=True, repr=False)
class ExploreRun(NotebookResult):
    """Result of `explore`; `probe` is what two runs of two latents have shown of the generator."""

    model: str
    layer: str
    queries: tuple[QueryRegion, ...]
    settings: dict[str, Any]
    probe: Probe | None = field(default=None, repr=False, compare=False)

    @property
    def explored(self) -> tuple[QueryRegion, ...]:
        """The queries that have a region."""
        return tuple(query for query in self.queries if not query.none_because)

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the table of ``queries.csv``."""
        names = self.explored[0].facts
        columns: dict[str, NDArray[Any]] = {
            name: np.array([query.facts.get(name, np.nan) for query in self.queries]) for name in names
        }
        if len(self.explored) < len(self.queries):
            columns["none_because"] = np.array([query.none_because for query in self.queries])
        return columns

    def arrays(self) -> dict[str, NDArray[Any]]:
        """``queries`` and ``masks`` stacked; ``latents_000``, ``rotated_000``... apart, as their counts may differ."""
        mask = self.explored[0].mask
        masks = [torch.zeros_like(mask) if query.none_because else query.mask for query in self.queries]
        stacked = {
            "queries": torch.cat([query.query for query in self.queries]).numpy(),
            "masks": torch.stack(masks).numpy(),
        }
        for i, query in enumerate(self.queries):
            stacked |= {f"latents_{i:03d}": query.latents.numpy(), f"rotated_{i:03d}": query.rotated.numpy()}
        return stacked

    def to_dict(self) -> dict[str, Any]:
        """Return what ``summary.json`` holds."""
        facts = [query.facts for query in self.explored]
        columns = {name: np.array([row[name] for row in facts]) for name in facts[0]}
        means = {name: None if np.isnan(column).any() else column.mean() for name, column in columns.items()}
        return {
            "model": self.model,
            "layer": self.layer,
            "n_queries": len(self.queries),
            "n_without_region": len(self.queries) - len(facts),
            "mean": means,
            "queries": [query.to_dict() for query in self.queries],
            "settings": self.settings,
            "probe": None if self.probe is None else self.probe.to_dict(),
        }


def explore(
    generator: Generator,
    latents: Tensor | NDArray[Any] | None = None,
    *,
    n_queries: int = 4,
    settings: ExploreSettings | None = None,
    work: Work | None = None,
) -> ExploreRun:
    """Explore the region of each latent in the generator's first layer.

    Latents that are not normal (w, truncated z) are explored in units of their own standard deviations, where own
    latents lie (`latent_prior`); the class of a conditional generator's sample stays the query's. Distances and norms
    are then in these units. A query without a region (no boundary is needed, or nothing is found inside) is marked, and
    the others go on.

    Parameters
    ----------
    generator : Generator
    latents : (n, *latent_shape), optional
        The queries.
    n_queries : int
        How many are drawn where none are given.
    settings : ExploreSettings, optional
    work : Work, optional
        Where supporting sets and explored latents are kept; several runs may share one.

    Raises
    ------
    ValueError
        If the layer has no boundaries.
    NoRegionError
        If no query has a region.
    """
    settings, work, layer = settings or ExploreSettings(), work or Work(), generator.layers[0]
    seen = probed(generator)
    if latents is None:
        latents = generator.latents(n_queries, settings.seed)
    latents = generator.checked_latents(latents)
    preactivations(generator, latents[:1], layer)  # a layer without boundaries is refused before hours of work
    extractor = load_extractor(settings.extractor) if settings.extractor else None
    about = generator_facts(generator) | {"layer": layer}
    queries = []
    for i, query in enumerate(latents.split(1)):
        seed = settings.seed + i
        facts = about | {"latent": sha256_of_array(query), "seed": seed}

        try:
            found, size = _find_set(generator, query, layer, settings, seed, facts, work)
        except NoRegionError as error:
            queries.append(_without_region(query, str(error)))
            continue

        def compute(found: SupportingSet = found, seed: int = seed) -> dict[str, NDArray[Any]]:
            try:
                done = _explore_query(generator, found, settings, seed, extractor, progress=work.progress)
            except NoRegionError as error:
                return {"facts": _as_array({"none_because": str(error)})}
            tensors = {"query": done.query, "mask": done.mask, "latents": done.latents, "rotated": done.rotated}
            return {name: tensor.numpy() for name, tensor in tensors.items()} | {"facts": _as_array(done.facts)}

        arrays = work.kept("explored", asdict(settings) | facts, compute)
        queries.append(_read(arrays, size) if "query" in arrays else _without_region(query, **_facts(arrays["facts"])))
    run = ExploreRun(generator.name, layer, tuple(queries), asdict(settings), seen)
    if not run.explored:
        raise NoRegionError(queries[0].none_because)
    return run


def _explore_query(
    generator: Generator,
    found: SupportingSet,
    settings: ExploreSettings,
    seed: int,
    extractor: Callable[[Tensor], Tensor] | None,
    *,
    progress: bool,
) -> QueryRegion:
    """`explore_set` where latents are normal, or among the standardised free coordinates where they are not."""
    free = free_latents(generator, found.latent)
    if free is None:
        return explore_set(generator, found, settings, seed, extractor, progress=progress)
    inside = replace(found, latent=free.inner(found.latent))
    bounds = NormShell(free.prior.norm_at(_LEFT_OUT / 2), free.prior.norm_at(1 - _LEFT_OUT / 2))
    done = explore_set(free.generator, inside, settings, seed, extractor, bounds=bounds, progress=progress)
    latents, rotated = free.outer(done.latents), free.outer(done.rotated)
    return replace(done, query=found.latent, latents=latents, rotated=rotated)


def _find_set(
    generator: Generator,
    query: Tensor,
    layer: str,
    settings: ExploreSettings,
    seed: int,
    about: dict[str, Any],
    work: Work,
) -> tuple[SupportingSet, dict[str, float]]:
    """Find the supporting set and what is known of its size, kept apart because every way to explore begins with it."""
    options = {name: asdict(settings)[name] for name in ("tolerance", "granularity", "gates")}

    def compute() -> dict[str, NDArray[Any]]:
        found = supporting_set(
            generator,
            query,
            layer,
            tolerance=settings.tolerance,
            granularity=settings.granularity,
            settings=settings.gates,
            progress=work.progress,
        )
        facts: dict[str, float] = {"n_members": found.n, "n_candidates": found.n_candidates, "rmse": found.rmse}
        if found.n:
            for name, figures in compare_with_rankings(generator, found, n_random=N_RANDOM, seed=seed).items():
                facts |= {f"{name}_{key}": value for key, value in figures.items()}
        return {"mask": found.mask.cpu().numpy(), "facts": _as_array(facts)}

    arrays = work.kept("supporting", about | options, compute)
    facts = _facts(arrays["facts"])
    if not facts["n_members"]:
        raise NoRegionError(
            f"The image stays within the tolerance {settings.tolerance} (RMSE {facts['rmse']:.4f}) with all of "
            f"{layer!r} set to 0: no boundary is needed; give a smaller tolerance."
        )
    mask = torch.from_numpy(arrays["mask"])
    found = SupportingSet(layer, query.cpu(), mask, int(facts["n_candidates"]), facts["rmse"], settings.tolerance)
    return found, facts


def explore_set(
    generator: Generator,
    found: SupportingSet,
    settings: ExploreSettings,
    seed: int,
    extractor: Callable[[Tensor], Tensor] | None,
    *,
    bounds: Bounds | None = None,
    progress: bool,
) -> QueryRegion:
    """Draw latents inside a supporting set's region, and measure how alike their images are, with controls.

    The controls: the same latents rotated round the query; balls of the same mean distance to it; latents explored the
    same way inside the boundaries of as many random neurons, and these rotated.
    """
    query = found.latent
    region = as_affine(generative_region(generator, query, found.layer, found.mask))
    exploration = _exploration(region, settings, seed, bounds, progress)
    latents = exploration.latents
    if len(latents) < 2:
        raise NoRegionError(
            f"{exploration.method} found {len(latents)} latent inside the region of {found.n} boundaries; a comparison "
            "takes two: allow a larger tolerance, or choose whole units."
        )
    facts: dict[str, float] = {
        "n_explored": len(latents),
        "acceptance": exploration.acceptance,
        "mean_distance": exploration.mean_distance,
        "r_hat": exploration.settings.get("r_hat", float("nan")),
        "effective_size": exploration.settings.get("effective_size", float("nan")),
    }
    rotated = rotate_round(query, latents, seed)
    sets: dict[str, Tensor] = {"region": latents, "rotated": rotated}
    for norm in ("l2", "linf"):
        sets[f"{norm}_ball"] = ball_round(query, len(latents), exploration.mean_distance, norm, seed)
    mask = random_set(generator, found, seed)
    others = as_affine(generative_region(generator, query, found.layer, mask))
    other = _exploration(others, settings, seed, bounds, progress)
    facts["random_set_r_hat"] = other.settings.get("r_hat", float("nan"))
    sets |= {"random_set": other.latents, "random_set_rotated": rotate_round(query, other.latents, seed)}
    for name, members in sets.items():
        facts |= {f"{name}_{key}": value for key, value in _set_facts(generator, region, members, extractor).items()}
    return QueryRegion(query, found.mask, latents, rotated, {name: float(value) for name, value in facts.items()})


def _set_facts(
    generator: Generator, region: GenerativeRegion, members: Tensor, extractor: Callable[[Tensor], Tensor] | None
) -> dict[str, float]:
    """How alike and how spread one set is; NaN is unknown, as all likeness is of a set of one."""
    alike = homogeneity(generator, members, extractor) if len(members) > 1 else None
    distance = None if alike is None else alike.feature_distance
    return {
        "pixel_variance": float("nan") if alike is None else alike.pixel_variance,
        "feature_distance": float("nan") if distance is None else distance,
        "spread": spread(members),
        "norm": mean_distance(members, torch.zeros_like(members[:1])),
        "inside": float(region.contains(members.to(generator.device)).double().mean()),
    }


def _exploration(
    region: GenerativeRegion, settings: ExploreSettings, seed: int, bounds: Bounds | None, progress: bool
) -> Exploration:
    if settings.method == "tree":
        return grow_tree(region, settings.n, bounds=bounds, seed=seed, progress=progress)
    if settings.method == "bouncing" or (settings.method == "auto" and isinstance(region, AffineRegion)):
        n_moves = settings.n_moves or N_BOUNCING_MOVES
        return bouncing(region, settings.n, bounds=bounds, n_moves=n_moves, seed=seed, progress=progress)
    n_moves = settings.n_moves or N_MOVES
    return hit_and_run(region, settings.n, bounds=bounds, n_moves=n_moves, seed=seed, progress=progress)


def _as_array(facts: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Facts as bytes of JSON: a file of arrays keeps their names, order and every digit."""
    return np.frombuffer(json.dumps(facts).encode(), np.uint8)


def _facts(kept: NDArray[np.uint8]) -> dict[str, Any]:
    return dict(json.loads(kept.tobytes()))


def _read(arrays: Mapping[str, NDArray[Any]], few: dict[str, float]) -> QueryRegion:
    """An `QueryRegion` of what was kept; `few` is what is known of its supporting set."""
    query, mask, latents, rotated = (torch.from_numpy(arrays[name]) for name in ("query", "mask", "latents", "rotated"))
    return QueryRegion(query, mask, latents, rotated, few | _facts(arrays["facts"]))


def _without_region(query: Tensor, none_because: str) -> QueryRegion:
    return QueryRegion(query, torch.zeros(0, dtype=torch.bool), query[:0], query[:0], {}, none_because)
