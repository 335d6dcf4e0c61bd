"""A detector of broken images that was trained on images alone: it needs no generator, and sees no neurons."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from genmend.gans.detection.artifact_detector import ArtifactDetector, Detection, LabelledFeatures
from genmend.gans.detection.soft_logistic import LinearScore
from genmend.gans.generator import Generator
from genmend.gans.image_features import image_features
from genmend.manifold import Manifold
from genmend.manifold.engine.nearest import nearest_neighbors
from genmend.manifold.features import load_extractor
from genmend.storage.hub.shareable import Shareable

__all__ = ["ImageDetector"]


@dataclass
class ImageDetector(Shareable):
    """A linear score of image features, learnt from good and bad images; it scores as `ArtifactDetector` does.

    Attributes
    ----------
    extractor : str
        As `genmend.manifold.features.load_extractor` takes it.
    supervised_ : LinearScore
        Of the features; higher = more broken.
    threshold_ : float
        Images of a higher score are flagged.
    manifold_ : Manifold
        Of the good images' features.
    labelled_ : LabelledFeatures
        What it was trained on.
    image_size : (height, width) or None
        Of the images it was trained on, where all are alike.
    training_ : mapping
        What `train_detector` measured of it, for reports.
    """

    extractor: str
    supervised_: LinearScore
    threshold_: float
    manifold_: Manifold
    labelled_: LabelledFeatures
    image_size: tuple[int, int] | None
    training_: dict[str, Any]

    _kinds = ("detector",)

    def measure(
        self, generator: Generator, latents: Tensor | NDArray[Any], *, progress: bool = False
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Features (n, d) of the generated images, and no neuron counts (n, 0)."""
        checked = generator.checked_latents(latents)
        features = image_features(generator, checked, load_extractor(self.extractor), progress=progress)
        return features, np.empty((len(features), 0))

    def score_measured(self, features: NDArray[Any], counts: NDArray[Any] | None = None) -> Detection:
        """Score images by their features (n, d)."""
        supervised = self.supervised_(features)
        nearest = nearest_neighbors(self.manifold_.reference_, features, self.manifold_.k)
        rarity = self.manifold_.rarity(features)
        return Detection(
            rare_activation=None,
            distance_to_normal=nearest.distances[:, -1],
            supervised=supervised,
            combined=supervised,
            threshold=self.threshold_,
            inside=~np.isnan(rarity),
            rarity=rarity,
        )

    def taught(self, own: ArtifactDetector) -> ArtifactDetector:
        """Teach a detector that knows a generator's own samples these labels: its neurons are given no weight.

        Raises
        ------
        ValueError
            If it looks through another extractor, or too few of its own samples are normal by these labels.
        """
        if own.extractor != self.extractor:
            raise ValueError(f"The extractors differ ({own.extractor!r}, {self.extractor!r}); fit both with one.")
        weights = np.concatenate([self.supervised_.weights, np.zeros(own.own_counts_.shape[1])])
        own.supervised_ = replace(self.supervised_, weights=weights)
        own.labelled_, own.training_ = self.labelled_, self.training_
        return own.trust_labels(self.threshold_)
