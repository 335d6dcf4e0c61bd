"""What a measure of explanations is: a number a sample, which way is better, in which range, and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genmend.concepts.scalar_target import Target, chosen_scores, scores_of

__all__ = ["Case", "Measure", "pooled"]

Attribute = Callable[[Tensor, Target], Tensor]


@dataclass(frozen=True, eq=False)
class Case:
    """An explanation that is to be measured.

    Attributes
    ----------
    model : callable
        Gives ``(n, classes)``.
    inputs : Tensor
        Images ``(n, channels, h, w)``.
    targets : Tensor
        Classes, shape ``(n,)``.
    attributions : Tensor
        Raw, as the method gives them, ``(n, channels or 1, h, w)``.
    attribute : callable
        The method, for measures that explain other inputs: ``attribute(inputs, targets)``.
    fill : Tensor or float
        What stands in the place of removed pixels, of a shape that fits the inputs.
    seed : int
    batch_size : int
    """

    model: Callable[..., Any]
    inputs: Tensor
    targets: Tensor
    attributions: Tensor
    attribute: Attribute
    fill: Tensor | float = 0.0
    seed: int = 0
    batch_size: int = 64

    def probabilities(self, inputs: Tensor) -> Tensor:
        """Of each sample's target, shape ``(m,)``; the inputs are whole rounds of the case's samples."""
        return self.logits(inputs, probability=True)

    def logits(self, inputs: Tensor, *, probability: bool = False) -> Tensor:
        """Of each sample's target before the softmax, or after it, shape ``(m,)``; inputs as in `probabilities`."""
        targets = self.targets.repeat(len(inputs) // len(self.inputs))
        found = []
        with torch.no_grad():
            for some, classes in zip(inputs.split(self.batch_size), targets.split(self.batch_size), strict=True):
                scores = scores_of(self.model(some))
                scores = scores.softmax(1) if probability else scores
                found.append(chosen_scores(scores, classes, len(some)))
        return torch.cat(found)

    def filled(self) -> Tensor:
        """The inputs with every pixel removed."""
        fill = torch.as_tensor(self.fill, dtype=self.inputs.dtype, device=self.inputs.device)
        return fill.expand_as(self.inputs)


@dataclass(frozen=True)
class Measure:
    """One way to measure explanations.

    Attributes
    ----------
    name : str
    asks : str
        In one sentence, what it asks.
    higher_is_better : bool
    low, high : float
        The range.
    evaluate : callable
        From a `Case` to one number a sample, shape ``(n,)``.
    forwards : int
        Runs of the model a sample, beside those that another measure of the same case has made.
    explanations : int
        Further explanations a sample.
    property : str
        'faithful', 'stable', 'compact', or 'sane'.
    """

    name: str
    asks: str
    higher_is_better: bool
    low: float
    high: float
    evaluate: Callable[[Case], Tensor]
    forwards: int
    explanations: int
    property: str


def pooled(attributions: Tensor) -> Tensor:
    """One number a pixel, the signed sum over channels, shape ``(n, h, w)``; every measure sees attributions so."""
    return attributions.sum(1)
