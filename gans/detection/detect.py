"""Detect broken samples: fit a detector once, keep it, and measure samples piece by piece."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from copy import copy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from genmend.gans.detection.artifact_detector import ArtifactDetector, Detection
from genmend.gans.detection.detector_file import AnyDetector, load_detector, save_detector
from genmend.gans.detection.evidence import evidence
from genmend.gans.detection.image_detector import ImageDetector
from genmend.gans.detection.majority_trust import MajorityTrust, check_majority, warn_of_majority
from genmend.gans.detection.normal_images import image_size, normal_features
from genmend.gans.generator import Generator, generator_facts, layer_shapes, measured_layers
from genmend.gans.probing import Probe, probed
from genmend.gans.settings import DetectorSettings
from genmend.storage.digests import sha256_of_array
from genmend.storage.notebook import NotebookResult
from genmend.storage.numpy_files import read_numbers
from genmend.storage.pieces import Work

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "CHUNK",
    "DetectRun",
    "check_detector",
    "detect",
    "detector_facts",
    "detector_for",
    "fit_detector",
    "load_latents",
    "measure_samples",
]

CHUNK = 256
_SCORED_AT_ONCE = 2 * CHUNK


@dataclass(frozen=True, repr=False)
class DetectRun(NotebookResult):
    """Result of `detect`.

    Attributes
    ----------
    model : str
    detection : Detection
    settings : dict
        Of the run, as JSON holds them.
    detector : ArtifactDetector or ImageDetector
    majority : MajorityTrust or None
        Whether the generator's own majority can be trusted to say what is normal, where it does.
    probe : Probe or None
        What two runs of two latents have shown of the generator.
    """

    model: str
    detection: Detection
    settings: dict[str, Any]
    detector: AnyDetector = field(repr=False, compare=False)
    majority: MajorityTrust | None = None
    probe: Probe | None = field(default=None, repr=False, compare=False)

    def columns(self) -> dict[str, NDArray[Any]]:
        """Scores of every sample, as in ``scores.csv``."""
        return self.detection.columns()

    def plot(self) -> Figure:
        """Draw a histogram of the scores with the threshold."""
        from genmend.manifold.figures.series_histogram import series_histogram

        found = self.detection
        return series_histogram({self.model: found.combined}, "score (higher = more broken)", found.threshold)

    def to_dict(self) -> dict[str, Any]:
        """Return what ``summary.json`` holds."""
        found = None
        if isinstance(self.detector, ArtifactDetector):
            found = evidence(self.detector, self.detection)
        return {
            "model": self.model,
            **self.detection.to_dict(),
            "evidence": found,
            "majority": None if self.majority is None else self.majority.to_dict(),
            "settings": self.settings,
            "probe": None if self.probe is None else self.probe.to_dict(),
        }


def detect(
    generator: Generator,
    latents: Tensor | NDArray[Any],
    *,
    detector: AnyDetector | Path | None = None,
    normal: Any = None,
    settings: DetectorSettings | None = None,
    threshold: float | None = None,
    work: Work | None = None,
) -> DetectRun:
    """Score the samples of these latents and flag the broken ones.

    Parameters
    ----------
    generator : Generator
    latents : (n, *latent_shape)
    detector : ArtifactDetector, ImageDetector or path, optional
        A fitted one, or the file of one; by default one is fitted on the generator's own samples.
    normal : optional
        A folder of images that are normal, or the images, as `normal_features` takes them: what is normal is learnt
        from these in place of the generator's own majority.
    settings : DetectorSettings, optional
        How it is fitted.
    threshold : float, optional
        Samples of a higher combined score are flagged; the detector's own threshold where None.
    work : Work, optional
        Where the fitted detector and what was measured are kept.

    Raises
    ------
    ValueError
        If the latents don't fit the generator, the detector was fitted on other layers, or both a detector and normal
        images are given.
    """
    settings, work, seen = settings or DetectorSettings(), work or Work(), probed(generator)
    file = str(detector) if isinstance(detector, str | Path) else ""
    detector = detector_for(generator, detector, normal, settings, work)
    if threshold is not None:
        detector = copy(detector)
        detector.threshold_ = threshold
    detection = score_samples(generator, detector, generator.checked_latents(latents), work)
    used = asdict(settings) | {"threshold": detector.threshold_, "detector_file": file}
    used["normal_images"] = len(detector.manifold_.reference_) if normal is not None else 0
    majority = check_majority(generator, detector, work)
    warn_of_majority(None if majority is None else majority.to_dict())
    return DetectRun(generator.name, detection, used, detector, majority, seen)


def load_latents(path: Path, generator: Generator) -> Tensor:
    """Load latents from a .npy file and check them against the generator.

    Raises
    ------
    ValueError
        If the file is no plain .npy array, or the latents don't fit.
    """
    return generator.checked_latents(read_numbers(path))


def detector_for(
    generator: Generator,
    detector: AnyDetector | str | Path | None,
    normal: Any,
    settings: DetectorSettings,
    work: Work,
) -> AnyDetector:
    """Return the detector that is given, checked against the generator, or fit one."""
    if detector is None:
        known = None if normal is None else normal_features(normal, generator, settings.extractor, work)
        return fit_detector(generator, settings, work, known)
    if normal is not None:
        raise ValueError(
            "A detector and normal images are given, but a detector has learnt already what is normal: leave out one."
        )
    if isinstance(detector, str | Path):
        detector = load_detector(detector)
    check_detector(detector, generator)
    return detector


def detector_facts(generator: Generator, settings: DetectorSettings) -> dict[str, Any]:
    """All that a detector fitted with these settings on this generator depends on: the key of what is kept of it."""
    return settings.facts() | generator_facts(generator) | {"layers": measured_layers(generator)}


def fit_detector(
    generator: Generator,
    settings: DetectorSettings | None = None,
    work: Work | None = None,
    normal: NDArray[Any] | None = None,
) -> ArtifactDetector:
    """Fit a detector on the generator's own samples, or load the one that an earlier run has kept.

    With `normal`, features (n, d) of images (`normal_features`), it takes these for normal.
    """
    settings, work = settings or DetectorSettings(), work or Work()

    def fit() -> AnyDetector:
        return ArtifactDetector(
            settings.extractor,
            rate=settings.rate,
            n_statistics=settings.n_statistics,
            n_reference=settings.n_reference,
            flagged_share=settings.flagged_share,
            seed=settings.seed,
        ).fit(generator, progress=work.progress)

    facts = {} if work.folder is None else detector_facts(generator, settings)
    detector = work.kept("detector", facts, fit, save=save_detector, load=load_detector)
    assert isinstance(detector, ArtifactDetector)
    return detector if normal is None else detector.learn_normal(normal)


def score_samples(generator: Generator, detector: AnyDetector, latents: Tensor, work: Work | None = None) -> Detection:
    """Return what `ArtifactDetector.score` returns, holding the features of 512 samples at most."""
    work = work or Work()
    about = {} if work.folder is None else _measured_facts(generator, detector)
    blocks = latents.split(_SCORED_AT_ONCE)
    return Detection.join([detector.score_measured(*_measured(generator, detector, b, work, about)) for b in blocks])


def measure_samples(
    generator: Generator, detector: AnyDetector, latents: Tensor, work: Work | None = None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return what `ArtifactDetector.measure` returns, piece by piece, each kept as it is done."""
    work = work or Work()
    about = {} if work.folder is None else _measured_facts(generator, detector)
    return _measured(generator, detector, latents, work, about)


