"""Rare versions of reference samples, every piece kept on disk."""

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

from genmend.gans.detection.kept_detector import DetectorSettings, fit_key, fitted_detector
from genmend.gans.generator import Generator, generator_facts
from genmend.gans.rare.density import FeatureDensity, GaussianMixtureDensity
from genmend.gans.rare.density_file import load_density, save_density
from genmend.gans.rare.flow import FlowDensity
from genmend.gans.rare.samples import RareSamples
from genmend.gans.rare.search import RareSearch, rare_samples
from genmend.gans.rare.space import RareSpace, label_free_artifact_score
from genmend.storage.digests import settings_key, sha256_of_array
from genmend.storage.pieces import checkpointed

__all__ = ["RareSettings", "fitted_density", "rare_space", "searched"]

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
        key = settings_key(about | {"latents": sha256_of_array(group), "start": start})

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
