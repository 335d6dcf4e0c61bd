"""``genmend explore``: what the generator itself treats as alike, round queries, with tables, pictures and a report."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genmend.gans import Generator
from genmend.gans.boundaries import (
    SupportingSet,
    preactivations,
)
from genmend.gans.boundaries.explored import ExploredQuery, ExploreSettings, _as_array, _kept_set, _read, explored
from genmend.gans.generator import generator_facts
from genmend.manifold.features import load_extractor
from genmend.storage.digests import settings_key, sha256_of_array
from genmend.storage.pieces import checkpointed
from genmend.storage.tables import write_csv, write_json, write_npz
from genmend.workbench.pages.explore import write_explore_report

__all__ = ["ExploreRun", "run_explore"]


@dataclass(frozen=True)
class ExploreRun:
    """Result of ``genmend explore``."""

    model: str
    layer: str
    queries: tuple[ExploredQuery, ...]
    settings: dict[str, Any]

    def columns(self) -> dict[str, NDArray[np.float64]]:
        """The table of ``queries.csv``."""
        return {name: np.array([query.facts[name] for query in self.queries]) for name in self.queries[0].facts}

    def to_dict(self) -> dict[str, Any]:
        """JSON's view, as in ``summary.json``."""
        means = {name: None if np.isnan(column).any() else column.mean() for name, column in self.columns().items()}
        return {
            "model": self.model,
            "layer": self.layer,
            "n_queries": len(self.queries),
            "mean": means,
            "queries": [query.to_dict() for query in self.queries],
            "settings": self.settings,
        }


def run_explore(
    generator: Generator,
    out: Path,
    *,
    latents: Tensor | None = None,
    n_queries: int = 4,
    settings: ExploreSettings | None = None,
    resume: bool = True,
    progress: bool = True,
    work: Path | None = None,
) -> ExploreRun:
    """Explore the region of each latent (or of `n_queries` drawn ones) in the generator's first layer.

    Files: ``queries.csv`` (a row a query), ``explored.npz`` (queries, masks, latents, rotated latents),
    ``summary.json``, ``report.html``; ``work/`` (or the folder `work`, which runs may
    share) holds what an interrupted run goes on from.
    """
    settings = settings or ExploreSettings()
    layer = generator.layers[0]
    if latents is None:
        latents = generator.latents(n_queries, settings.seed)
    preactivations(generator, latents[:1], layer)  # a layer without boundaries is refused before hours of work
    extractor = load_extractor(settings.extractor) if settings.extractor else None
    about = generator_facts(generator) | {"layer": layer}
    work = work or out / "work"
    queries = []
    for i, query in enumerate(latents.split(1)):
        seed = settings.seed + i
        facts = about | {"latent": sha256_of_array(query), "seed": seed}
        found, few = _kept_set(generator, query, layer, settings, seed, work, facts, resume, progress)

        def compute(found: SupportingSet = found, seed: int = seed) -> dict[str, NDArray[Any]]:
            done = explored(generator, found, settings, seed, extractor, progress=progress)
            tensors = {"query": done.query, "mask": done.mask, "latents": done.latents, "rotated": done.rotated}
            return {name: tensor.numpy() for name, tensor in tensors.items()} | {"facts": _as_array(done.facts)}

        key = settings_key(asdict(settings) | facts)
        queries.append(_read(checkpointed(work, f"explored-{key}", resume, compute), few))
    run = ExploreRun(generator.name, layer, tuple(queries), asdict(settings))
    out.mkdir(parents=True, exist_ok=True)
    write_npz(out / "explored.npz", _arrays(queries))
    write_csv(out / "queries.csv", run.columns())
    write_json(out / "summary.json", run.to_dict())
    write_explore_report(out / "report.html", run.to_dict(), queries, generator)
    return run


def _arrays(queries: list[ExploredQuery]) -> dict[str, NDArray[Any]]:
    """``queries`` and ``masks`` stacked; ``latents_000``, ``rotated_000``... apart, as their counts may differ."""
    stacked = {
        "queries": torch.cat([query.query for query in queries]).numpy(),
        "masks": torch.stack([query.mask for query in queries]).numpy(),
    }
    for i, query in enumerate(queries):
        stacked |= {f"latents_{i:03d}": query.latents.numpy(), f"rotated_{i:03d}": query.rotated.numpy()}
    return stacked
