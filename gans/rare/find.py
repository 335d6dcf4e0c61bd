"""Find rare versions of reference samples: fit detector and density, search, and keep every piece."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import pearsonr, spearmanr
from torch import Tensor

from genmend.gans.detection.detect import detector_facts, fit_detector
from genmend.gans.detection.normal_images import normal_features
from genmend.gans.generator import Generator, generator_facts, measured_layers
from genmend.gans.probing import Probe, probed
from genmend.gans.rare.density import FeatureDensity, GaussianMixtureDensity
from genmend.gans.rare.density_file import load_density, save_density
from genmend.gans.rare.flow import FlowDensity
from genmend.gans.rare.samples import RareSamples
from genmend.gans.rare.search import rare_samples
from genmend.gans.rare.space import RareSpace, label_free_artifact_score
from genmend.gans.settings import RareSettings
from genmend.storage.digests import sha256_of_array
from genmend.storage.notebook import NotebookResult
from genmend.storage.pieces import Work

__all__ = ["RareRun", "find_rare", "fit_density", "fit_space", "search_references"]

_MOST_VERSIONS = 8  # in one piece of kept work, if they are of several references
_DENSITIES: dict[str, Callable[..., FeatureDensity]] = {"gmm": GaussianMixtureDensity, "flow": FlowDensity}


@dataclass(frozen=True, repr=False)
class RareRun(NotebookResult):
    """Result of `find_rare`.

    Attributes
    ----------
    model : str
    samples : RareSamples
    max_artifact_score : float
        Infinite where there is no limit.
    correlation : dict
        Of minus the log-density with rarity, over the normal samples: ``pearson`` and ``spearman``.
    settings : dict
        Of the run, as JSON holds them.
    space : RareSpace
        Density, manifold and artifact score that the search used.
    own_log_prob : ndarray (n_normal,)
        Log-density of the own normal samples, or of the normal images given.
    probe : Probe or None
        What two runs of two latents have shown of the generator.
    """

    model: str
    samples: RareSamples
    max_artifact_score: float
    correlation: dict[str, float | None]
    settings: dict[str, Any]
    space: RareSpace = field(repr=False, compare=False)
    own_log_prob: NDArray[np.float64] = field(repr=False, compare=False)
    probe: Probe | None = field(default=None, repr=False, compare=False)

    @property
    def normal_images(self) -> int:
        """How many normal images were given, in place of the own normal samples."""
        return len(self.space.manifold.reference_) if self.space.normal_given else 0

    def columns(self) -> dict[str, NDArray[Any]]:
        """A row for each version, as in ``rare.csv``."""
        return self.samples.columns()

    def to_dict(self) -> dict[str, Any]:
        """Return what ``summary.json`` holds."""
        return {
            "model": self.model,
            **self.samples.to_dict(),
            "max_artifact_score": self.max_artifact_score if math.isfinite(self.max_artifact_score) else None,
            "minus_log_prob_against_rarity": self.correlation,
            "relative_to": (
                f"the {self.normal_images} normal images given"
                if self.normal_images
                else "the model's own normal samples, not photographs"
            ),
            "normal_images": self.normal_images,
            "settings": self.settings,
            "probe": None if self.probe is None else self.probe.to_dict(),
        }


def find_rare(
    generator: Generator,
    latents: Tensor | NDArray[Any] | None = None,
    *,
    n_references: int = 16,
    normal: Any = None,
    settings: RareSettings | None = None,
    work: Work | None = None,
) -> RareRun:
    """Search for rare versions of references, inside the normal manifold and below an artifact limit.

    Parameters
    ----------
    generator : Generator
    latents : (n, *latent_shape), optional
        The references.
    n_references : int
        How many are drawn where none are given.
    normal : optional
        A folder of normal images, the images, or a file of their features, as `normal_features` takes them: found
        versions lie on their manifold, and are rare among them, in place of the own normal samples.
    settings : RareSettings, optional
    work : Work, optional
        Where the fitted detector and density and what was found are kept.
    """
    settings, work, seen = settings or RareSettings(), work or Work(), probed(generator)
    if latents is None:
        latents = generator.latents(n_references, settings.detector.seed + 2)
    space = fit_space(generator, settings, work, normal)
    samples = search_references(generator, generator.checked_latents(latents), space, settings, work)
    own = space.measure_features(space.manifold.reference_)
    correlation = _correlation(-own.log_prob, space.own_rarity)
    limit, used = space.max_artifact_score, asdict(settings)
    return RareRun(generator.name, samples, limit, correlation, used, space, own.log_prob, seen)


def fit_space(
    generator: Generator, settings: RareSettings | None = None, work: Work | None = None, normal: Any = None
) -> RareSpace:
    """Fit detector, density and artifact score to own samples, or load those that an earlier run has kept.

    With `normal` the manifold is that of these images (`normal_features`).
    """
    settings, work = settings or RareSettings(), work or Work()
    known = None if normal is None else normal_features(normal, generator, settings.detector.extractor, work)
    detector = fit_detector(generator, settings.detector, work, known)
    facts = {} if work.folder is None else detector_facts(generator, settings.detector)
    if known is not None:
        facts = facts | {"normal": sha256_of_array(known)}
    density = fit_density(detector.own_features_[detector.own_normal_], settings.density, facts, work)
    if not settings.artifact_limit:
        return RareSpace.from_detector(detector, density)
    score, limit = label_free_artifact_score(detector, settings.artifact_quantile)
    if settings.max_artifact_score is not None:
        limit = settings.max_artifact_score
    return RareSpace.from_detector(detector, density, artifact_score=score, max_artifact_score=limit)


def fit_density(features: NDArray[Any], kind: str, facts: Mapping[str, Any], work: Work) -> FeatureDensity:
    """Fit a density of this kind to `features`, or load the one that an earlier run has kept under these facts."""
    return work.kept(
        f"density-{kind}",
        facts,
        lambda: _DENSITIES[kind]().fit(features, progress=work.progress),
        save=save_density,
        load=load_density,
    )


def search_references(
    generator: Generator, latents: Tensor, space: RareSpace, settings: RareSettings, work: Work | None = None
) -> RareSamples:
    """Call `rare_samples` with as many references at a time as fill a batch; each such group is kept as it is done."""
    work = work or Work()
    seed, n_versions = settings.detector.seed + 3, settings.search.n_versions
    about = asdict(settings) | {
        "detector": settings.detector.facts(),
        **generator_facts(generator),
        "layers": measured_layers(generator),
        "limit": space.max_artifact_score,
    }
    if space.normal_given:
        about["normal"] = sha256_of_array(space.manifold.reference_)
    parts, start = [], 0
    for group in latents.split(max(1, min(_MOST_VERSIONS, generator.batch_size) // n_versions)):

        def compute(group: Tensor = group, start: int = start) -> dict[str, NDArray[Any]]:
            search = settings.search
            return rare_samples(
                generator, group, space, search, seed=seed, start=start, progress=work.progress
            ).arrays()

        arrays = work.kept("rare", about | {"latents": sha256_of_array(group), "start": start}, compute)
        parts.append(RareSamples(n_versions=n_versions, **arrays))
        start += len(group)
    return RareSamples.join(parts)


def _correlation(surprise: NDArray[np.float64], rarity: NDArray[np.float64]) -> dict[str, float | None]:
    known = ~np.isnan(rarity)
    if known.sum() < 3 or not np.ptp(surprise[known]) or not np.ptp(rarity[known]):
        return {"pearson": None, "spearman": None}
    pair = surprise[known], rarity[known]
    return {"pearson": float(pearsonr(*pair)[0]), "spearman": float(spearmanr(*pair)[0])}
