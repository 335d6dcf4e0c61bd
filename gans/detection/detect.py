"""Detect broken samples: fit a detector once, keep it, and measure samples piece by piece."""

from __future__ import annotations

from copy import copy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from genmend.gans.detection.artifact_detector import ArtifactDetector, Detection
from genmend.gans.detection.detector_file import load_detector, save_detector
from genmend.gans.generator import Generator, generator_facts, layer_shapes
from genmend.gans.settings import DetectorSettings
from genmend.storage.digests import sha256_of_array
from genmend.storage.pieces import Work

__all__ = [
    "CHUNK",
    "DetectRun",
    "check_detector",
    "detect",
    "detector_facts",
    "fit_detector",
    "load_latents",
    "measure_samples",
]

CHUNK = 256


@dataclass(frozen=True)
class DetectRun:
    """Result of `detect`.

    Attributes
    ----------
    model : str
    detection : Detection
    settings : dict
        Of the run, as JSON holds them.
    detector : ArtifactDetector
    """

    model: str
    detection: Detection
    settings: dict[str, Any]
    detector: ArtifactDetector = field(repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return what ``summary.json`` holds."""
        return {"model": self.model, **self.detection.to_dict(), "settings": self.settings}


def detect(
    generator: Generator,
    latents: Tensor | NDArray[Any],
    *,
    detector: ArtifactDetector | Path | None = None,
    settings: DetectorSettings | None = None,
    threshold: float | None = None,
    work: Work | None = None,
) -> DetectRun:
    """Score the samples of these latents and flag the broken ones.

    Parameters
    ----------
    generator : Generator
    latents : (n, *latent_shape)
    detector : ArtifactDetector or path, optional
        A fitted one, or the file of one; by default one is fitted on the generator's own samples.
    settings : DetectorSettings, optional
        How it is fitted.
    threshold : float, optional
        Samples of a higher combined score are flagged; the detector's own threshold where None.
    work : Work, optional
        Where the fitted detector and what was measured are kept.

    Raises
    ------
    ValueError
        If the latents don't fit the generator, or the detector was fitted on other layers.
    """
    settings, work = settings or DetectorSettings(), work or Work()
    file = str(detector) if isinstance(detector, str | Path) else ""
    if detector is None:
        detector = fit_detector(generator, settings, work)
    elif not isinstance(detector, ArtifactDetector):
        detector = load_detector(detector)
    check_detector(detector, generator)
    if threshold is not None:
        detector = copy(detector)
        detector.threshold_ = threshold
    detection = detector.score_measured(*measure_samples(generator, detector, generator.checked_latents(latents), work))
    used = asdict(settings) | {"threshold": detector.threshold_, "detector_file": file}
    return DetectRun(generator.name, detection, used, detector)


def load_latents(path: Path, generator: Generator) -> Tensor:
    """Load latents from a .npy file and check them against the generator.

    Raises
    ------
    ValueError
        If the file is no plain .npy array, or the latents don't fit.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} is not a plain .npy array ({error}); save latents with numpy.save.") from error
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{path} holds several arrays; save the latents alone with numpy.save.")
    return generator.checked_latents(array)


def detector_facts(generator: Generator, settings: DetectorSettings) -> dict[str, Any]:
    """All that a detector fitted with these settings on this generator depends on: the key of what is kept of it."""
    return asdict(settings) | generator_facts(generator) | {"layers": generator.layers}


def fit_detector(
    generator: Generator, settings: DetectorSettings | None = None, work: Work | None = None
) -> ArtifactDetector:
    """Fit a detector on the generator's own samples, or load the one that an earlier run has kept."""
    settings, work = settings or DetectorSettings(), work or Work()

    def fit() -> ArtifactDetector:
        return ArtifactDetector(
            settings.extractor,
            rate=settings.rate,
            n_statistics=settings.n_statistics,
            n_reference=settings.n_reference,
            seed=settings.seed,
        ).fit(generator, progress=work.progress)

    facts = {} if work.folder is None else detector_facts(generator, settings)
    return work.kept("detector", facts, fit, save=save_detector, load=load_detector)


def measure_samples(
    generator: Generator, detector: ArtifactDetector, latents: Tensor, work: Work | None = None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return what `ArtifactDetector.measure` returns, piece by piece, each kept as it is done."""
    work = work or Work()
    about = {} if work.folder is None else _measured_facts(generator, detector)
    parts = []
    for chunk in latents.split(CHUNK):

        def compute(chunk: Tensor = chunk) -> dict[str, NDArray[Any]]:
            features, counts = detector.measure(generator, chunk, progress=work.progress)
            return {"features": features, "counts": counts}

        parts.append(work.kept("measured", about | {"latents": sha256_of_array(chunk)}, compute))
    return np.concatenate([p["features"] for p in parts]), np.concatenate([p["counts"] for p in parts])


def _measured_facts(generator: Generator, detector: ArtifactDetector) -> dict[str, Any]:
    return {
        **generator_facts(generator),
        "extractor": str(detector.extractor),
        "rates": {layer: sha256_of_array(rate) for layer, rate in detector.rare_.rates_.items()},
        "rate": detector.rate,
    }


def check_detector(detector: ArtifactDetector, generator: Generator) -> None:
    """Raise ValueError unless the detector's rates were measured on a model of this layout."""
    wanted = {layer: tuple(rate.shape) for layer, rate in detector.rare_.rates_.items()}
    found = {layer: tuple(shape) for layer, shape in layer_shapes(generator, list(wanted)).items()}
    if found != wanted:
        raise ValueError(f"The detector was fitted on layers {wanted}, but {generator.name} has {found}; fit it anew.")
