"""Aggregated positive interactions of an image's parts (API), and Shapley values from the same run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genmend.concepts.attributions.feature_groups import superpixels
from genmend.concepts.attributions.interaction_games import (
    MOST_EXACT,
    FeatureInteractions,
    Rectified,
    exact_interactions,
    sampled_interactions,
)
from genmend.concepts.scalar_target import (
    Target,
    as_module,
    check_inputs,
    classes_of,
    scores_of,
    target_scores,
    warn_of_spread,
)

__all__ = ["PositiveInteractions"]


class PositiveInteractions:
    """Hide parts of an input, and sum what each does alone and its positive interactions with the others.

    Parameters
    ----------
    model
        Any callable that `target_scores` takes; it is asked only for its output, and must be deterministic.
    groups
        Which part each pixel belongs to, shape ``(h, w)`` or that of one input, for all inputs; or a function of one
        input that gives it. Default: about 50 superpixels of each image.
    n_orders, seed, rectified
        See `sampled_interactions`. With at most 12 parts every set is asked instead.
    batch_size
        Inputs in one call of the model.

    Examples
    --------
    >>> from genmend.concepts.attributions.feature_groups import patches
    >>> brightest = lambda images: images.flatten(1).amax(1)
    >>> parts = PositiveInteractions(brightest, patches((2, 2), 1))
    >>> image = torch.tensor([[[[3.0, 3.0], [1.0, 0.0]]]])
    >>> parts.attribute(image).tolist()
    [[[[3.0, 3.0], [1.0, 0.0]]]]
    """

    def __init__(
        self,
        model: Callable[..., Any],
        groups: np.ndarray | Callable[[Tensor], np.ndarray] | None = None,
        *,
        n_orders: int = 16,
        seed: int = 0,
        rectified: Rectified = "interaction",
        batch_size: int = 64,
    ) -> None:
        self.model = model
        self.groups = groups
        self.n_orders = n_orders
        self.seed = seed
        self.rectified = rectified
        self.batch_size = batch_size

    def attribute(self, inputs: Tensor, target: Target = None, baseline: float | Tensor = 0.0) -> Tensor:
        """API of the part that each number of the inputs belongs to, shape of the inputs ``(n, ...)``.

        Not a share of the score: don't draw it as a waterfall.
        """
        inputs = check_inputs(inputs)
        results = self.interactions(inputs, target, baseline)
        maps = [
            np.broadcast_to(result.importance[self._groups_of(image)], tuple(image.shape))
            for image, result in zip(inputs, results, strict=True)
        ]
        return torch.as_tensor(np.stack(maps), dtype=inputs.dtype, device=inputs.device)

    def interactions(
        self, inputs: Tensor, target: Target = None, baseline: float | Tensor = 0.0
    ) -> list[FeatureInteractions]:
        """All that was found, an entry a sample: API, Shapley values, intervals, interactions of pairs.

        Parameters
        ----------
        inputs
            Shape ``(n, ...)``.
        target
            See `genmend.concepts.scalar_target.Target`.
        baseline
            What stands in the place of hidden parts: a number, or a tensor that fits the inputs.

        Raises
        ------
        TypeError, ValueError
            If the inputs are no finite floating-point tensor, a target or the groups do not fit, or the model is a
            module in training mode.
        """
        inputs = check_inputs(inputs).detach()
        model = as_module(self.model) if isinstance(self.model, torch.nn.Module) else self.model
        warn_of_spread(lambda some: scores_of(model(some)), inputs)
        hidden = torch.as_tensor(baseline, dtype=inputs.dtype, device=inputs.device).expand(inputs.shape)
        classes = [None] * len(inputs) if target is None else classes_of(target, len(inputs)).tolist()
        return [self._of_one(*each) for each in zip(inputs, hidden, classes, strict=True)]

    def _of_one(self, image: Tensor, hidden: Tensor, target: int | None) -> FeatureInteractions:
        groups = self._groups_of(image)
        n = int(groups.max()) + 1
        belongs = torch.as_tensor(groups, device=image.device)

        @torch.no_grad()
        def game(sets: np.ndarray) -> np.ndarray:
            scores = []
            for start in range(0, len(sets), self.batch_size):
                shown = torch.as_tensor(sets[start : start + self.batch_size], device=image.device)[:, belongs]
                shown = shown.reshape(len(shown), *[1] * (image.ndim - belongs.ndim), *belongs.shape)
                scores.append(target_scores(self.model, torch.where(shown, image, hidden), target).double().cpu())
            return torch.cat(scores).numpy()

        if n <= MOST_EXACT:
            return exact_interactions(game, n, rectified=self.rectified)
        return sampled_interactions(game, n, n_orders=self.n_orders, seed=self.seed, rectified=self.rectified)

    def _groups_of(self, image: Tensor) -> np.ndarray:
        groups = superpixels(image, 50) if self.groups is None else self.groups
        groups = np.asarray(groups(image) if callable(groups) else groups)
        if groups.shape != tuple(image.shape)[-groups.ndim :] or not np.issubdtype(groups.dtype, np.integer):
            raise ValueError(
                f"groups has shape {groups.shape} and type {groups.dtype} for inputs of shape {tuple(image.shape)}: "
                "whole numbers of the shape (h, w) of an input are needed."
            )
        if not np.array_equal(np.unique(groups), np.arange(groups.max() + 1)):
            raise ValueError("groups must count from 0 without a gap: numpy.unique(groups, return_inverse=True)[1].")
        return groups
