"""``genmend rare``: diverse rare versions of reference latents, with tables, pictures and a report."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from genmend.gans import Generator
from genmend.gans.rare import (
    RareSamples,
    save_density,
)
from genmend.gans.rare.kept_search import RareSettings, _correlation, rare_space, searched
from genmend.storage.atomic import whole_file
from genmend.storage.tables import write_csv, write_json, write_npz
from genmend.workbench.pages.pictures import png, to_pixels
from genmend.workbench.pages.rare import write_rare_report

__all__ = ["RareRun", "run_rare"]


@dataclass(frozen=True)
class RareRun:
    """Result of ``genmend rare``.

    `max_artifact_score`: infinite where there is no limit. `correlation`: how minus the log-density goes with rarity
    over the own normal samples.
    """

    model: str
    samples: RareSamples
    max_artifact_score: float
    correlation: dict[str, float | None]
    settings: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """JSON's view, as in ``summary.json``."""
        return {
            "model": self.model,
            **self.samples.to_dict(),
            "max_artifact_score": self.max_artifact_score if math.isfinite(self.max_artifact_score) else None,
            "minus_log_prob_against_rarity": self.correlation,
            "relative_to": "the model's own normal samples, not photographs",
            "settings": self.settings,
        }


def run_rare(
    generator: Generator,
    out: Path,
    *,
    latents: Tensor | None = None,
    n_references: int = 16,
    settings: RareSettings | None = None,
    resume: bool = True,
    progress: bool = True,
) -> RareRun:
    """Search rare versions of `latents` (or of `n_references` drawn ones) and write everything to `out`.

    Files: ``rare.csv`` (a row a version), ``rare.npz`` (all arrays), ``latents.npy`` (of the versions found, in the
    order of the table), ``images/``, ``density.safetensors``, ``summary.json``, ``report.html``; ``work/`` holds what
    an interrupted run goes on from.
    """
    settings = settings or RareSettings()
    if latents is None:
        latents = generator.latents(n_references, settings.detector.seed + 2)
    work = out / "work"
    space = rare_space(generator, work, settings, resume=resume, progress=progress)
    samples = searched(generator, latents, space, work, settings, resume=resume, progress=progress)
    own = space.measure_features(space.manifold.reference_)
    run = RareRun(
        generator.name,
        samples,
        space.max_artifact_score,
        _correlation(-own.log_prob, space.own_rarity),
        asdict(settings),
    )
    out.mkdir(parents=True, exist_ok=True)
    save_density(out / "density.safetensors", space.density)
    write_npz(out / "rare.npz", samples.arrays())
    with whole_file(out / "latents.npy") as temporary, temporary.open("wb") as file:
        np.save(file, samples.latents[samples.found])
    write_csv(out / "rare.csv", samples.columns())
    write_json(out / "summary.json", run.to_dict())
    references = generator.generate(samples.reference_latents)
    found = generator.generate(samples.latents[samples.found]) if samples.found.any() else references[:0]
    _write_images(out / "images", samples, references, found)
    write_rare_report(out / "report.html", run.to_dict(), samples, references, found, own.log_prob, space.own_rarity)
    return run


def _write_images(folder: Path, samples: RareSamples, references: Tensor, found: Tensor) -> None:
    """``reference_000.png`` and, for what was found, ``reference_000_rare_0.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = np.flatnonzero(samples.found)
    named = {f"reference_{row:03d}.png": image for row, image in enumerate(references)} | {
        f"reference_{row // samples.n_versions:03d}_rare_{row % samples.n_versions}.png": image
        for row, image in zip(rows, found, strict=True)
    }
    for old in folder.glob("reference_*.png"):  # of an earlier run with other settings
        if old.name not in named:
            old.unlink()
    for name, image in named.items():
        with whole_file(folder / name) as temporary:
            temporary.write_bytes(png(to_pixels(image[None])[0]))
