"""One number a sample, of which everything in this room is asked: a logit, a score, a change of features."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from genmend.activations.outputs import first_tensor

__all__ = [
    "NotDeterministicWarning",
    "Target",
    "as_module",
    "check_inputs",
    "chosen_scores",
    "classes_of",
    "score_and_gradient",
    "scores_of",
    "spread_of",
    "target_scores",
    "warn_of_spread",
]

Target = int | Sequence[int] | Tensor | None
"""A class for all samples, one class a sample ``(n,)``, or None where the model gives one number a sample."""


#: Layers of torch that do something else in training; those of others may all.
_TRAINED = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._NormBase, nn.RReLU)
_DROPPING = (nn.MultiheadAttention, nn.RNNBase)  # where they have a share to drop
_ROUNDING = 1e-5  # of the largest score: two runs on a GPU may differ by it


class NotDeterministicWarning(UserWarning):
    """Two runs of a model on one input differ."""


def target_scores(model: Callable[..., Any], inputs: Tensor, target: Target) -> Tensor:
    """The number of each sample that is to be explained.

    Parameters
    ----------
    model
        Any callable that takes ``(n, ...)`` and gives ``(n, classes)``, ``(n,)`` or ``(n, 1)``; of an output
        with `logits` these count, of a tuple the first tensor.
    inputs
        Shape ``(n, ...)``.
    target
        See `Target`.

    Returns
    -------
    Tensor
        Shape ``(n,)``, with its graph.

    Raises
    ------
    ValueError
        If a target is out of range, their number is not n, or one is needed and none given.
    """
    return chosen_scores(scores_of(model(inputs)), target, len(inputs))


def scores_of(output: Any) -> Tensor:
    """The scores in what a model returned: its `logits` where it has any, else the first tensor."""
    return first_tensor(getattr(output, "logits", output), "the model")


def chosen_scores(scores: Tensor, target: Target, n: int) -> Tensor:
    """Of scores ``(n, classes)`` those that `target` chooses, shape ``(n,)``; errors as `target_scores`."""
    if len(scores) != n:
        raise ValueError(
            f"The model gave {len(scores)} rows for {n} samples, but one row a sample is needed: "
            "wrap it in a function that returns one."
        )
    if target is None:
        if scores.numel() != n:
            raise ValueError(
                f"The model gives {scores[0].numel()} numbers a sample and no target says which is meant: "
                f"give target=, a class from 0 to {scores.shape[-1] - 1}."
            )
        return scores.reshape(n)
    if scores.ndim != 2:
        raise ValueError(
            f"The model's output has shape {tuple(scores.shape)}, but a target chooses among (n, classes): "
            "leave target out, or wrap the model in a function that returns (n, classes)."
        )
    classes = classes_of(target, n).to(scores.device)
    wrong = classes[(classes < 0) | (classes >= scores.shape[1])]
    if len(wrong):
        raise ValueError(
            f"target {int(wrong[0])} is no class of the model: it has {scores.shape[1]}, 0 to {scores.shape[1] - 1}."
        )
    return scores.gather(1, classes.unsqueeze(1)).squeeze(1)


def classes_of(target: int | Sequence[int] | Tensor, n: int) -> Tensor:
    """The class of each of n samples, int64 of shape ``(n,)``.

    Raises
    ------
    ValueError
        If the target is no whole number and not n of them.
    """
    try:
        classes = torch.as_tensor(target)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"target is {target!r}, but whole numbers of classes are needed.") from None
    if classes.is_floating_point() or classes.is_complex() or classes.dtype == torch.bool:
        raise ValueError(f"target is of type {classes.dtype}, but whole numbers of classes are needed.")
    if classes.ndim > 1 or (classes.ndim == 1 and len(classes) != n):
        raise ValueError(
            f"target has shape {tuple(classes.shape)} for {n} samples: give one class, or one a sample, shape ({n},)."
        )
    return classes.long().expand(n)


def score_and_gradient(model: Callable[..., Any], inputs: Tensor, target: Target = None) -> tuple[Tensor, Tensor]:
    """The score of each sample ``(n,)`` and its gradient by the inputs, shape of the inputs; one backward pass.

    Raises
    ------
    ValueError
        As `target_scores`, and if the score does not depend on the inputs by differentiable steps.
    """
    given = inputs.detach().requires_grad_()
    with torch.enable_grad():
        score = target_scores(model, given, target)
        if not score.requires_grad:
            raise ValueError(
                "The score does not depend on the input by differentiable steps: "
                "the model must not run under torch.no_grad() or detach what it computes."
            )
        (gradient,) = torch.autograd.grad(score.sum(), given)
    return score.detach(), gradient


def check_inputs(inputs: object) -> Tensor:
    """The inputs as they are, if they can be explained.

    Raises
    ------
    TypeError
        If they are no tensor of floating-point numbers.
    ValueError
        If there is none, or one of them holds NaN or infinity; the message names it.
    """
    if not isinstance(inputs, Tensor):
        raise TypeError(
            f"inputs is a {type(inputs).__name__}, but a tensor (n, ...) is needed: torch.as_tensor(inputs)."
        )
    if not inputs.is_floating_point():
        raise TypeError(f"inputs is of type {inputs.dtype}, but floating-point numbers have gradients: inputs.float().")
    if inputs.ndim < 2 or len(inputs) == 0:
        raise ValueError(f"inputs has shape {tuple(inputs.shape)}, but (n, ...) with at least one sample is needed.")
    finite = torch.isfinite(inputs.detach()).flatten(1).all(1)
    if not bool(finite.all()):
        first = int((~finite).nonzero()[0, 0])
        raise ValueError(f"sample {first} of the inputs holds NaN or infinity: leave it out, or read it anew.")
    return inputs


def as_module(model: object) -> nn.Module:
    """The model, if it is a module in evaluation mode.

    Raises
    ------
    TypeError
        If it is no module: hooks need one.
    ValueError
        If a part of it is in training mode, in which dropout and batch norm make every run another one.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"model is a {type(model).__name__}, but a torch.nn.Module is needed, for its layers are asked."
        )
    if model.training:
        raise ValueError("The model is in training mode, where no two runs agree: call model.eval() first.")
    part = next((name for name, part in model.named_modules() if part.training and _differs_in_training(part)), None)
    if part is not None:
        raise ValueError(
            f"Part {part!r} of the model is in training mode, where no two runs agree: call model.eval() first."
        )
    return model


