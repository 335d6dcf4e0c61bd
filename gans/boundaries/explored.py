"""The supporting boundaries of a query, and latents explored within them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genmend.gans.boundaries.affine_region import AffineRegion, affine_or_same
from genmend.gans.boundaries.bouncing import N_BOUNCING_MOVES, bouncing
from genmend.gans.boundaries.boundary_set import GateSettings, SupportingSet, compare_with_rankings, supporting_set
from genmend.gans.boundaries.exploration import Exploration, mean_distance, spread
from genmend.gans.boundaries.hit_and_run import N_MOVES, hit_and_run
from genmend.gans.boundaries.homogeneity import ball_round, homogeneity, random_set, rotated_round
from genmend.gans.boundaries.region import GenerativeRegion, generative_region
from genmend.gans.boundaries.tree import grow_tree
from genmend.gans.generator import Generator
from genmend.storage.digests import settings_key
from genmend.storage.pieces import checkpointed

__all__ = ["METHODS", "N_RANDOM", "ExploreSettings", "ExploredQuery", "explored"]

N_RANDOM = 4  # random sets that a supporting set's error is compared with

METHODS = ("auto", "bouncing", "hit-and-run", "tree")


@dataclass(frozen=True)
class ExploreSettings:
    """How boundaries are found and their region is explored.

    Attributes
    ----------
    tolerance : float
        RMSE in 0..1 that the supporting set alone has to stay within.
    granularity : "neuron" or "unit"
    method : "auto", "bouncing", "hit-and-run" or "tree"
        ``auto`` is bouncing where the layer is affine in the latent, which alone it can do, and else hit-and-run.
    n : int
        Latents to explore, 2 or more.
    n_moves : int, optional
        Of each walk; 100 of bouncing and 1000 of hit-and-run where None.
    extractor : str
        Its features tell how alike images are; empty: pixels alone.
    seed : int
        Of the queries, where they are drawn; query i is explored with ``seed + i``.
    gates : GateSettings
        How the supporting set is learnt.
    """

    tolerance: float = 0.05
    granularity: Literal["neuron", "unit"] = "neuron"
    method: Literal["auto", "bouncing", "hit-and-run", "tree"] = "auto"
    n: int = 32
    n_moves: int | None = None
    extractor: str = "efficientnet-lite0"
    seed: int = 0
    gates: GateSettings = field(default_factory=GateSettings)

    def __post_init__(self) -> None:
        if not self.tolerance > 0:
            raise ValueError(f"tolerance is {self.tolerance}; give an RMSE above 0 in the image's 0..1 range.")
        if self.granularity not in ("neuron", "unit"):
            raise ValueError(f"granularity is {self.granularity!r}; give 'neuron' or 'unit'.")
        if self.method not in METHODS:
            raise ValueError(f"method is {self.method!r}; accepted are {', '.join(METHODS)}.")
        if self.n < 2 or (self.n_moves is not None and self.n_moves < 1):
            raise ValueError(f"n={self.n}, n_moves={self.n_moves}: give at least 2 latents and 1 move.")


@dataclass(frozen=True)
class ExploredQuery:
    """One query's supporting set, and latents inside its region.

    Attributes
    ----------
    query : Tensor
        ``[1, *latent_shape]``.
    mask : Tensor
        bool, the supporting set: ``[C, H, W]`` of neurons, ``[C]`` of units.
    latents, rotated : Tensor
        ``[n, *latent_shape]``: inside the region, and the same rotated round the query (`rotated_round`).
    facts : dict
        The row of ``queries.csv``; NaN is unknown.
    """

    query: Tensor = field(repr=False)
    mask: Tensor = field(repr=False)
    latents: Tensor = field(repr=False)
    rotated: Tensor = field(repr=False)
    facts: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """JSON's view."""
        return {name: None if np.isnan(value) else value for name, value in self.facts.items()}


