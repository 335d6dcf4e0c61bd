"""``genmend rare``: diverse rare versions of reference latents, with tables, pictures and a report."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import pearsonr, spearmanr
from torch import Tensor

from activations import atomic_write
from gans import Generator
from gans.rare import (
    FeatureDensity,
    FlowDensity,
    GaussianMixtureDensity,
    RareSamples,
    RareSearch,
    RareSpace,
    label_free_artifact_score,
    load_density,
    rare_samples,
    save_density,
)
from workbench.checkpoints import checkpointed, generator_facts, settings_key, tensor_digest
from workbench.detect import DetectorSettings, fit_key, fitted_detector
from workbench.pictures import png, to_pixels
from workbench.rare_report import write_rare_report
from workbench.tables import write_csv, write_json, write_npz

__all__ = ["RareRun", "RareSettings", "fitted_density", "rare_space", "run_rare", "searched"]

_DENSITIES: dict[str, Callable[..., FeatureDensity]] = {"gmm": GaussianMixtureDensity, "flow": FlowDensity}


@dataclass(frozen=True)
class RareSettings:
    """What the space is made of and how the search goes.

    Attributes
    ----------
    detector : DetectorSettings
        Of the own samples; ``seed + 2`` of theirs draws references, ``seed + 3`` the search's noise.
    density : "gmm" or "flow"
    artifact_limit : bool
        Whether versions have to stay below a limit at all; where False no artifact score is learnt.
    max_artifact_score : float, optional
        Log-odds; None: the limit that a share `artifact_quantile` of the own normal samples is below.
    artifact_quantile : float
        In (0, 1].
    search : RareSearch
    """

    detector: DetectorSettings = field(default_factory=lambda: DetectorSettings(n_reference=5_000))
    density: Literal["gmm", "flow"] = "gmm"
    artifact_limit: bool = True
    max_artifact_score: float | None = None
    artifact_quantile: float = 0.8
    search: RareSearch = field(default_factory=RareSearch)

    def __post_init__(self) -> None:
        if self.density not in _DENSITIES:
            raise ValueError(f"density is {self.density!r}; give one of {', '.join(_DENSITIES)}.")
        if self.max_artifact_score is not None and not math.isfinite(self.max_artifact_score):
            raise ValueError(f"max_artifact_score is {self.max_artifact_score}; give a finite number of log-odds.")
        if self.max_artifact_score is not None and not self.artifact_limit:
            raise ValueError("An artifact limit was given and ruled out; leave out one of the two.")


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
    with atomic_write(out / "latents.npy") as temporary, temporary.open("wb") as file:
        np.save(file, samples.latents[samples.found])
    write_csv(out / "rare.csv", samples.columns())
    write_json(out / "summary.json", run.to_dict())
    references = generator.generate(samples.reference_latents)
    found = generator.generate(samples.latents[samples.found]) if samples.found.any() else references[:0]
    _write_images(out / "images", samples, references, found)
    write_rare_report(out / "report.html", run.to_dict(), samples, references, found, own.log_prob, space.own_rarity)
    return run


def rare_space(generator: Generator, work: Path, settings: RareSettings, *, resume: bool, progress: bool) -> RareSpace:
    """Detector, density and artifact score of the generator's own samples, or what an interrupted run has left."""
    detector = fitted_detector(generator, work, settings.detector, resume=resume, progress=progress)
    density = fitted_density(
        detector.own_features_[detector.own_normal_],
        settings.density,
        work / f"density-{settings.density}-{fit_key(generator, settings.detector)}.safetensors",
        resume=resume,
        progress=progress,
    )
    if not settings.artifact_limit:
        return RareSpace.from_detector(detector, density)
    score, limit = label_free_artifact_score(detector, settings.artifact_quantile)
    if settings.max_artifact_score is not None:
        limit = settings.max_artifact_score
    return RareSpace.from_detector(detector, density, artifact_score=score, max_artifact_score=limit)


def fitted_density(features: NDArray[Any], kind: str, path: Path, *, resume: bool, progress: bool) -> FeatureDensity:
    """A density of this kind fitted on `features`, or the one that an interrupted run left at `path`."""
    if resume and path.is_file():
        return load_density(path)
    density = _DENSITIES[kind]().fit(features, progress=progress)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_density(path, density)
    return density


def searched(
    generator: Generator,
    latents: Tensor,
    space: RareSpace,
    work: Path,
    settings: RareSettings,
    *,
    resume: bool,
    progress: bool,
) -> RareSamples:
    """`rare_samples`, as many references at a time as fill a batch, each such group kept as it is done."""
    seed, n_versions = settings.detector.seed + 3, settings.search.n_versions
    about = asdict(settings) | {
        **generator_facts(generator),
        "layers": generator.layers,
        "limit": space.max_artifact_score,
    }
    parts, start = [], 0
    for group in latents.split(max(1, generator.batch_size // n_versions)):
        key = settings_key(about | {"latents": tensor_digest(group), "start": start})

        def compute(group: Tensor = group, start: int = start) -> dict[str, NDArray[Any]]:
            found = rare_samples(generator, group, space, settings.search, seed=seed, start=start, progress=progress)
            return found.arrays()

        parts.append(RareSamples(n_versions=n_versions, **checkpointed(work, f"rare-{key}", resume, compute)))
        start += len(group)
    return RareSamples.joined(parts)


def _correlation(surprise: NDArray[np.float64], rarity: NDArray[np.float64]) -> dict[str, float | None]:
    known = ~np.isnan(rarity)
    if known.sum() < 3 or not np.ptp(surprise[known]) or not np.ptp(rarity[known]):
        return {"pearson": None, "spearman": None}
    pair = surprise[known], rarity[known]
    return {"pearson": float(pearsonr(*pair)[0]), "spearman": float(spearmanr(*pair)[0])}


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
        with atomic_write(folder / name) as temporary:
            temporary.write_bytes(png(to_pixels(image[None])[0]))
