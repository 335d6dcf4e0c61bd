"""Units that fire at a sample's latent and not around it, replaced by what they do around it; in each sample others.

Our reading of Jeong, Han, Choi, "An unsupervised way to understand artifact generating internal units in generative
neural networks", AAAI 2022, arXiv 2112.08814 (see genmend.gans.detection.local_activation).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from genmend.activations import Edit, record
from genmend.activations.contract import check_strength
from genmend.gans.correctors.corrector import Corrector, FitSamples, choose_layers
from genmend.gans.correctors.sample_edits import ReplaceUnits, ScaleEachSample
from genmend.gans.detection.local_activation import LocalActivation

__all__ = ["LocallyActiveUnits"]

# From a layer's name and its local activations (n, c) to the units to edit, (n, m).
Choice = Callable[[str, Tensor], Tensor]


class LocallyActiveUnits(Corrector):
    """Edit, in each sample, its most locally active units.

    Local activation is measured on the uncorrected generator in all layers; the edits then act one after another.

    Parameters
    ----------
    estimator, eps, n_neighbours
        As `gans.LocalActivation` has them.
    layers : sequence of str, optional
        In the order of depth; the first half of the generator's layers where None.
    n_units : int
        Units edited in each sample and layer.
    action : "neighbourhood", "scale" or "zero"
        Replace a unit's map by the mean of its maps over the neighbours; multiply it by ``1 / (1 + local activation)``;
        or switch it off.
    n_samples : int
        Own samples behind the usual activities.
    strength : float in [0, 1]
        0 changes nothing.
    seed : int
        Of the own samples; ``seed + 1`` of the neighbours' noise.

    Attributes
    ----------
    local_ : LocalActivation
    generator_ : Generator
        Whose neighbours `edits` asks for.
    """

    def __init__(
        self,
        estimator: Literal["contrast", "support", "differential"] = "contrast",
        layers: Sequence[str] | None = None,
        *,
        eps: float = 0.2,
        n_neighbours: int = 16,
        n_units: int = 20,
        action: Literal["neighbourhood", "scale", "zero"] = "neighbourhood",
        n_samples: int = 2_000,
        strength: float = 1.0,
        seed: int = 1_000_003,
    ) -> None:
        self.estimator = estimator
        self.layers = layers
        self.eps = eps
        self.n_neighbours = n_neighbours
        self.n_units = n_units
        self.action = action
        self.n_samples = n_samples
        self.strength = strength
        self.seed = seed

    def _fit(self, samples: FitSamples, progress: bool) -> None:
        """Measure usual activities on own samples, of any quality; no other arguments are needed."""
        check_strength(self.strength)
        if self.action not in ("neighbourhood", "scale", "zero"):
            raise ValueError(f"action is {self.action!r}; give 'neighbourhood', 'scale' or 'zero'.")
        if self.n_units < 1:
            raise ValueError(f"n_units is {self.n_units}; give at least 1.")
        generator = samples.generator
        self.local_ = LocalActivation(
            self.estimator,
            eps=self.eps,
            n_neighbours=self.n_neighbours,
            layers=choose_layers(generator, self.layers),
            seed=self.seed + 1,
        ).fit(generator, generator.latents(self.n_samples, self.seed), progress=progress)
        self.generator_ = generator

    def edits(self, latents: Tensor) -> tuple[Edit, ...]:
        """Edits for exactly these latents; a unit that is not locally active at all is left alone."""
        return self.edits_of(latents, lambda layer, scores: self.most_active(scores))

    def most_active(self, scores: Tensor) -> Tensor:
        """The `n_units` units of the highest local activation of each sample, (n, m)."""
        return scores.sort(dim=1, descending=True, stable=True).indices[:, : self.n_units]

    def edits_of(self, latents: Tensor, choose: Choice) -> tuple[Edit, ...]:
        """The same edits on chosen units, for controls: as many in each sample, and as strong."""
        check_is_fitted(self, "local_")
        latents = self.generator_.checked_latents(latents)
        scores = self.local_.unit_scores(self.generator_, latents)
        chosen = {layer: choose(layer, found) for layer, found in scores.items()}
        amounts = {layer: found.gather(1, self.most_active(found)) for layer, found in scores.items()}
        if self.action != "neighbourhood":
            return tuple(self._scaled(layer, scores[layer], units, amounts[layer]) for layer, units in chosen.items())
        means = self._neighbourhood_means(latents, chosen)
        return tuple(
            ReplaceUnits(layer, torch.where(amounts[layer] > 0, units, -1), means[layer], self.strength)
            for layer, units in chosen.items()
        )

    def _scaled(self, layer: str, scores: Tensor, units: Tensor, amounts: Tensor) -> Edit:
        factors = 1 / (1 + amounts) if self.action == "scale" else (amounts == 0).to(amounts)
        scale = torch.ones_like(scores).scatter(1, units, factors)
        return ScaleEachSample(layer, scale, self.strength)

    @torch.no_grad()
    def _neighbourhood_means(self, latents: Tensor, chosen: dict[str, Tensor]) -> dict[str, Tensor]:
        """Mean maps over the neighbours, (n, m, h, w) by layer."""
        means: dict[str, list[Tensor]] = {layer: [] for layer in chosen}
        for row, latent in enumerate(latents.split(1)):
            with record(self.generator_.module, tuple(chosen), stop=True) as outputs:
                self.generator_.run(self.local_.neighbours(latent))
            for layer, units in chosen.items():
                maps = outputs[layer].index_select(1, units[row].to(outputs[layer].device))
                means[layer].append(maps.mean(0).cpu())
        return {layer: torch.stack(maps) for layer, maps in means.items()}
