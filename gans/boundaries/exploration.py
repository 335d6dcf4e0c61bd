"""What an exploration found, and how widely it is spread."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from genmend.gans.boundaries.region import GenerativeRegion, NoRegionError

__all__ = ["Exploration", "farthest_points", "mean_distance", "spread", "verify"]


@dataclass(frozen=True)
class Exploration:
    """Latents inside a region.

    Attributes
    ----------
    method : str
    query : Tensor
        (1, *latent_shape) on the CPU.
    latents : Tensor
        (n, *latent_shape) float32 on the CPU, all inside; the query is not among them.
    n_tested, n_inside : int
        Latents whose signs were looked at, and those among them that were inside.
    n_dropped : int
        Latents that float32 placed inside and float64 did not; they are left out.
    settings : dict
        What else the method ran with and found.
    """

    method: str
    query: Tensor = field(repr=False)
    latents: Tensor = field(repr=False)
    n_tested: int
    n_inside: int
    n_dropped: int
    settings: dict[str, Any]

    @property
    def acceptance(self) -> float:
        """Share of the tested latents that were inside."""
        return self.n_inside / max(self.n_tested, 1)

    @property
    def spread(self) -> float:
        """Mean distance between two of the latents."""
        return spread(self.latents)

    @property
    def mean_distance(self) -> float:
        """Mean distance of the latents to the query."""
        return mean_distance(self.latents, self.query)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON holds it."""
        return {
            "method": self.method,
            "n": len(self.latents),
            "n_tested": self.n_tested,
            "acceptance": self.acceptance,
            "n_dropped": self.n_dropped,
            "spread": self.spread,
            "mean_distance": self.mean_distance,
            **self.settings,
        }


def verify(
    method: str, region: GenerativeRegion, latents: Tensor, n_tested: int, n_inside: int, settings: dict[str, Any]
) -> Exploration:
    """An `Exploration` of those flat latents (n, d) that are inside the region in float64, too.

    Raises
    ------
    NoRegionError
        If none is.
    """
    query = region.query.cpu()
    shaped = latents.cpu().reshape(-1, *query.shape[1:])
    inside = region.in_float64().contains(shaped.double()) if len(shaped) else torch.zeros(0, dtype=torch.bool)
    if not inside.any():
        raise NoRegionError(
            f"{method} found no latent inside the region of {len(region.members)} boundaries of layer "
            f"{region.layer!r} in {n_tested} tests; allow a larger tolerance, or choose whole units."
        )
    return Exploration(method, query, shaped[inside], n_tested, n_inside, int((~inside).sum()), settings)


def spread(latents: Tensor) -> float:
    """Mean distance between two different rows (n, ...); 0 for a single one."""
    return float(torch.pdist(latents.flatten(1).double()).mean()) if len(latents) > 1 else 0.0


def mean_distance(latents: Tensor, query: Tensor) -> float:
    """Mean distance of the rows (n, ...) to the query (1, ...)."""
    return float((latents - query.to(latents.device)).flatten(1).double().norm(dim=1).mean())


def farthest_points(latents: Tensor, n: int, first: int = 0) -> Tensor:
    """Indices of n rows, each the farthest from those before it, beginning with `first`: (min(n, len)) int64.

    Source: Gonzalez, "Clustering to minimize the maximum intercluster distance", 1985.
    """
    flat = latents.flatten(1)
    chosen = [first]
    nearest = (flat - flat[first]).norm(dim=1)
    while len(chosen) < min(n, len(flat)):
        nearest[chosen[-1]] = -1  # never twice, not even among duplicates
        chosen.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, (flat - flat[chosen[-1]]).norm(dim=1))
    return torch.tensor(chosen)
