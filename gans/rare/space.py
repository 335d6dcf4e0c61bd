"""The feature space in which samples are rare: the normal manifold, the density, the artifact score, and their units.

Normal means the generator's own normal samples (genmend.gans.detection.artifact_detector), or images that are given.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genmend.gans.detection.artifact_detector import ArtifactDetector
from genmend.gans.detection.soft_logistic import LinearScore, cross_validated_scores, fit_soft_logistic
from genmend.gans.rare.density import FeatureDensity
from genmend.manifold import Manifold, nearest_neighbors
from genmend.manifold.features import extract, load_extractor
from genmend.manifold.metrics.evaluation_sweep import rarity_percentile

__all__ = ["Measured", "RareSpace", "label_free_artifact_score"]

_BROKEN_SHARE = 0.05  # of the own samples
_FEWEST_BROKEN = 5  # one for each fold of the cross-validation


@dataclass(frozen=True)
class Measured:
    """What the space says of n samples.

    Attributes
    ----------
    features : ndarray (n, d)
    log_prob : ndarray (n,)
        Nats per whitened dimension; lower is rarer.
    inside : ndarray (n,) bool
        Whether some ball of the normal manifold holds the sample.
    rarity, rarity_percentile : ndarray (n,)
        Least radius of those balls, and the share of own normal samples (leave-one-out) of no larger rarity; NaN
        outside. Higher is rarer.
    artifact_score : ndarray (n,)
        Higher is more broken; 0 where the space has no artifact score.
    """

    features: NDArray[np.float32]
    log_prob: NDArray[np.float64]
    inside: NDArray[np.bool_]
    rarity: NDArray[np.float64]
    rarity_percentile: NDArray[np.float64]
    artifact_score: NDArray[np.float64]

    def rarer_than(self, rarity: NDArray[np.float64], log_prob: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether each is rarer than another sample of this rarity; where that has none, of a lower density."""
        rarer: NDArray[np.bool_] = np.where(np.isnan(rarity), self.log_prob < log_prob, self.rarity > rarity)
        return rarer


