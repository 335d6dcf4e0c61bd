"""Which samples are broken: the label-free detector, optionally with a supervised one on top.

Three scores, all finite, all higher = more broken:

- *rare activation*: active neurons that are rarely active (gans.rare_activation);
- *distance to normal*: feature distance to the k-th nearest of the generator's own normal samples;
- *supervised*: a linear score trained on labels (gans.soft_logistic), where there are some.

*Combined* is the supervised score where there is one, for that has the others among its inputs; otherwise the mean of
the first two, each in standard deviations of the generator's own samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.neighbors import NearestNeighbors
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from gans.generator import Generator
from gans.rare_activation import RareActivation
from gans.soft_logistic import LinearScore, fit_soft_logistic
from manifold import Manifold
from manifold.features import extract, load_extractor

__all__ = ["ArtifactDetector", "Detection"]


@dataclass(frozen=True)
class Detection:
    """Scores of n samples; `rarity` is NaN outside the normal manifold, the rest is finite."""

    rare_activation: NDArray[np.float64]
    distance_to_normal: NDArray[np.float64]
    supervised: NDArray[np.float64] | None
    combined: NDArray[np.float64]
    threshold: float
    inside: NDArray[np.bool_]
    rarity: NDArray[np.float64]

    @property
    def flagged(self) -> NDArray[np.bool_]:
        """Whether the combined score is above the threshold."""
        return self.combined > self.threshold

    def columns(self) -> dict[str, NDArray[Any]]:
        """The columns of ``scores.csv``."""
        named = {
            "rare_activation": self.rare_activation,
            "distance_to_normal": self.distance_to_normal,
            "supervised": self.supervised,
            "combined": self.combined,
            "flagged": self.flagged.astype(int),
        }
        return {name: values for name, values in named.items() if values is not None}

    def to_dict(self) -> dict[str, Any]:
        """Totals for JSON."""
        return {
            "n": len(self.combined),
            "n_flagged": int(self.flagged.sum()),
            "threshold": self.threshold,
            "combined_median": float(np.median(self.combined)),
            "inside": float(self.inside.mean()),
            "rarity_median": float(np.nanmedian(self.rarity)) if self.inside.any() else None,
        }


class ArtifactDetector(BaseEstimator):
    """Learn what is normal for a generator from its own samples; then score others.

    Parameters
    ----------
    extractor : str or callable
        As `manifold.features.load_extractor` takes it.
    rate : float
        Activation rate up to which a neuron is rare.
    k : int
        Neighbours, both for the manifold and for the distance.
    n_statistics, n_reference : int
        Own samples for the activation rates, and for the normal manifold.
    flagged_share : float in [0, 1)
        Share of the own samples that is taken for broken: the most rarely active ones are left out of the normal manifold,
        and the threshold is this upper quantile of the own samples' combined score.
    seed : int
        Of the own samples: `seed` for the statistics, ``seed + 1`` for the reference. Choose it so that neither is the
        seed of samples to be judged.

    Attributes
    ----------
    rare_ : RareActivation
    manifold_ : Manifold
        Of the own-normal features.
    scale_ : dict name -> (mean, std) of the first two scores over the own samples
    threshold_ : float
    supervised_ : LinearScore or None
    own_ : Detection
        Of the reference samples themselves, normal ones against the others (leave-one-out).
    """

    def __init__(
        self,
        extractor: str | Callable[[Tensor], Tensor] = "efficientnet-lite0",
        *,
        rate: float = 0.1,
        k: int = 3,
        n_statistics: int = 10_000,
        n_reference: int = 2_000,
        flagged_share: float = 0.05,
        seed: int = 1_000_003,
    ) -> None:
        self.extractor = extractor
        self.rate = rate
        self.k = k
        self.n_statistics = n_statistics
        self.n_reference = n_reference
        self.flagged_share = flagged_share
        self.seed = seed

    def fit(self, generator: Generator, *, progress: bool = False) -> Self:
        """Sample the generator, measure rates, build the own-normal manifold, calibrate the scores.

        Raises
        ------
        ValueError
            If `flagged_share` is outside [0, 1), or too few reference samples remain for k neighbours.
        """
        if not 0 <= self.flagged_share < 1:
            raise ValueError(f"flagged_share is {self.flagged_share}; give a share in [0, 1), e.g. 0.05.")
        self.supervised_: LinearScore | None = None
        latents = generator.latents(self.n_statistics, self.seed)
        self.rare_ = RareActivation(self.rate).fit(generator, latents, progress=progress)
        reference = generator.latents(self.n_reference, self.seed + 1)
        rare = self.rare_.score(generator, reference, progress=progress)
        features = self.features(generator.generate(reference, progress=progress), progress=progress)
        self._set_normal(features[rare <= np.quantile(rare, 1 - self.flagged_share)])
        normal = rare <= np.quantile(rare, 1 - self.flagged_share)
        distance = np.empty(len(rare))
        distance[normal] = self.manifold_.radii_
        distance[~normal] = self.distance(features[~normal])
        self.scale_ = {
            "rare_activation": (float(rare.mean()), float(rare.std())),
            "distance_to_normal": (float(distance.mean()), float(distance.std())),
        }
        self.own_features_, self.own_rare_, self.own_distance_ = features, rare, distance
        self._calibrate()
        return self

    def fit_supervised(
        self, generator: Generator, latents: Tensor, shares: NDArray[np.floating], *, progress: bool = False
    ) -> Self:
        """Add a supervised score, trained on labelled latents; `shares` ``[n]`` in 0 (normal) .. 1 (artifact)."""
        inputs = self.supervised_inputs(generator, latents, progress=progress)
        self.supervised_ = fit_soft_logistic(inputs, shares)
        self._calibrate(self.supervised_(self._own_inputs(generator)))
        return self
