"""Which samples are broken: the label-free detector, optionally with a supervised one on top.

Four scores, all finite, all higher = more broken:

- *rare activation*: active neurons that are rarely active (genmend.gans.detection.rare_activation);
- *distance to normal*: feature distance to the k-th nearest of the generator's own normal samples;
- *learned*: what the own samples that the first two suspect most have in common, in the generator's early neurons and
  from these in the image (genmend.gans.detection.learned_score);
- *supervised*: a linear score trained on labels (genmend.gans.detection.soft_logistic), where there are some.

*Combined*, which decides, is the supervised score where there is one, else the learned one (a correction's gate has the
same, and the same threshold), and else (normal images were given, or too few own samples stand out to learn from) the
weighted mean of the first two, each in standard deviations of the generator's own samples.

What is normal is learnt from the generator itself: scores are relative to its own normal samples, not to photographs.
That is only right where most samples are normal; else give images that are, or labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.metrics import roc_auc_score
from torch import Tensor

from genmend.gans.detection.learned_score import (
    SUSPECTS,
    agreement,
    early_activity,
    fit_learned_score,
    fit_unlike_normal,
    suspicion,
    unseen_unlike_normal,
)
from genmend.gans.detection.rare_activation import RareActivation
from genmend.gans.detection.soft_logistic import LinearScore, fit_soft_logistic
from genmend.gans.detection.tail import DOUBT, Tail, tail_of
from genmend.gans.fitted_on import FittedOn
from genmend.gans.generator import Generator
from genmend.manifold import Manifold
from genmend.manifold.engine.nearest import nearest_neighbors
from genmend.manifold.features import load_extractor
from genmend.storage.hub.shareable import Shareable

__all__ = ["ArtifactDetector", "Detection", "LabelledFeatures"]

FEWEST_NORMAL = 10  # own samples to learn from
MOST_BEYOND = 0.8
RATES = (0.01, 0.02, 0.05, 0.1)  # up to which a neuron is rare: to choose from
DEFAULT_SHARE = 0.05  # of normal images, or of own samples without a learned score, that are flagged


@dataclass(frozen=True)
class LabelledFeatures:
    """What a detector was trained on: features (n, d) and shares (n,), 0 for normal to 1 for broken."""

    features: NDArray[Any]
    shares: NDArray[np.float64]


@dataclass(frozen=True)
class Detection:
    """Scores of n samples; `rarity` is NaN outside the normal manifold, the rest is finite.

    `rare_activation` is None where the detector looks at images alone, `supervised` where it was given no labels,
    `unlike_normal` where it was given no normal images, `learned` where it has labels or normal images instead.
    """

    rare_activation: NDArray[np.float64] | None
    distance_to_normal: NDArray[np.float64]
    supervised: NDArray[np.float64] | None
    combined: NDArray[np.float64]
    threshold: float
    inside: NDArray[np.bool_]
    rarity: NDArray[np.float64]
    unlike_normal: NDArray[np.float64] | None = None
    learned: NDArray[np.float64] | None = None

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Return the scores of samples that one detector has scored in pieces, at least one, as if in one."""
        columns = {one.name: [getattr(part, one.name) for part in parts] for one in fields(cls)}
        threshold = columns.pop("threshold")[0]
        joined: dict[str, Any] = {name: None if of[0] is None else np.concatenate(of) for name, of in columns.items()}
        return cls(threshold=threshold, **joined)

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
            "learned": self.learned,
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