def _kept_set(
    generator: Generator,
    query: Tensor,
    layer: str,
    settings: ExploreSettings,
    seed: int,
    work: Path,
    about: dict[str, Any],
    resume: bool,
    progress: bool,
) -> tuple[SupportingSet, dict[str, float]]:
    """The supporting set and what is known of its size, kept apart: every way to explore begins with it."""
    options = {name: asdict(settings)[name] for name in ("tolerance", "granularity", "gates")}

    def compute() -> dict[str, NDArray[Any]]:
        found = supporting_set(
            generator,
            query,
            layer,
            tolerance=settings.tolerance,
            granularity=settings.granularity,
            settings=settings.gates,
            progress=progress,
        )
        if not found.n:
            raise ValueError(
                f"The image stays within the tolerance {settings.tolerance} (RMSE {found.rmse:.4f}) with all of "
                f"{layer!r} set to 0: no boundary is needed; give a smaller tolerance."
            )
        facts: dict[str, float] = {"n_members": found.n, "n_candidates": found.n_candidates, "rmse": found.rmse}
        for name, figures in compare_with_rankings(generator, found, n_random=N_RANDOM, seed=seed).items():
            facts |= {f"{name}_{key}": value for key, value in figures.items()}
        return {"mask": found.mask.cpu().numpy(), "facts": _as_array(facts)}

    arrays = checkpointed(work, f"supporting-{settings_key(about | options)}", resume, compute)
    facts = _facts(arrays["facts"])
    mask = torch.from_numpy(arrays["mask"])
    found = SupportingSet(layer, query.cpu(), mask, int(facts["n_candidates"]), facts["rmse"], settings.tolerance)
    return found, facts


def explored(
    generator: Generator,
    found: SupportingSet,
    settings: ExploreSettings,
    seed: int,
    extractor: Callable[[Tensor], Tensor] | None,
    *,
    progress: bool,
) -> ExploredQuery:
    """Latents inside a supporting set's region, and how alike their images are, with controls.

    The controls: the same latents rotated round the query; balls of the same mean distance to it; latents explored the
    same way inside the boundaries of as many random neurons, and these rotated.
    """
    query = found.latent
    region = affine_or_same(generative_region(generator, query, found.layer, found.mask))
    exploration = _exploration(region, settings, seed, progress)
    latents = exploration.latents
    if len(latents) < 2:
        raise ValueError(
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
    rotated = rotated_round(query, latents, seed)
    sets: dict[str, Tensor] = {"region": latents, "rotated": rotated}
    for norm in ("l2", "linf"):
        sets[f"{norm}_ball"] = ball_round(query, len(latents), exploration.mean_distance, norm, seed)
    mask = random_set(generator, found, seed)
    other = _exploration(
        affine_or_same(generative_region(generator, query, found.layer, mask)), settings, seed, progress
    )
    facts["random_set_r_hat"] = other.settings.get("r_hat", float("nan"))
    sets |= {"random_set": other.latents, "random_set_rotated": rotated_round(query, other.latents, seed)}
    for name, members in sets.items():
        facts |= {f"{name}_{key}": value for key, value in _set_facts(generator, region, members, extractor).items()}
    return ExploredQuery(query, found.mask, latents, rotated, {name: float(value) for name, value in facts.items()})


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


def _exploration(region: GenerativeRegion, settings: ExploreSettings, seed: int, progress: bool) -> Exploration:
    if settings.method == "tree":
        return grow_tree(region, settings.n, seed=seed, progress=progress)
    if settings.method == "bouncing" or (settings.method == "auto" and isinstance(region, AffineRegion)):
        n_moves = settings.n_moves or N_BOUNCING_MOVES
        return bouncing(region, settings.n, n_moves=n_moves, seed=seed, progress=progress)
    return hit_and_run(region, settings.n, n_moves=settings.n_moves or N_MOVES, seed=seed, progress=progress)


def _as_array(facts: dict[str, float]) -> NDArray[np.uint8]:
    """Facts as bytes of JSON: a file of arrays keeps their names, order and every digit."""
    return np.frombuffer(json.dumps(facts).encode(), np.uint8)


def _facts(kept: NDArray[np.uint8]) -> dict[str, float]:
    return dict(json.loads(kept.tobytes()))


def _read(arrays: dict[str, NDArray[Any]], few: dict[str, float]) -> ExploredQuery:
    """An `ExploredQuery` of what `checkpointed` kept; `few` is what is known of its supporting set."""
    tensors = {name: torch.from_numpy(values) for name, values in arrays.items() if name != "facts"}
    return ExploredQuery(**tensors, facts=few | _facts(arrays["facts"]))
