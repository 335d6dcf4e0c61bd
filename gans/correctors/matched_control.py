"""The control of any correction: the same edits, in the same layers, as many and as strong, on other units or neurons.

A correction that is no better than its control has found nothing: any edit of that size would do.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from genmend.activations import AblateNeurons, CapNeurons, Edit, PullToMean, ScaleUnits
from genmend.gans.correctors.corrector import Corrector, FitSamples
from genmend.gans.correctors.locally_active_units import LocallyActiveUnits
from genmend.gans.correctors.sample_edits import ScaleEachSample
from genmend.gans.generator import layer_shapes

__all__ = ["RandomNeurons", "RandomUnits", "at_other_neurons", "at_other_units"]


class _MatchedControl(Corrector):
    """Fits the corrector, unless it is fitted, and draws the same edits at random places."""

    def __init__(self, corrector: Corrector, *, seed: int = 0) -> None:
        self.corrector = corrector
        self.seed = seed

    @property
    def is_static(self) -> bool:
        """As the corrector is."""
        return self.corrector.is_static

    def _fit(self, samples: FitSamples, progress: bool) -> None:
        """Take the corrector if it is fitted, else fit a copy of it on the same samples."""
        self.corrector_ = self.corrector
        if not _is_fitted(self.corrector):
            self.corrector_ = clone(self.corrector).fit(
                samples.generator, samples.normal, samples.broken, masks=samples.masks, progress=progress
            )
        layers = tuple(dict.fromkeys(edit.layer for edit in self.corrector_.edits(samples.normal[:1])))
        shapes = layer_shapes(samples.generator, layers)
        # One order for each layer, so that a second edit of it meets the same places, and each sample, in any batch.
        draw = torch.Generator().manual_seed(self.seed)
        self.orders_: dict[str, Tensor] = {
            layer: torch.randperm(self._n_places(shapes[layer]), generator=draw) for layer in layers
        }

    def edits(self, latents: Tensor) -> tuple[Edit, ...]:
        """The corrector's edits of these latents, elsewhere."""
        check_is_fitted(self, "orders_")
        return tuple(self._elsewhere(edit) for edit in self.corrector_.edits(latents))

    def move(self, latents: Tensor) -> Tensor:
        """As the corrector moves them."""
        check_is_fitted(self, "orders_")
        return self.corrector_.move(latents)

    def _n_places(self, shape: torch.Size) -> int:
        raise NotImplementedError

    def _elsewhere(self, edit: Edit) -> Edit:
        raise NotImplementedError

    def _refuse(self, edit: Edit, other: str) -> TypeError:
        return TypeError(
            f"{type(self).__name__} has no match for {type(edit).__name__} of layer {edit.layer!r}; use {other} where "
            "it fits, or make the control by hand."
        )


class RandomUnits(_MatchedControl):
    """The control of a corrector that edits units.

    Parameters
    ----------
    corrector : Corrector
        Fitted or not.
    seed : int
        Of the random units: those that the corrector leaves alone, as long as there are enough.

    Attributes
    ----------
    corrector_ : Corrector
        The fitted one.
    orders_ : dict layer -> Tensor
        The random order in which each layer's units are taken.
    """

    def edits(self, latents: Tensor) -> tuple[Edit, ...]:
        """The corrector's edits of these latents, on other units."""
        check_is_fitted(self, "orders_")
        if isinstance(self.corrector_, LocallyActiveUnits):
            return self.corrector_.edits_of(latents, self._least_expected)
        return super().edits(latents)

    def _n_places(self, shape: torch.Size) -> int:
        return shape[0]

    def _elsewhere(self, edit: Edit) -> Edit:
        found = at_other_units(edit, self.orders_[edit.layer])
        if found is None:
            raise self._refuse(edit, "RandomNeurons")
        return found

    def _least_expected(self, layer: str, scores: Tensor) -> Tensor:
        chosen: Any = self.corrector_
        return torch.stack([_others(self.orders_[layer], units) for units in chosen.most_active(scores)])


class RandomNeurons(_MatchedControl):
    """The control of a corrector that edits single neurons.

    Parameters
    ----------
    corrector : Corrector
        Fitted or not.
    seed : int
        Of the random neurons: those that the corrector leaves alone, as long as there are enough.

    Attributes
    ----------
    corrector_ : Corrector
        The fitted one.
    orders_ : dict layer -> Tensor
        The random order in which each layer's neurons are taken.
    """

    def _n_places(self, shape: torch.Size) -> int:
        return shape.numel()

    def _elsewhere(self, edit: Edit) -> Edit:
        found = at_other_neurons(edit, self.orders_[edit.layer])
        if found is None:
            raise self._refuse(edit, "RandomUnits")
        return found


def at_other_units(edit: Edit, order: Tensor) -> Edit | None:
    """The same edit of other units, the first in a random `order` (n_units,); None where it edits no chosen units."""
    if isinstance(edit, ScaleUnits) or (isinstance(edit, PullToMean) and edit.units is not None):
        units = torch.tensor(tuple(edit.units or ()), dtype=torch.int64)
        return replace(edit, units=_others(order, units).tolist())
    if isinstance(edit, ScaleEachSample):
        return replace(edit, scale=edit.scale[:, order])
    if isinstance(edit, CapNeurons) and _of_units(edit.mask):
        mask = torch.zeros_like(edit.mask)
        mask[_others(order, edit.mask.flatten(1).any(1).nonzero()[:, 0])] = True
        return replace(edit, mask=mask)
    return None


def at_other_neurons(edit: Edit, order: Tensor) -> Edit | None:
    """The same edit of other neurons, the first in a random `order` (n_neurons,); None where it edits no neurons."""
    if not isinstance(edit, AblateNeurons | CapNeurons | PullToMean) or edit.mask is None:
        return None
    if isinstance(edit, PullToMean) and bool(edit.mask.all()):
        return None
    mask = torch.zeros(edit.mask.numel(), dtype=torch.bool)
    mask[_others(order, edit.mask.flatten().nonzero()[:, 0])] = True
    return replace(edit, mask=mask.view(edit.mask.shape))


def _others(order: Tensor, chosen: Tensor) -> Tensor:
    """The first of `order` that are not chosen, as many as chosen; where too few are left, the first of all."""
    is_chosen = torch.zeros(len(order), dtype=torch.bool)
    is_chosen[chosen] = True
    left = order[~is_chosen[order]]
    return (left if len(left) >= len(chosen) else order)[: len(chosen)]


def _of_units(mask: Tensor) -> bool:
    """Whether the mask takes or leaves whole units."""
    rows = mask.flatten(1)
    return bool((rows.any(1) == rows.all(1)).all())


def _is_fitted(corrector: Corrector) -> bool:
    try:
        check_is_fitted(corrector)
    except NotFittedError:
        return False
    return True
