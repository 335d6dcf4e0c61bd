"""A detector fitted once and kept, and its scores in pieces on disk."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from genmend.gans.detection.artifact_detector import ArtifactDetector, Detection
from genmend.gans.detection.detector_file import load_detector, save_detector
from genmend.gans.generator import Generator, generator_facts, layer_shapes
from genmend.storage.digests import settings_key, sha256_of_array
from genmend.storage.pieces import checkpointed

__all__ = [
    "CHUNK",
    "DetectRun",
    "DetectorSettings",
    "check_detector",
    "fit_key",
    "fitted_detector",
    "load_latents",
    "measured",
]

CHUNK = 256


@dataclass(frozen=True)
class DetectorSettings:
    """What a detector is fitted with where none is given; the fields of `gans.ArtifactDetector`."""

    extractor: str = "efficientnet-lite0"
    rate: float = 0.1
    n_statistics: int = 10_000
    n_reference: int = 2_000
    seed: int = 1_000_003


@dataclass(frozen=True)
class DetectRun:
    """Result of ``genmend detect``."""

    model: str
    detection: Detection
    settings: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """JSON's view, as in ``summary.json``."""
        return {"model": self.model, **self.detection.to_dict(), "settings": self.settings}


def load_latents(path: Path, generator: Generator) -> Tensor:
    """Latents of a .npy file, checked against the generator.

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


def fit_key(generator: Generator, settings: DetectorSettings) -> str:
    """Names what is fitted with these settings on this generator."""
    about = generator_facts(generator) | {"layers": generator.layers}
    return settings_key(asdict(settings) | about)


def fitted_detector(
    generator: Generator, work: Path, settings: DetectorSettings, *, resume: bool, progress: bool
) -> ArtifactDetector:
    """A detector fitted on the generator's own samples, or the one an interrupted run has left."""
    path = work / f"detector-{fit_key(generator, settings)}.safetensors"
    if resume and path.is_file():
        return load_detector(path)
    detector = ArtifactDetector(
        settings.extractor,
        rate=settings.rate,
        n_statistics=settings.n_statistics,
        n_reference=settings.n_reference,
        seed=settings.seed,
    ).fit(generator, progress=progress)
    work.mkdir(parents=True, exist_ok=True)
    save_detector(path, detector)
    return detector


def measured(
    generator: Generator, detector: ArtifactDetector, latents: Tensor, work: Path, *, resume: bool, progress: bool
) -> tuple[NDArray[Any], NDArray[Any]]:
    """`ArtifactDetector.measure`, piece by piece, each kept as it is done."""
    about = {
        **generator_facts(generator),
        "extractor": str(detector.extractor),
        "rates": {layer: sha256_of_array(rate) for layer, rate in detector.rare_.rates_.items()},
        "rate": detector.rate,
    }
    parts = []
    for chunk in latents.split(CHUNK):
        key = settings_key(about | {"latents": sha256_of_array(chunk)})

        def compute(chunk: Tensor = chunk) -> dict[str, NDArray[Any]]:
            features, counts = detector.measure(generator, chunk, progress=progress)
            return {"features": features, "counts": counts}

        parts.append(checkpointed(work, f"measured-{key}", resume, compute))
    return np.concatenate([p["features"] for p in parts]), np.concatenate([p["counts"] for p in parts])


def check_detector(detector: ArtifactDetector, generator: Generator) -> None:
    """Raise unless the detector's rates were measured on a model of this layout."""
    wanted = {layer: tuple(rate.shape) for layer, rate in detector.rare_.rates_.items()}
    found = {layer: tuple(shape) for layer, shape in layer_shapes(generator, list(wanted)).items()}
    if found != wanted:
        raise ValueError(f"The detector was fitted on layers {wanted}, but {generator.name} has {found}; fit it anew.")
