"""How far the latents of broken samples are moved, so that neurons which mark broken samples fall silent."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genmend.activations.contract import same_values

__all__ = ["LatentDescent"]


@dataclass(frozen=True, eq=False)
class LatentDescent:
    """Levels that a sample's latent is moved down to, by the gradient of its own activations, from weak to strong.

    The *level* of a layer is the mean over its neurons of weight x positive part. `genmend.gans` moves the latents.

    Attributes
    ----------
    layers : tuple of str
        Dotted names, each once.
    weights : tuple of Tensor
        One (c, h, w) a layer, at least 0: how much a neuron marks broken samples.
    scales : tuple of float
        Standard deviation of each layer's level over normal samples, above 0: the unit of what is left to descend.
    targets : tuple of tuples of float
        One tuple a step of strength, with the level of each layer to come down to; no level rises from one to the next.
    step : float
        Of one move, above 0: radians by which a standard normal latent is turned; of others a part of `radius`.
    n_steps : int
        Moves at most, at least 1.
    radius : float or None
        None where latents are standard normal: they are turned and keep their norm. Else the latents' mean distance to
        their mean: they are moved straight.
    """

    layers: tuple[str, ...]
    weights: tuple[Tensor, ...]
    scales: tuple[float, ...]
    targets: tuple[tuple[float, ...], ...]
    step: float
    n_steps: int
    radius: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        object.__setattr__(self, "weights", tuple(torch.as_tensor(one).detach() for one in self.weights))
        object.__setattr__(self, "scales", tuple(map(float, self.scales)))
        object.__setattr__(self, "targets", tuple(tuple(map(float, levels)) for levels in self.targets))
        if not self.layers or len(set(self.layers)) < len(self.layers) or not self.targets:
            raise ValueError(f"layers is {self.layers}, targets {self.targets}; name layers, each once, and a target.")
        numbers = len(self.layers)
        if not len(self.weights) == len(self.scales) == numbers or any(len(t) != numbers for t in self.targets):
            raise ValueError(f"There are {numbers} layers; give as many weights and scales, and levels in each target.")
        for weight in self.weights:
            if weight.dim() != 3 or not weight.is_floating_point() or not weight.isfinite().all() or (weight < 0).any():
                raise ValueError("A layer's weights are no (c, h, w) of finite floating numbers of at least 0; refit.")
        limits = [*self.scales, self.step, *(() if self.radius is None else (self.radius,))]
        if not np.isfinite([*limits, *np.ravel(self.targets)]).all() or min(limits) <= 0:
            raise ValueError("Scales, step and radius have to be above 0, and all numbers finite; refit.")
        if any(after > before for a, b in pairwise(self.targets) for before, after in zip(a, b, strict=True)):
            raise ValueError(f"targets is {self.targets}, where a level rises; sort them from weak to strong.")
        if isinstance(self.n_steps, bool) or not isinstance(self.n_steps, int) or self.n_steps < 1:
            raise ValueError(f"n_steps is {self.n_steps!r}; give a whole number of at least 1.")

    @property
    def facts(self) -> dict[str, Any]:
        """All but the weights, as JSON holds it."""
        kept = {name: value for name, value in vars(self).items() if name != "weights"}
        return kept | {
            "layers": list(self.layers),
            "scales": list(self.scales),
            "targets": list(map(list, self.targets)),
        }

    def __eq__(self, other: object) -> bool:
        return same_values(vars(self), vars(other)) if isinstance(other, LatentDescent) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.layers, self.targets, self.step))