@dataclass(frozen=True)
class RareSpace:
    """Everything that `rare_samples` asks of features.

    Attributes
    ----------
    extractor : str or callable
        As `genmend.manifold.features.load_extractor` takes it; a search needs one that is differentiable.
    manifold : Manifold
        Of own normal samples, or of the normal images that were given.
    generated : ndarray (n, d)
        All own samples, broken ones too: d* counts neighbours among these.
    density : FeatureDensity
    artifact_score : LinearScore or None
        On features; higher is more broken.
    max_artifact_score : float
        A sample above it is not accepted.
    normal_given : bool
        Whether the manifold is that of normal images that were given, in place of own samples.
    """

    extractor: str | Callable[..., Any]
    manifold: Manifold
    generated: NDArray[Any]
    density: FeatureDensity
    artifact_score: LinearScore | None = None
    max_artifact_score: float = math.inf
    normal_given: bool = False

    @classmethod
    def from_detector(
        cls,
        detector: ArtifactDetector,
        density: FeatureDensity,
        *,
        artifact_score: LinearScore | None = None,
        max_artifact_score: float = math.inf,
    ) -> Self:
        """The space of a fitted detector's own samples; `density` is one fitted on its normal ones."""
        own, limit = detector.own_features_, max_artifact_score
        return cls(detector.extractor, detector.manifold_, own, density, artifact_score, limit, detector.normal_given_)

    @cached_property
    def spread(self) -> float:
        """Root of the own samples' mean variance per feature: the unit of every normalised distance."""
        return float(np.sqrt(self.generated.var(axis=0, dtype=np.float64).mean())) or 1.0

    @cached_property
    def unit(self) -> float:
        """Feature distance that counts as 1: `spread` times the root of the number of features."""
        return self.spread * math.sqrt(self.generated.shape[1])

    @cached_property
    def own_rarity(self) -> NDArray[np.float64]:
        """Rarity of each own normal sample among the others; NaN where no ball of another holds it."""
        rarity: NDArray[np.float64] = self.manifold.rarity(leave_one_out=True)
        return rarity

    @cached_property
    def artifact_std(self) -> float:
        """Standard deviation of the own samples' artifact score; 1 without one."""
        return 1.0 if self.artifact_score is None else float(self.artifact_score(self.generated).std()) or 1.0

    @cached_property
    def network(self) -> Callable[[Tensor], Tensor]:
        """The extractor itself."""
        return load_extractor(self.extractor)

    def tensors(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Centres (n, d) and radii (n,) of the manifold's balls, of the device and dtype of `like`."""
        reference, radii = self._balls
        return reference.to(like), radii.to(like)

    @cached_property
    def _balls(self) -> tuple[Tensor, Tensor]:
        radii = self.manifold.radii_
        # A ball of radius 0 is nobody's nearest.
        radii = np.where(radii > 0, radii, np.finfo(np.float32).tiny)
        return torch.from_numpy(self.manifold.reference_).float(), torch.from_numpy(radii).float()

    def artifact_scores(self, features: Tensor) -> Tensor:
        """`artifact_score` of features (n, d) as a differentiable tensor (n,)."""
        if self.artifact_score is None:
            return features.new_zeros(len(features))
        return features @ torch.from_numpy(self.artifact_score.weights).to(features) + self.artifact_score.bias

    def neighbour_distance(self, features: NDArray[Any], k: int = 100) -> NDArray[np.float64]:
        """d*, (n,): distance to the k-th nearest generated sample, in feature units.

        Depends on how many samples were generated: 100 of 6,000 is another neighbourhood than 100 of 70,000.

        Raises
        ------
        ValueError
            If there are fewer than k generated samples.
        """
        if not 1 <= k <= len(self.generated):
            raise ValueError(
                f"d* is to be the distance to neighbour {k} of {len(self.generated)} own samples: give a number in "
                f"1..{len(self.generated)}, or generate more of them (--n-reference)."
            )
        distances: NDArray[np.float64] = nearest_neighbors(self.generated, features, k).distances[:, -1]
        return distances

    def measure(self, images: Tensor, *, progress: bool = False) -> Measured:
        """Features of images (n, 3, h, w) in 0..1, and what the space says of them."""
        return self.measure_features(extract(self.network, images, progress=progress))

    def measure_features(self, features: NDArray[Any]) -> Measured:
        """The same for features that are known."""
        with torch.no_grad():
            log_prob = self.density.log_prob(torch.from_numpy(features)) / self.density.n_dims_
            artifact = self.artifact_scores(torch.from_numpy(features).double())
        rarity = self.manifold.rarity(features)
        return Measured(
            features=features,
            log_prob=log_prob.double().numpy(),
            inside=~np.isnan(rarity),
            rarity=rarity,
            rarity_percentile=rarity_percentile(rarity, self.own_rarity),
            artifact_score=artifact.numpy(),
        )


def label_free_artifact_score(
    detector: ArtifactDetector, quantile: float = 0.8, *, regularisation: float = 3e-3
) -> tuple[LinearScore, float]:
    """A differentiable artifact score without labels, and the limit that a share `quantile` of normal samples is below.

    Trained to tell, from features, the twentieth of the own samples with the most rarely active neurons from the rest.
    Distance to normal has no part in it: a rare sample is meant to be far out.

    Raises
    ------
    ValueError
        If `quantile` is outside (0, 1], or fewer than 5 own samples stand out.
    """
    if not 0 < quantile <= 1:
        raise ValueError(f"The artifact quantile is {quantile}; give a share of normal samples in (0, 1], e.g. 0.8.")
    features, counts = detector.own_features_, detector.own_counts_.sum(axis=1)
    broken = (counts > np.quantile(counts, 1 - _BROKEN_SHARE)).astype(float)
    if broken.sum() < _FEWEST_BROKEN:
        cause = "" if detector.own_counts_.any() else " (no neuron of the inspected layers is rarely active)"
        raise ValueError(
            "An artifact limit is learnt from own samples with more rarely active neurons than the rest, and "
            f"{int(broken.sum())} of {len(broken)} have such{cause}, {_FEWEST_BROKEN} are needed: give more own "
            "samples (--n-reference, --n-statistics), other --layers, or go without the limit (--no-artifact-limit)."
        )
    score = fit_soft_logistic(features, broken, regularisation=regularisation)
    # Normal samples look too normal to a model that was fitted on them.
    unseen = cross_validated_scores(features, broken, regularisation=regularisation)
    return score, float(np.quantile(unseen[broken == 0], quantile))
