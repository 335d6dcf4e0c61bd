"""Manifold-guided correction, ours: the smallest gains of units that bring a sample's features back to normal.

For each sample and each unit of a layer one gain, found by gradient descent from 1, until the features of the image are
inside the k-NN manifold of normal samples and, where broken samples were given, a linear score that tells both kinds
apart is as low as that of a normal sample. One layer after the other: a later layer is touched only for the samples
that the earlier ones did not bring back. Samples that are normal already keep every bit.

A sample can satisfy one feature space without being mended (`experiments.faces.artifacts` measures how often): several
extractors at once are harder to satisfy for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from genmend.activations import Edit, edited
from genmend.gans.correctors.corrector import Corrector, FitSamples, choose_layers
from genmend.gans.correctors.sample_edits import ScaleEachSample
from genmend.gans.detection.soft_logistic import LinearScore, cross_validated_scores, fit_soft_logistic
from genmend.gans.generator import gradient_batch, layer_shapes
from genmend.gans.image_features import AT_ONCE, image_features
from genmend.manifold import Manifold
from genmend.manifold.features import load_extractor
from genmend.manifold.features.extractor_device import at_extractor
from genmend.manifold.regions.manifold import nearest_ball_distance
from genmend.storage.progress import with_progress

__all__ = ["FeatureTarget", "ManifoldGuided"]

Extractor = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class FeatureTarget:
    """What is normal in one feature space, as a function that gradients flow through.

    Attributes
    ----------
    extractor : callable
        Images (n, 3, h, w) in 0..1 to features (n, d).
    reference : Tensor (n_normal, d), radii : Tensor (n_normal,)
        The balls of the normal manifold.
    manifold_limit : float
        Largest distance / radius that counts as inside.
    weights : Tensor (d,) or None, bias, score_limit : float
        The linear score, higher = more broken, and the largest value that counts as normal.
    """

    extractor: Extractor
    reference: Tensor
    radii: Tensor
    manifold_limit: float
    weights: Tensor | None = None
    bias: float = 0.0
    score_limit: float = 0.0

    @classmethod
    def fit(
        cls,
        extractor: Extractor,
        normal: NDArray[Any],
        broken: NDArray[Any] | None,
        *,
        k: int,
        manifold_quantile: float,
        score_quantile: float,
    ) -> FeatureTarget:
        """From the features of normal samples (n_normal, d) and of broken ones (n_broken, d)."""
        manifold = Manifold(k).fit(normal)
        limit = float(np.quantile(manifold.score_samples(leave_one_out=True), manifold_quantile))
        reference, radii = torch.from_numpy(normal).float(), torch.from_numpy(manifold.radii_).float()
        if broken is None:
            return cls(extractor, reference, radii, limit)
        features = np.concatenate([normal, broken])
        shares = np.repeat([0.0, 1.0], [len(normal), len(broken)])
        score: LinearScore = fit_soft_logistic(features, shares)
        # Scores by models that did not see the sample: those of a model's own training set look too normal.
        unseen = cross_validated_scores(features, shares, regularisation=score.regularisation)[: len(normal)]
        weights = torch.from_numpy(score.weights).float()
        return cls(extractor, reference, radii, limit, weights, score.bias, float(np.quantile(unseen, score_quantile)))

    def excess(self, images: Tensor) -> Tensor:
        """How far outside each image is, (n,): 0 inside; differentiable.

        The sum of distance / radius above its limit and of the linear score above its limit.
        """
        features = self.extractor(at_extractor(self.extractor, images))
        reference, radii = self.reference.to(features.device), self.radii.to(features.device)
        distance = nearest_ball_distance(features, reference, radii.clamp(min=1e-12))
        excess = (distance - self.manifold_limit).clamp(min=0)
        if self.weights is not None:
            score = features @ self.weights.to(features.device) + self.bias
            excess = excess + (score - self.score_limit).clamp(min=0)
        return excess.to(images.device)


class ManifoldGuided(Corrector):
    """Gains of units, each sample's own, by gradient, until its features are inside the normal region.

    Parameters
    ----------
    extractors : str, callable, or sequence of them
        As `load_extractor` takes them; differentiable. The sample has to be normal in all of them.
    layers : sequence of str, optional
        Layers to edit, in order of depth; the first half of the generator's where None.
    k : int
        Neighbours of the normal manifold.
    manifold_quantile, score_quantile : float in (0, 1]
        Inside is below these quantiles of the normal samples' own (unseen) values.
    n_steps : int
        Gradient steps a layer.
    learning_rate, penalty : float
        Of Adam; weight of the mean squared change of the gains in the loss.
    largest_gain : float
        Gains stay in [0, largest_gain]; at 1 units can only be weakened.

    Attributes
    ----------
    targets_ : tuple of FeatureTarget
    layers_ : tuple of str
    generator_ : Generator
    """

    def __init__(
        self,
        extractors: str | Extractor | Sequence[str | Extractor] = "efficientnet-lite0",
        layers: Sequence[str] | None = None,
        *,
        k: int = 3,
        manifold_quantile: float = 0.95,
        score_quantile: float = 0.5,
        n_steps: int = 30,
        learning_rate: float = 0.05,
        penalty: float = 1.0,
        largest_gain: float = 1.0,
    ) -> None:
        self.extractors = extractors
        self.layers = layers
        self.k = k
        self.manifold_quantile = manifold_quantile
        self.score_quantile = score_quantile
        self.n_steps = n_steps
        self.learning_rate = learning_rate
        self.penalty = penalty
        self.largest_gain = largest_gain

    def _fit(self, samples: FitSamples, progress: bool) -> None:
        """Learn what is normal from the features of `normal`, and with `broken` a score that tells both apart."""
        one = isinstance(self.extractors, str) or callable(self.extractors)
        named: Sequence[Any] = [self.extractors] if one else list(self.extractors)  # type: ignore[arg-type]
        if not named:
            raise ValueError("extractors is empty; name at least one, e.g. 'efficientnet-lite0'.")
        generator = samples.generator
        layers = choose_layers(generator, self.layers)
        both = (samples.normal, samples.broken)
        targets = []
        for extractor in map(load_extractor, named):
            features = [None if z is None else image_features(generator, z, extractor, progress=progress) for z in both]
            assert features[0] is not None
            targets.append(
                FeatureTarget.fit(
                    extractor,
                    features[0],
                    features[1],
                    k=self.k,
                    manifold_quantile=self.manifold_quantile,
                    score_quantile=self.score_quantile,
                )
            )
        self.targets_, self.layers_, self.generator_ = tuple(targets), layers, generator

    def edits(self, latents: Tensor, *, progress: bool = False) -> tuple[Edit, ...]:
        """One `ScaleEachSample` a layer for exactly these latents; gains of 1 where a sample needs none."""
        check_is_fitted(self, "targets_")
        latents = self.generator_.checked_latents(latents)
        found: tuple[ScaleEachSample, ...] = ()
        outside = torch.arange(len(latents))
        for layer, shape in layer_shapes(self.generator_, self.layers_).items():
            gains = torch.ones(len(latents), shape[0])
            if len(outside):
                outside = outside[self.excess(latents[outside], _rows_of(found, outside)) > 0]
            parts = outside.split(self._at_once) if len(outside) else ()
            for rows in with_progress(parts, f"gains of {layer}", len(parts), show=progress):
                gains[rows] = self._descend(latents[rows], layer, gains[rows], _rows_of(found, rows))
            found = (*found, ScaleEachSample(layer, gains))
        return found

    @torch.no_grad()
    def excess(self, latents: Tensor, edits: Sequence[ScaleEachSample] = ()) -> Tensor:
        """How far outside the samples are under these edits, (n,) on the CPU: 0 is inside in every feature space."""
        parts = []
        for rows in torch.arange(len(latents)).split(self._at_once):
            with edited(self.generator_.module, *_rows_of(edits, rows)):
                images = self.generator_.images(latents[rows]).cpu()
            parts.append(self._total_excess(images))
        return torch.cat(parts)

    @property
    def _at_once(self) -> int:
        return min(AT_ONCE, gradient_batch(self.generator_))

    def _total_excess(self, images: Tensor) -> Tensor:
        return torch.stack([target.excess(images) for target in self.targets_]).sum(0)

    def _descend(self, latents: Tensor, layer: str, start: Tensor, fixed: tuple[ScaleEachSample, ...]) -> Tensor:
        """Gains (n, c) of one layer from `start` on: the first that are inside, or those of the least excess."""
        gains = start.clone().requires_grad_(True)
        optimiser = torch.optim.Adam([gains], lr=self.learning_rate)
        best, lowest = start.clone(), torch.full((len(latents),), torch.inf)
        for step in range(self.n_steps + 1):
            with edited(self.generator_.module, *fixed, ScaleEachSample(layer, gains)):
                images = self.generator_.images(latents).cpu()
            excess = self._total_excess(images)
            better = excess.detach() < lowest
            best[better], lowest[better] = gains.detach()[better], excess.detach()[better]
            if step == self.n_steps or not lowest.any():
                break
            change = (gains - 1).square().mean(1)
            optimiser.zero_grad()
            # A sample that is inside already moves no further.
            (excess + self.penalty * change)[lowest > 0].sum().backward()
            optimiser.step()
            with torch.no_grad():
                gains.clamp_(0, self.largest_gain)
        return best


def _rows_of(edits: Sequence[ScaleEachSample], rows: Tensor) -> tuple[ScaleEachSample, ...]:
    return tuple(ScaleEachSample(edit.layer, edit.scale[rows]) for edit in edits)
