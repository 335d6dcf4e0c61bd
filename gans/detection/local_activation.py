"""Local activation: units that fire at a latent and not in its neighbourhood. A detector without labels or networks.

Our reading of Jeong, Han, Choi, "An unsupervised way to understand artifact generating internal units in generative
neural networks", AAAI 2022, arXiv 2112.08814: its formula is not known to us, so here are three estimators of the idea.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from torch.autograd import forward_ad

from genmend.activations import MeanVariance, UnitQuantiles, record
from genmend.gans.generator import Generator, measured_layers, recorded_batches
from genmend.gans.generator_layers import checked_layers
from genmend.storage.progress import with_progress

__all__ = ["ESTIMATORS", "LocalActivation"]

ESTIMATORS = ("contrast", "support", "differential")
_QUANTILE = 0.99


class LocalActivation(BaseEstimator):
    """Score samples by how locally their most locally active units are active; higher = more broken.

    The activity a of a unit is the mean of the positive part of its map. Neighbours of a latent z are
    ``sqrt(1 - eps^2) z + eps noise``, again samples of the prior; of a latent that is not normal itself (w), ``w + eps
    std noise`` with the standard deviation of each coordinate. The noise is the same for every latent. Our reading of
    arXiv 2112.08814, in three estimators:

    - *contrast*: ``max(a(z) - mean of a over the neighbours, 0)`` in standard deviations of a over own samples;
    - *support*: where a(z) exceeds the 99 % quantile of own samples, the share of neighbours where it does not;
    - *differential*: ``|gradient of a at z| a(z) / variance of a``: no neighbours and so no `eps`, directional
      derivatives along `n_neighbours` orthonormal random directions (exact once there is one for each dimension of z).

    Parameters
    ----------
    estimator : "contrast", "support" or "differential"
    eps : float in (0, 1]
        Size of the neighbourhood; scores of different sizes do not compare.
    n_neighbours : int
        Neighbours, or directions, of each sample.
    layers : sequence of str, optional
        `measured_layers` of the generator where None.
    n_top : int
        A sample's score in a layer is the mean over this many units, those most locally active in it.
    floor : float
        Added to a unit's standard deviation (variance) is this share of the layer's mean one, so that a unit that
        hardly ever varies does not decide alone.
    seed : int
        Of the noise.

    Attributes
    ----------
    std_, quantile_ : dict layer -> Tensor (c,) float64
        Of the activities over the own samples.
    noise_ : Tensor (n_neighbours, *latent_shape)
        Standard normal, or times each coordinate's standard deviation.
    keep_ : float
        Of the latent itself in its neighbours.
    """

    def __init__(
        self,
        estimator: Literal["contrast", "support", "differential"] = "contrast",
        *,
        eps: float = 0.2,
        n_neighbours: int = 16,
        layers: Sequence[str] | None = None,
        n_top: int = 10,
        floor: float = 0.01,
        seed: int = 0,
    ) -> None:
        self.estimator = estimator
        self.eps = eps
        self.n_neighbours = n_neighbours
        self.layers = layers
        self.n_top = n_top
        self.floor = floor
        self.seed = seed

    def fit(self, generator: Generator, latents: Tensor, *, progress: bool = False) -> Self:
        """Measure what is usual on own samples of the prior; let them be others than those to be scored.

        Raises
        ------
        ValueError
            If a parameter is out of range, there are fewer than 2 latents, or the generator gives two images for one
            latent: its own noise would pass for a difference between neighbours.
        """
        self._check_parameters()
        checked = generator.checked_latents(latents)
        if len(checked) < 2:
            raise ValueError(f"LocalActivation needs at least 2 latents to learn from, got {len(checked)}.")
        layers = measured_layers(generator) if self.layers is None else checked_layers(generator, self.layers)
        _check_deterministic(generator, checked[:1], layers)
        spread = {layer: MeanVariance() for layer in layers}
        highest = {layer: UnitQuantiles(len(checked), tail=1 - _QUANTILE) for layer in layers}
        for outputs in recorded_batches(generator, checked, layers, "usual activity", progress):
            for layer in layers:
                activity = _activity(outputs[layer])
                spread[layer].update(activity)
                highest[layer].update(activity)
        self.std_ = {layer: spread[layer].std.cpu() for layer in layers}
        self.quantile_ = {layer: highest[layer].quantile(_QUANTILE).cpu() for layer in layers}
        draw = torch.Generator().manual_seed(self.seed)
        self.noise_ = torch.randn(self.n_neighbours, *generator.latent_shape, generator=draw)
        self.keep_ = math.sqrt(1 - self.eps**2)
        if generator.draw is not None:
            self.noise_, self.keep_ = self.noise_ * checked.std(0), 1.0
        return self

    def neighbours(self, latents: Tensor) -> Tensor:
        """Latents (n * n_neighbours, *latent_shape), those of one sample after another."""
        check_is_fitted(self, "noise_")
        return (self.keep_ * latents[:, None] + self.eps * self.noise_.to(latents)).flatten(0, 1)

    @torch.no_grad()
    def unit_scores(self, generator: Generator, latents: Tensor, *, progress: bool = False) -> dict[str, Tensor]:
        """Local activation of every unit in every sample: (n, c) float64 >= 0 by layer."""
        check_is_fitted(self, "noise_")
        checked = generator.checked_latents(latents)
        parts: dict[str, list[Tensor]] = {layer: [] for layer in self.std_}
        # A batch holds a sample with all its neighbours; the pass ends after the last layer.
        batches = checked.split(max(1, generator.batch_size // (self.n_neighbours + 1)))
        for batch in with_progress(batches, "local activation", len(batches), show=progress):
            score = self._differential if self.estimator == "differential" else self._neighbourly
            for layer, found in score(generator, batch).items():
                parts[layer].append(found.cpu())
        return {layer: torch.cat(found) for layer, found in parts.items()}

    def score(self, generator: Generator, latents: Tensor, *, progress: bool = False) -> NDArray[np.float64]:
        """Mean over the layers of the mean over the `n_top` most locally active units: (n,)."""
        scores = self.unit_scores(generator, latents, progress=progress)
        return np.mean([self.layer_score(found) for found in scores.values()], axis=0)

    def layer_score(self, unit_scores: Tensor) -> NDArray[np.float64]:
        """Mean over the `n_top` highest of each row: (n,)."""
        top = unit_scores.topk(min(self.n_top, unit_scores.shape[1]), dim=1).values
        return top.mean(1).double().numpy()

    def _neighbourly(self, generator: Generator, latents: Tensor) -> dict[str, Tensor]:
        together = torch.cat([latents, self.neighbours(latents)])
        with record(generator.module, tuple(self.std_), stop=True, reduce=_activity) as outputs:
            generator.run(together)
        scores = {}
        for layer in self.std_:
            here = outputs[layer][: len(latents)]
            near = outputs[layer][len(latents) :].unflatten(0, (len(latents), self.n_neighbours))
            if self.estimator == "contrast":
                excess = (here - near.mean(1)).clamp(min=0)
                scores[layer] = excess / self._floored(self.std_[layer]).to(excess)
            else:
                quantile = self.quantile_[layer].to(here)
                scores[layer] = (here > quantile) * (1 - (near > quantile).double().mean(1))
        return scores

    def _differential(self, generator: Generator, latents: Tensor) -> dict[str, Tensor]:
        directions = orthonormal_rows(self.noise_.flatten(1)).to(latents)
        width = directions.shape[1]
        repeated = latents.repeat_interleave(len(directions), 0)
        along = directions.repeat(len(latents), 1).view_as(repeated)
        with forward_ad.dual_level():
            with record(generator.module, tuple(self.std_), stop=True, reduce=_activity, detach=False) as outputs:
                generator.run(forward_ad.make_dual(repeated, along))
            pairs = {layer: forward_ad.unpack_dual(outputs[layer]) for layer in self.std_}
        scores = {}
        for layer, pair in pairs.items():
            here = pair.primal.unflatten(0, (len(latents), -1))[:, 0]
            slope = torch.zeros_like(pair.primal) if pair.tangent is None else pair.tangent
            # A share of the squared length lies along these directions: their number among all dimensions.
            squared = slope.unflatten(0, (len(latents), -1)).square().sum(1) * (width / len(directions))
            scores[layer] = squared.sqrt() * here / self._floored(self.std_[layer].square()).to(here)
        return scores

    def _floored(self, spread: Tensor) -> Tensor:
        floored = spread + self.floor * spread.mean()
        return torch.where(floored > 0, floored, torch.inf)  # a layer that never varies says nothing

    def _check_parameters(self) -> None:
        if self.estimator not in ESTIMATORS:
            raise ValueError(f"estimator is {self.estimator!r}; give one of {', '.join(map(repr, ESTIMATORS))}.")
        if not 0 < self.eps <= 1:
            raise ValueError(f"eps is {self.eps}; give a number in (0, 1]: at 1 a neighbour is any other sample.")
        if self.n_neighbours < 1 or self.n_top < 1 or self.floor < 0:
            raise ValueError(
                f"n_neighbours={self.n_neighbours}, n_top={self.n_top}, floor={self.floor}: give at least 1, 1 and 0."
            )


def orthonormal_rows(noise: Tensor) -> Tensor:
    """Orthonormal directions, at most as many as dimensions, spanning what the rows of noise span: (m, d)."""
    rows = noise[: noise.shape[1]].double()
    return torch.linalg.qr(rows.T).Q.T.contiguous()


def _activity(maps: Tensor) -> Tensor:
    """Mean of the positive part of each unit's map, (n, c) float64."""
    positive = maps.double().clamp(min=0)
    return positive.flatten(2).mean(2) if maps.ndim > 2 else positive


@torch.no_grad()
def _check_deterministic(generator: Generator, latent: Tensor, layers: Sequence[str]) -> None:
    runs = []
    for _ in range(2):
        with record(generator.module, layers, stop=True) as outputs:
            generator.run(latent.repeat_interleave(2, 0))
        runs += [{layer: outputs[layer][row] for layer in layers} for row in range(2)]
    for layer in layers:
        if not all(torch.allclose(runs[0][layer], run[layer], rtol=1e-3, atol=1e-5) for run in runs[1:]):
            raise ValueError(
                f"{generator.name} gives different outputs of {layer!r} for the same latent; fix its noise (call= of "
                "gans.Generator), or neighbours would differ by noise alone."
            )