class ArtifactDetector(Shareable, BaseEstimator):
    """Learn what is normal for a generator from its own samples; then score others.

    Parameters
    ----------
    extractor : str or callable
        As `genmend.manifold.features.load_extractor` takes it.
    rate : float in (0, 1], optional
        Activation rate up to which a neuron is rare. None: of `RATES` the one whose counts find best the own samples
        that lie furthest from the others.
    k : int
        Neighbours, both of the manifold and of the distance.
    n_statistics, n_reference : int
        Own samples behind the activation rates, and behind the normal manifold.
    flagged_share : float in [0, 1), optional
        Share of the own samples taken for broken: the threshold is this upper quantile of their combined score. None:
        as many as lie beyond what chance explains (genmend.gans.detection.tail). Those above the threshold are left
        out of the normal manifold, and where none is given the doubtful ones below it too.
    seed : int
        Of the own samples: `seed` for the statistics, ``seed + 1`` for the reference. Let neither be the seed of
        samples to be judged.

    Attributes
    ----------
    fitted_on_ : FittedOn or None, of a file from before it was kept
    rare_ : RareActivation
    manifold_ : Manifold
        Of the features of the own normal samples, or of the normal images that were given.
    normal_given_ : bool
        Whether there were such images.
    unlike_normal_ : LinearScore or None
        What tells them from the own samples (genmend.gans.detection.learned_score), in place of the distance.
    beyond_normal_ : float or None
        Share of the own samples that are more unlike them than they are themselves.
    scale_ : dict name -> (mean, std)
        Of the scores that are combined over the own samples; normal ones are measured against the others
        (leave-one-out), and with normal images given by models that did not see them.
    rare_weight_ : float in [0, 1]
        Weight of rare activation in the combined score, beside 1 of the other part.
    learned_ : LinearScore or None
        On features alone.
    own_scores_ : ndarray (n_reference,) or None
        Learned scores of the own samples, each by a model that did not see it.
    learned_auroc_ : float or None
        How well these tell the own samples that the first two scores suspect most from those they suspect least.
    tail_ : Tail or None
        How many of the own samples are broken beyond chance, by these scores.
    supervised_ : LinearScore or None
        On the inputs that `supervised_inputs` returns.
    labelled_ : LabelledFeatures or None, what that was trained on
    training_ : dict or None, what `train_detector` measured of it
    threshold_ : float
    own_features_, own_counts_, own_normal_ : ndarray
        (n_reference, d), (n_reference, n_layers), (n_reference,): what was measured of the
        reference samples, and which of them were taken for normal.
    """

    _kinds = ("detector",)

    def __init__(
        self,
        extractor: str | Callable[[Tensor], Tensor] = "efficientnet-lite0-layers",
        *,
        rate: float | None = None,
        k: int = 3,
        n_statistics: int = 10_000,
        n_reference: int = 2_000,
        flagged_share: float | None = None,
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
        """Sample the generator, measure rates, build the manifold of normal samples, calibrate the scores.

        Raises
        ------
        ValueError
            If `flagged_share` is outside [0, 1), or too few normal samples remain for k neighbours.
        """
        if self.flagged_share is not None and not 0 <= self.flagged_share < 1:
            raise ValueError(f"flagged_share is {self.flagged_share}; give a share in [0, 1), e.g. 0.05, or None.")
        self.fitted_on_: FittedOn | None = FittedOn.of(generator)
        rates = RATES if self.rate is None else (self.rate,)
        statistics = generator.latents(self.n_statistics, self.seed)
        self.rare_ = RareActivation(rates[-1]).measure_rates(generator, statistics, progress=progress)
        reference = generator.latents(self.n_reference, self.seed + 1)
        extractor = load_extractor(self.extractor)
        self.own_features_, counts = self.rare_.measure(generator, reference, extractor, rates, progress=progress)
        self._choose_rate(counts)
        self.supervised_: LinearScore | None = None
        self.learned_: LinearScore | None = None
        self.own_scores_: NDArray[np.float64] | None = None
        self.learned_auroc_: float | None = None
        self.tail_: Tail | None = None
        self.labelled_: LabelledFeatures | None = None
        self.training_: dict[str, Any] | None = None
        self._learn_alone(early_activity(generator, reference, progress=progress))
        return self

    def _choose_rate(self, counts: Mapping[float, Mapping[str, NDArray[np.float64]]]) -> None:
        """Keep the counts (n_reference,) by layer of the rate that agrees best with the distance among own samples."""
        standardised = {rate: self.rare_.scale_by(found).standardised(found) for rate, found in counts.items()}
        self.rare_.rate = next(iter(counts))
        if len(counts) > 1:
            distance = Manifold(self.k).fit(self.own_features_).radii_
            far = distance > np.quantile(distance, 0.9)
            found_far = {
                rate: roc_auc_score(far, columns.sum(axis=1)) if far.any() else 0.5
                for rate, columns in standardised.items()
            }
            self.rare_.rate = max(reversed(list(counts)), key=found_far.__getitem__)  # of equals the highest
        self.rare_.scale_by(counts[self.rare_.rate])
        self.own_counts_ = standardised[self.rare_.rate]

    def _learn_alone(self, neurons: NDArray[np.float32]) -> None:
        """Learn from the own samples alone: the first two scores suspect, neurons (n, m) tell why, images decide."""
        rare = self.own_counts_.sum(axis=1)
        distance = self._learn_own(rare <= np.quantile(rare, 1 - SUSPECTS))
        learned = fit_learned_score(neurons, suspicion(rare, distance), self.seed)
        if learned is not None:
            learned = fit_learned_score(self.own_features_, suspicion(rare, learned[1]), self.seed)
        if learned is None:
            return
        self.learned_, self.own_scores_, self.learned_auroc_ = learned
        self.tail_ = tail_of(self.own_scores_, self.seed)
        threshold = self._own_threshold(self.own_scores_, self.tail_)
        doubtful = threshold if self.flagged_share is not None else self.tail_.threshold(self.own_scores_, DOUBT)
        self._learn_own(self.own_scores_ <= min(threshold, doubtful))  # what is normal is clear of doubt
        self.threshold_ = threshold

    def _learn_own(self, normal: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Take these of the own samples for normal: the manifold, the scale of both scores, the threshold.

        Returns the own samples' distances (n_reference,).
        """
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
        return distance

    def learn_normal(self, normal: NDArray[Any]) -> Self:
        """Take the images of these features (n, d) for normal (`normal_features`), in place of the own majority.

        Rare activation counts as far as it agrees with them.

        The threshold lets the upper `flagged_share` of the normal images pass, each scored by a model that did not see
        it. Where more than 80 % of the own samples lie beyond it, the images are of another kind than the generator's
        (photographs, say), and the half of the own samples that is most unlike them is flagged.
        """
        self.normal_given_ = True
        # What was learnt from the majority is of no use.
        self.learned_, self.own_scores_, self.learned_auroc_, self.tail_ = None, None, None, None
        self.manifold_ = Manifold(self.k).fit(normal)
        self.unlike_normal_ = fit_unlike_normal(normal, self.own_features_)
        of_normal, of_own = unseen_unlike_normal(normal, self.own_features_)
        rare = self.own_counts_.sum(axis=1)
        self.scale_ = {"rare_activation": _mean_and_std(rare), "unlike_normal": _mean_and_std(of_own)}
        self.rare_weight_ = agreement(rare, of_own)
        own = self._combined(rare, of_own, "unlike_normal")
        mean_rare = np.full(len(normal), self.scale_["rare_activation"][0])
        limit = self._own_quantile(self._combined(mean_rare, of_normal, "unlike_normal"))
        beyond = self.beyond_normal_ = float((own > limit).mean())
        self.threshold_ = limit if beyond <= MOST_BEYOND else float(np.median(own))
        self.own_normal_ = own <= self.threshold_
        return self

    def fit_supervised(self, features: NDArray[Any], counts: NDArray[Any], shares: NDArray[Any]) -> Self:
        """Add a supervised score trained on what `measure` returned for labelled samples.

        `shares` (n,): 0 for normal to 1 for artifact. The threshold is found in the own samples' new score.
        """
        self.supervised_ = fit_soft_logistic(self.supervised_inputs(features, counts), shares)
        self.labelled_ = LabelledFeatures(features, np.asarray(shares, dtype=np.float64))
        own = self.supervised_(self.supervised_inputs(self.own_features_, self.own_counts_))
        self.threshold_ = self._own_threshold(own, tail_of(own, self.seed))
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
        checked, extractor = generator.checked_latents(latents), load_extractor(self.extractor)
        features, counts = self.rare_.measure(generator, checked, extractor, progress=progress)
        return features, self.rare_.standardised(counts[self.rare_.rate])

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
        learned = self.learned_(features) if self.learned_ else None
        decides = learned if supervised is None else supervised
        rarity = self.manifold_.rarity(features)
        unlike = None if self.unlike_normal_ is None else self.unlike_normal_(features)
        combined = self._combined(rare, distance) if unlike is None else self._combined(rare, unlike, "unlike_normal")
        return Detection(
            rare_activation=rare,
            distance_to_normal=distance,
            supervised=supervised,
            combined=combined if decides is None else decides,
            threshold=self.threshold_,
            inside=~np.isnan(rarity),
            rarity=rarity,
            unlike_normal=unlike,
            learned=learned,
        )

    @property
    def own_flagged_(self) -> NDArray[np.bool_]:
        """Which of the own samples are flagged, (n_reference,); by scores of models that did not see them."""
        if self.own_scores_ is not None and self.supervised_ is None:
            return self.own_scores_ > self.threshold_
        return self.score_measured(self.own_features_, self.own_counts_).flagged

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

    def _own_threshold(self, scores: NDArray[np.float64], tail: Tail) -> float:
        return tail.default_threshold(scores) if self.flagged_share is None else self._own_quantile(scores)

    def _own_quantile(self, scores: NDArray[np.float64]) -> float:
        share = DEFAULT_SHARE if self.flagged_share is None else self.flagged_share
        return float(np.quantile(scores, 1 - share))


def _mean_and_std(values: NDArray[np.float64]) -> tuple[float, float]:
    return float(values.mean()), float(values.std()) or 1.0