def _measured(
    generator: Generator, detector: AnyDetector, latents: Tensor, work: Work, about: Mapping[str, Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    parts = []
    for chunk in latents.split(CHUNK):

        def compute(chunk: Tensor = chunk) -> dict[str, NDArray[Any]]:
            features, counts = detector.measure(generator, chunk, progress=work.progress)
            return {"features": features, "counts": counts}

        parts.append(work.kept("measured", {**about, "latents": sha256_of_array(chunk)}, compute))
    return np.concatenate([p["features"] for p in parts]), np.concatenate([p["counts"] for p in parts])


def _measured_facts(generator: Generator, detector: AnyDetector) -> dict[str, Any]:
    facts = {**generator_facts(generator), "extractor": str(detector.extractor)}
    if isinstance(detector, ImageDetector):
        return facts
    rates = {layer: sha256_of_array(rate) for layer, rate in detector.rare_.rates_.items()}
    return facts | {"rates": rates, "rate": detector.rare_.rate}


def check_detector(detector: AnyDetector, generator: Generator) -> None:
    """Raise ValueError unless it is the generator that the detector was fitted on.

    A detector from before its generator was kept takes one with layers of the same names and shapes.

    One that looks at images alone takes any; it warns where they are of another size than those it was trained on.
    """
    if isinstance(detector, ImageDetector):
        size = image_size(generator)
        if detector.image_size not in (None, size):
            warnings.warn(
                f"The detector was trained on images of {detector.image_size} pixels, and those of {generator.name} "
                f"have {size}: sharpness differs with size, so its scores may not fit; train it on images of that "
                "size.",
                stacklevel=2,
            )
        return
    if detector.fitted_on_ is not None:
        detector.fitted_on_.check(generator)
        return
    wanted = {layer: tuple(rate.shape) for layer, rate in detector.rare_.rates_.items()}
    found = _shapes(generator, list(wanted))
    if found != wanted:
        raise ValueError(
            f"The detector counts neurons of layers {wanted}, but {generator.name} has {found or 'none of them'}; "
            "fit it anew, or train one on good and bad images, which needs no layers."
        )


def _shapes(generator: Generator, layers: list[str]) -> dict[str, tuple[int, ...]]:
    """Shapes of those of the layers that the generator has."""
    modules = dict(generator.module.named_modules())
    known = [layer for layer in layers if layer in modules]
    return {layer: tuple(shape) for layer, shape in layer_shapes(generator, known).items()} if known else {}
