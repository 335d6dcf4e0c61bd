"""About how long a job takes on this machine, from one timed batch: said before hours of work begin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from genmend.gans.detection.defect_masks import MOST_EXPLAINED
from genmend.gans.detection.majority_trust import N_SAMPLES
from genmend.gans.generator import Generator, measured_layers, recorded_batches
from genmend.gans.settings import DetectorSettings, DissectSettings, RareSettings
from genmend.manifold.features import load_extractor
from genmend.manifold.features.extractor_device import at_extractor
from genmend.storage.progress import in_words

__all__ = ["Pace", "correct_seconds", "detect_seconds", "dissect_seconds", "measure_pace", "rare_seconds"]

_AT_ONCE = 16  # samples timed, or a batch where that is less
_FLAGGED, _RUNGS = 0.15, 6  # what a correction usually meets: samples that need it, and rungs that each of them tries
_WITH_GRADIENT = 3  # times as long as without


@dataclass(frozen=True)
class Pace:
    """Seconds a sample takes.

    Attributes
    ----------
    layers : float
        A pass that ends after the last of the measured layers.
    image : float
        A whole pass.
    features : float
        What an extractor makes of the image; 0 without one.
    large : bool
        `Generator.is_large`.
    """

    layers: float
    image: float
    features: float
    large: bool

    def words(self, seconds: float) -> str:
        """The estimate as a sentence."""
        features = f", {self.features:.3g} s its features" if self.features else ""
        return (
            f"About {in_words(seconds)} to go, by one timed batch ({self.layers:.3g} s a pass over the measured "
            f"layers, {self.image:.3g} s an image{features})."
        )

    @property
    def measured(self) -> float:
        """Everything that a detector looks at in one sample."""
        return self.layers + self.image + self.features


@torch.no_grad()
def measure_pace(generator: Generator, extractor: Any = "", layers: Sequence[str] = ()) -> Pace:
    """Time one batch: the passes over `layers` (the measured ones where empty), whole images, their features."""
    latents = generator.latents(min(_AT_ONCE, generator.batch_size), 0)
    wanted = tuple(layers) or measured_layers(generator)
    generator.generate(latents[:1])  # what the first pass alone has to set up is not counted
    to_layers, _ = _timed(lambda: list(recorded_batches(generator, latents, wanted, "")))
    to_images, images = _timed(lambda: generator.generate(latents))
    features = _timed_features(extractor, images) if extractor else 0.0
    return Pace(to_layers / len(latents), to_images / len(latents), features, generator.is_large)


def detect_seconds(pace: Pace, settings: DetectorSettings, n: int, *, fitted: bool = False) -> float:
    """To detect n samples, and fit the detector unless there is one."""
    return n * pace.measured + (0.0 if fitted else _detector(pace, settings))


def correct_seconds(
    pace: Pace, settings: DetectorSettings, n: int, *, fitted: bool = False, detected: bool = False, explained: int = 0
) -> float:
    """To correct n samples, and learn the correction unless there is one; of the ladder.

    `detected`: whether there is a detector, which need not be fitted.
    `explained`: passes with a gradient that the masks of a broken sample take (`MaskMaker`).
    """
    detecting = 0.0 if detected else _detector(pace, settings)
    learning = 0.0 if fitted else detecting + 2 / 3 * settings.n_reference * pace.layers
    learning += MOST_EXPLAINED * explained * _WITH_GRADIENT * pace.features
    return learning + n * (1 + _FLAGGED * _RUNGS) * (pace.image + pace.features)


def rare_seconds(pace: Pace, settings: RareSettings, n_references: int) -> float:
    """To search rare versions of so many references."""
    search = settings.search
    slower = _WITH_GRADIENT + pace.large  # the images of a large model are made twice: once without the graph
    steps = n_references * search.n_versions * (search.n_steps + 1) * slower
    return _detector(pace, settings.detector) + steps * (pace.image + pace.features)


def dissect_seconds(pace: Pace, settings: DissectSettings) -> float:
    """To dissect; without what the segmenters themselves take."""
    samples = [settings.n_statistics if name == "classical" else settings.n_images for name in settings.segmenters]
    thresholds = 0.25 if settings.thresholds == "iqr" else 0.0
    # Of each segmenter: masks; levels, counts and pairs.
    each = (1 + thresholds) * pace.image + (2 + 2 * thresholds) * pace.layers
    return settings.n_statistics * pace.layers + sum(samples) * each


def _detector(pace: Pace, settings: DetectorSettings) -> float:
    passes = 1.1 if pace.large else 2.0
    trusted = min(N_SAMPLES, settings.n_reference) * pace.image  # `check_majority`
    neurons = settings.n_reference * pace.layers  # `early_activity`
    return passes * settings.n_statistics * pace.layers + settings.n_reference * pace.measured + neurons + trusted


def _timed(run: Callable[[], Any]) -> tuple[float, Any]:
    began = perf_counter()
    result = run()
    return perf_counter() - began, result


def _timed_features(extractor: Any, images: Tensor) -> float:
    network = load_extractor(extractor)
    network(at_extractor(network, images[:1]))
    return _timed(lambda: network(at_extractor(network, images)))[0] / len(images)
