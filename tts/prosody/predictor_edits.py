"""Change vectors by gradient through what reads them: a model's own duration, pitch or energy predictor, or a probe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["PredictorEdit", "edit_through"]


@dataclass(frozen=True)
class PredictorEdit:
    """An edit that a differentiable predictor led to.

    Attributes
    ----------
    vectors : ndarray
        (n, d) float32, as given but for the chosen tokens.
    wanted, predicted : float
        What was asked for, and what the predictor says of the new vectors.
    moved : float
        Root mean square of the predictor's change over the tokens that should have kept their values.
    relative_length : float
        Mean length of the chosen tokens' changes as a share of their vectors' lengths.
    n_steps : int
    """

    vectors: NDArray[np.float32]
    wanted: float
    predicted: float
    moved: float
    relative_length: float
    n_steps: int


def edit_through(
    predictor: Callable[[Tensor], Tensor],
    vectors: np.ndarray,
    where: np.ndarray,
    wanted: float,
    *,
    summary: Callable[[Tensor], Tensor] = torch.mean,
    keep: float = 1.0,
    penalty: Callable[[Tensor], Tensor] | None = None,
    rate: float = 0.02,
    n_steps: int = 200,
    tolerance: float = 1e-3,
) -> PredictorEdit:
    """Move the chosen tokens' vectors until the predictor says what is wanted of them; the other vectors stay.

    It serves any predictor: `log_durations` of a Piper voice, ``duration_predictor``, ``pitch_predictor`` or
    ``energy_predictor`` of transformers' FastSpeech2Conformer, a probe.

    Parameters
    ----------
    predictor
        Differentiable; (n, d) -> (n,).
    vectors
        (n, d).
    where
        (n,) bool, the chosen tokens; at least one.
    wanted
        What `summary` of the predictor's values of the chosen tokens should become.
    summary
        (m,) -> a number; e.g. ``lambda x: x.exp().sum().log()`` for the logarithm of their whole duration.
    keep
        Weight of the predictor's squared change on the other tokens.
    penalty
        (m, d) new vectors of the chosen tokens -> a number to keep small.
    rate, n_steps, tolerance
        Of Adam; it stops when `wanted` is met within the tolerance.

    Raises
    ------
    ValueError
        If no token is chosen, the shapes differ, or `wanted` is not finite.
    """
    chosen = np.asarray(where, dtype=bool)
    if chosen.shape != vectors.shape[:1] or not chosen.any() or not np.isfinite(wanted):
        raise ValueError(
            f"{int(chosen.sum())} tokens are chosen in a mask of shape {chosen.shape} for vectors {vectors.shape}, "
            f"wanted is {wanted}; choose at least one of the {len(vectors)} tokens and give a finite number."
        )
    original = torch.from_numpy(np.array(vectors, dtype=np.float32))
    rows = torch.from_numpy(chosen)
    with torch.no_grad():
        before = predictor(original)
    own = original[rows].clone().requires_grad_()
    optimiser = torch.optim.Adam([own], lr=rate)
    steps = 0
    while True:
        edited = original.masked_scatter(rows[:, None], own)
        values = predictor(edited)
        error = summary(values[rows]) - wanted
        if abs(float(error.detach())) <= tolerance or steps == n_steps:
            break
        loss = error.square() + keep * _mean_square((values - before)[~rows])
        if penalty is not None:
            loss = loss + penalty(own)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        steps += 1
    change = (own - original[rows]).norm(dim=1) / original[rows].norm(dim=1).clamp(min=1e-12)
    return PredictorEdit(
        vectors=_array(edited),
        wanted=float(wanted),
        predicted=float(summary(values[rows]).detach()),
        moved=float(_mean_square((values - before)[~rows]).detach().sqrt()),
        relative_length=float(change.mean().detach()),
        n_steps=steps,
    )


def _mean_square(values: Tensor) -> Tensor:
    return values.square().mean() if len(values) else values.sum()


def _array(tensor: Tensor) -> Any:
    return tensor.detach().numpy().astype(np.float32)
