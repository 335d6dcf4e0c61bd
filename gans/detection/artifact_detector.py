"""Which samples are broken: the label-free detector, optionally with a supervised one on top.

Three scores, all finite, all higher = more broken:

- *rare activation*: active neurons that are rarely active (genmend.gans.detection.rare_activation);
- *distance to normal*: feature distance to the k-th nearest of the generator's own normal samples;
- *supervised*: a linear score trained on labels (genmend.gans.detection.soft_logistic), where there are some.

*Combined* is the supervised score where there is one, for that has the others among its inputs; otherwise the mean of
the first two, each in standard deviations of the generator's own samples.

What is normal is learnt from the generator itself (`own-normal`): every score is relative to the model's own normal
samples, not to photographs. That is only right where most samples are; else give images that are normal, or labels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.base import BaseEstimator
from torch import Tensor

from genmend.gans.detection.rare_activation import RareActivation
from genmend.gans.detection.soft_logistic import LinearScore, fit_soft_logistic
from genmend.gans.detection.unlike_normal import fit_unlike_normal, unseen_unlike_normal
from genmend.gans.generator import Generator
from genmend.gans.image_features import image_features
from genmend.manifold import Manifold
from genmend.manifold.engine.nearest import nearest_neighbors
from genmend.manifold.features import load_extractor

__all__ = ["ArtifactDetector", "Detection", "LabelledFeatures"]


FEWEST_NORMAL = 10  # own samples to learn from
MOST_BEYOND = 0.8


@dataclass(frozen=True)
class LabelledFeatures:
    """What a detector was trained on: features (n, d) and shares (n,), 0 for normal to 1 for broken."""

    features: NDArray[Any]
    shares: NDArray[np.float64]


@dataclass(frozen=True)
class Detection:
    """Scores of n samples; `rarity` is NaN outside the normal manifold, the rest is finite.

    `rare_activation` is None where the detector looks at images alone, `supervised` where it was given no labels,
    `unlike_normal` where it was given no normal images.
    """

    rare_activation: NDArray[np.float64] | None
    distance_to_normal: NDArray[np.float64]
    supervised: NDArray[np.float64] | None
    combined: NDArray[np.float64]
    threshold: float
    inside: NDArray[np.bool_]
    rarity: NDArray[np.float64]
    unlike_normal: NDArray[np.float64] | None = None

    @property
    def flagged(self) -> NDArray[np.bool_]:
        """Whether the combined score is above the threshold."""
        return self.combined > self.threshold

    def columns(self) -> dict[str, NDArray[Any]]:
        """The columns of ``scores.csv``."""
        named = {
            "rare_activation": self.rare_activation,
            "distance_to_normal": self.distance_to_normal,
            "unlike_normal": self.unlike_normal,
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
        As `genmend.manifold.features.load_extractor` takes it.
    rate : float in (0, 1]
        Activation rate up to which a neuron is rare.
    k : int
        Neighbours, both of the manifold and of the distance.
    n_statistics, n_reference : int
        Own samples behind the activation rates, and behind the normal manifold.
    flagged_share : float in [0, 1)
        Share of the own samples taken for broken: those with the highest rare activation are left out of the normal
        manifold, and the threshold is this upper quantile of the own samples' combined score.
    seed : int
        Of the own samples: `seed` for the statistics, ``seed + 1`` for the reference. Let neither be the seed of
        samples to be judged.

    Attributes
    ----------
    rare_ : RareActivation
    manifold_ : Manifold
        Of the features of the own normal samples, or of the normal images that were given.
    normal_given_ : bool
        Whether there were such images.
    unlike_normal_ : LinearScore or None
        What tells them from the own samples (genmend.gans.detection.unlike_normal), in place of the distance.
    beyond_normal_ : float or None
        Share of the own samples that are more unlike them than they are themselves.
    scale_ : dict name -> (mean, std)
        Of the scores that are combined over the own samples; normal ones are measured against the others
        (leave-one-out), and with normal images given by models that did not see them.
    rare_weight_ : float in [0, 1]
        Weight of rare activation in the combined score, beside 1 of the other part.
    supervised_ : LinearScore or None
        On the inputs that `supervised_inputs` returns.
    labelled_ : LabelledFeatures or None
        What that was trained on.
    training_ : dict or None
        What `train_detector` measured of it, for reports.
    threshold_ : float
    own_features_, own_counts_, own_normal_ : ndarray
        (n_reference, d), (n_reference, n_layers), (n_reference,): what was measured of the
        reference samples, and which of them were taken for normal.
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

    def fit(self, generator: Generator, *, normal: NDArray[Any] | None = None, progress: bool = False) -> Self:
        """Sample the generator, measure rates, build the manifold of normal samples, calibrate the scores.

        Parameters
        ----------
        generator : Generator
        normal : ndarray (n, d), optional
            Features of images that are known to be normal (`normal_features`), in place of the own samples'.
        progress : bool
            Show progress bars.

        Raises
        ------
        ValueError
            If `flagged_share` is outside [0, 1), or too few normal samples remain for k neighbours.
        """
        if not 0 <= self.flagged_share < 1:
            raise ValueError(f"flagged_share is {self.flagged_share}; give a share in [0, 1), e.g. 0.05.")
        statistics = generator.latents(self.n_statistics, self.seed)
        self.rare_ = RareActivation(self.rate).fit(generator, statistics, progress=progress)
        reference = generator.latents(self.n_reference, self.seed + 1)
        self.own_features_, self.own_counts_ = self.measure(generator, reference, progress=progress)
        rare = self.own_counts_.sum(axis=1)
        self.supervised_: LinearScore | None = None
        self.labelled_: LabelledFeatures | None = None
        self.training_: dict[str, Any] | None = None
        if normal is None:
            self._learn_own(rare <= np.quantile(rare, 1 - self.flagged_share))
        else:
            self._learn_given(normal)
        return self

    def _learn_own(self, normal: NDArray[np.bool_]) -> None:
        """Take these of the own samples for normal: the manifold, the scale of both scores, the threshold."""
        rare = self.own_counts_.sum(axis=1)
        self.own_normal_, self.normal_given_, self.rare_weight_ = normal, False, 1.0
        self.unlike_normal_: LinearScore | None = None
        self.beyond_normal_: float | None = None
        self.manifold_ = Manifold(self.k).fit(self.own_features_[normal])
        distance = np.empty(len(rare))
        # A ball's radius is the distance to the k-th nearest *other* sample: leave-one-out for the reference itself.
        distance[normal] = self.manifold_.radii_
        distance[~normal] = self._distance(self.own_features_[~normal]) if not normal.all() else []
        self.scale_ = {"rare_activation": _mean_and_std(rare), "distance_to_normal": _mean_and_std(distance)}
        self.threshold_ = self._own_quantile(self._combined(rare, distance))

    def _learn_given(self, normal: NDArray[Any]) -> None:
        """Take the images of these features for normal; rare activation counts as far as it agrees with them.

        The threshold lets the upper `flagged_share` of the normal images pass, each scored by a model that did not see
        it. Where more than 80 % of the own samples lie beyond it, the images are of another kind than the generator's
        (photographs, say), and the half of the own samples that is most unlike them is flagged.
        """
        self.normal_given_ = True
        self.manifold_ = Manifold(self.k).fit(normal)
        self.unlike_normal_ = fit_unlike_normal(normal, self.own_features_)
        of_normal, of_own = unseen_unlike_normal(normal, self.own_features_)
        rare = self.own_counts_.sum(axis=1)
        self.scale_ = {"rare_activation": _mean_and_std(rare), "unlike_normal": _mean_and_std(of_own)}
        self.rare_weight_ = _agreement(rare, of_own)
        own = self._combined(rare, of_own, "unlike_normal")
        mean_rare = np.full(len(normal), self.scale_["rare_activation"][0])
        limit = self._own_quantile(self._combined(mean_rare, of_normal, "unlike_normal"))
        beyond = self.beyond_normal_ = float((own > limit).mean())
        self.threshold_ = limit if beyond <= MOST_BEYOND else float(np.median(own))
        self.own_normal_ = own <= self.threshold_

    def fit_supervised(self, features: NDArray[Any], counts: NDArray[Any], shares: NDArray[Any]) -> Self:
        """Add a supervised score trained on what `measure` returned for labelled samples.

        `shares` (n,): 0 for normal to 1 for artifact. The threshold becomes a quantile of the own samples' new
        score.
        """
        self.supervised_ = fit_soft_logistic(self.supervised_inputs(features, counts), shares)
        self.labelled_ = LabelledFeatures(features, np.asarray(shares, dtype=np.float64))
        own = self.supervised_(self.supervised_inputs(self.own_features_, self.own_counts_))
        self.threshold_ = self._own_quantile(own)
        return self

    def trust_labels(self, threshold: float) -> Self:
        """Flag above this supervised score, and take for normal the own samples that lie below it.

        Raises
        ------
        ValueError
            If fewer than 10 own samples, or than k + 1, lie below it.
        """
        if self.supervised_ is None:
            raise ValueError("There is no supervised score to trust: call fit_supervised first.")
        normal = self.supervised_(self.supervised_inputs(self.own_features_, self.own_counts_)) <= threshold
        if normal.sum() < max(FEWEST_NORMAL, self.k + 1):
            raise ValueError(
                f"By these labels {int(normal.sum())} of the generator's {len(normal)} own samples are normal, and "
                f"{max(FEWEST_NORMAL, self.k + 1)} are needed: give more own samples (--n-reference), or look at the "
                "labels."
            )
        self._learn_own(normal)
        self.threshold_ = threshold
        return self

    def measure(
        self, generator: Generator, latents: Tensor | NDArray[Any], *, progress: bool = False
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Features (n, d) of the generated images, and their standardised rare-neuron counts (n, n_layers)."""
        checked = generator.checked_latents(latents)
        counts = self.rare_.standardised_counts(generator, checked, progress=progress)
        return image_features(generator, checked, load_extractor(self.extractor), progress=progress), counts

    def supervised_inputs(self, features: NDArray[Any], counts: NDArray[Any]) -> NDArray[np.float64]:
        """(n, d + n_layers): the features and the internal counts, side by side."""
        return np.concatenate([features, counts], axis=1).astype(np.float64)

    def score(self, generator: Generator, latents: Tensor | NDArray[Any], *, progress: bool = False) -> Detection:
        """All scores of the samples that these latents give."""
        return self.score_measured(*self.measure(generator, latents, progress=progress))

    def score_measured(self, features: NDArray[Any], counts: NDArray[Any]) -> Detection:
        """The same for samples whose features and counts `measure` has returned before."""
        rare, distance = counts.sum(axis=1), self._distance(features)
        supervised = self.supervised_(self.supervised_inputs(features, counts)) if self.supervised_ else None
        rarity = self.manifold_.rarity(features)
        unlike = None if self.unlike_normal_ is None else self.unlike_normal_(features)
        combined = self._combined(rare, distance) if unlike is None else self._combined(rare, unlike, "unlike_normal")
        return Detection(
            rare_activation=rare,
            distance_to_normal=distance,
            supervised=supervised,
            combined=supervised if supervised is not None else combined,
            threshold=self.threshold_,
            inside=~np.isnan(rarity),
            rarity=rarity,
            unlike_normal=unlike,
        )

    def _distance(self, features: NDArray[Any]) -> NDArray[np.float64]:
        distances: NDArray[np.float64] = nearest_neighbors(self.manifold_.reference_, features, self.k).distances
        return distances[:, -1]

    def _combined(
        self, rare: NDArray[np.float64], other: NDArray[np.float64], name: str = "distance_to_normal"
    ) -> NDArray[np.float64]:
        rare_mean, rare_std = self.scale_["rare_activation"]
        other_mean, other_std = self.scale_[name]
        weighted_rare = self.rare_weight_ * ((rare - rare_mean) / rare_std)
        return (weighted_rare + (other - other_mean) / other_std) / (1 + self.rare_weight_)

    def _own_quantile(self, scores: NDArray[np.float64]) -> float:
        return float(np.quantile(scores, 1 - self.flagged_share))


def _mean_and_std(values: NDArray[np.float64]) -> tuple[float, float]:
    return float(values.mean()), float(values.std()) or 1.0


def _agreement(rare: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Spearman's correlation of the two scores over the own samples; 0 where they disagree or one is constant."""
    if rare.std() == 0 or other.std() == 0:
        return 0.0
    return max(0.0, float(spearmanr(rare, other).statistic))