def _differs_in_training(part: nn.Module) -> bool:
    if isinstance(part, _DROPPING):
        return part.dropout > 0
    return isinstance(part, _TRAINED) or not type(part).__module__.startswith("torch.nn.")


def spread_of(run: Callable[[Tensor], Tensor], inputs: Tensor) -> float:
    """How far two runs on the first input differ at most; 0 where it is by no more than rounding.

    Parameters are those of `warn_of_spread`.
    """
    with torch.no_grad():
        first, second = (run(inputs[:1]).detach().float() for _ in range(2))
    spread = float((first - second).abs().max())
    return spread if spread > _ROUNDING * max(1.0, float(first.abs().max())) else 0.0


def warn_of_spread(run: Callable[[Tensor], Tensor], inputs: Tensor, of: str = "the model") -> float:
    """Warn, with the difference, where two runs on the first input differ: what is found is then of one run.

    Parameters
    ----------
    run
        From inputs to scores, or to whatever is looked at.
    inputs
        Shape ``(n, ...)``; the first is run twice.
    of
        What differs, for the message.

    Returns
    -------
    float
        See `spread_of`.
    """
    spread = spread_of(run, inputs)
    if spread:
        warnings.warn(
            f"Two runs of {of} on one input differ by {spread:.2g}: what is found holds for one run; fix the model's "
            "randomness, or look at several runs.",
            NotDeterministicWarning,
            stacklevel=3,
        )
    return spread
