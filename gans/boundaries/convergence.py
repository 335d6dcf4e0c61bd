"""Whether walks have forgotten where they began: split R-hat and effective sample sizes of several chains.

Source: Vehtari, Gelman, Simpson, Carpenter, Buerkner, "Rank-normalization, folding, and localization: an improved
R-hat", Bayesian Analysis 2021, arXiv 1903.08008, equations 1-4 and 10-13; without the rank normalisation, for latents
inside a region have finite variance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["KEPT_STATES", "Convergence", "convergence", "effective_sizes", "mixing", "split_r_hat"]

KEPT_STATES = 256  # of a walk, evenly spaced: what its mixing is told by


@dataclass(frozen=True)
class Convergence:
    """Of several walks through the same region, each followed in several numbers.

    Attributes
    ----------
    n_moves, n_walks : int
    r_hat : float
        The largest split R-hat of the numbers: the spread of all halves of walks over that within them. 1 is ideal,
        below 1.01 the usual demand, above 1.1 the walks have not mixed.
    effective_size : float
        The smallest effective sample size of the numbers, over all walks.
    moves_a_sample : float
        Moves for one effective sample, of that number: a walk has to be several times as long to forget its start.
    """

    n_moves: int
    n_walks: int
    r_hat: float
    effective_size: float
    moves_a_sample: float

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON holds it."""
        return asdict(self)


def convergence(states: NDArray[np.floating]) -> Convergence:
    """Diagnose states (n_moves, n_walks, k) of `walks`: coordinates, distances, or whatever else is of interest.

    Raises
    ------
    ValueError
        If there are fewer than 8 moves or 2 walks, or nothing moves.
    """
    states = np.asarray(states, np.float64)
    n_moves, n_walks = states.shape[:2]
    if n_moves < 8 or n_walks < 2:
        raise ValueError(f"{n_moves} moves of {n_walks} walks tell nothing; give at least 8 moves of 2 walks.")
    if not (states.std((0, 1)) > 0).all():
        raise ValueError("A number never changes: leave it out, or let the walks move.")
    smallest = float(effective_sizes(states).min())
    return Convergence(n_moves, n_walks, float(split_r_hat(states).max()), smallest, n_moves * n_walks / smallest)


def mixing(states: Sequence[Tensor], query: Tensor) -> dict[str, float]:
    """`r_hat` and `effective_size` of walks at some of their moves, (n, d) each; NaN where nothing can be told.

    Followed in every coordinate and in the distance to the query (1, d).
    """
    unknown = {"r_hat": float("nan"), "effective_size": float("nan")}
    if len(states) < 8 or len(states[0]) < 2:
        return unknown
    path = torch.stack([torch.cat([at, (at - query).norm(dim=1, keepdim=True)], 1).cpu() for at in states]).numpy()
    moving = path.std((0, 1)) > 0
    if not moving.any():
        return unknown
    found = convergence(path[..., moving])
    return {"r_hat": found.r_hat, "effective_size": found.effective_size}


def split_r_hat(states: NDArray[np.floating]) -> NDArray[np.float64]:
    """Split R-hat of each number of (n_moves, n_walks, k), (k,); a middle move of an odd count is left out."""
    chains = _halves(np.asarray(states, np.float64))
    within, total = _variances(chains)
    return np.asarray(np.sqrt(total / within))


def effective_sizes(states: NDArray[np.floating]) -> NDArray[np.float64]:
    """Effective sample size of each number of (n_moves, n_walks, k), over all walks, (k,).

    Autocorrelations of the split chains, summed in pairs while these are positive and falling (Geyer's initial monotone
    sequence), at most ``n log10 n``.
    """
    chains = _halves(np.asarray(states, np.float64))
    n, m, k = chains.shape
    within, total = _variances(chains)
    correlation = 1 - (within - _autocovariance(chains).mean(1) * n / (n - 1)) / total
    correlation[0] = 1
    pairs = correlation[: n // 2 * 2].reshape(n // 2, 2, k).sum(1)
    positive = np.logical_and.accumulate(pairs > 0, axis=0)
    falling = np.minimum.accumulate(np.where(positive, pairs, 0), axis=0)
    time = np.maximum(2 * falling.sum(0) - 1, 1 / np.log10(n * m))
    return np.asarray(n * m / time)


def _halves(states: NDArray[np.float64]) -> NDArray[np.float64]:
    """First and second halves of the walks as chains of their own: (n // 2, 2 m, k)."""
    half = len(states) // 2
    return np.concatenate([states[:half], states[-half:]], axis=1)


def _variances(chains: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean variance within the chains, and the estimate of the whole one, (k,) each."""
    n = len(chains)
    within = chains.var(0, ddof=1).mean(0)
    between = chains.mean(0).var(0, ddof=1)
    return within, within * (n - 1) / n + between


def _autocovariance(chains: NDArray[np.float64]) -> NDArray[np.float64]:
    """At every lag, divided by n whatever the lag, (n, m, k), by Fourier transforms of chain after chain."""
    n = len(chains)
    found = np.empty_like(chains)
    for chain in range(chains.shape[1]):
        centred = chains[:, chain] - chains[:, chain].mean(0)
        power = np.abs(np.fft.rfft(centred, 2 * n, axis=0)) ** 2
        found[:, chain] = np.fft.irfft(power, axis=0)[:n] / n
    return found
