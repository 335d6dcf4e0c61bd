"""How to change vectors so that a probe reads something else: the shortest move, and the one that data make likely."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tts.probes import LinearProbe

__all__ = ["along_covariance", "along_weights", "random_direction", "shrunk_covariance"]


def along_weights(probe: LinearProbe) -> NDArray[np.float64]:
    """(d,) the shortest move by which the probe reads 1 more; ``w / (w.w)``."""
    length = probe.weights @ probe.weights
    if not length > 0:
        raise ValueError(f"The probe of {probe.attribute!r} has no weights but 0; no move changes what it reads.")
    return np.asarray(probe.weights / length)


def along_covariance(probe: LinearProbe, covariance: np.ndarray) -> NDArray[np.float64]:
    """(d,) the likeliest move by which the probe reads 1 more; ``S w / (w.S w)``, of least Mahalanobis length.

    Parameters
    ----------
    covariance
        (d, d) of ordinary vectors, as `shrunk_covariance` gives it.

    Raises
    ------
    ValueError
        If the probe has no weights but 0, or the covariance another shape or no variance along them.
    """
    d = len(probe.weights)
    if covariance.shape != (d, d):
        raise ValueError(
            f"The covariance has shape {covariance.shape}, but the probe {d} weights; give one ({d}, {d})."
        )
    move = covariance @ probe.weights
    variance = probe.weights @ move
    if not variance > 0:
        raise ValueError(f"The vectors do not vary along the probe of {probe.attribute!r}; give more of them.")
    return np.asarray(move / variance)


def shrunk_covariance(vectors: np.ndarray) -> NDArray[np.float64]:
    """(d, d) covariance of vectors (n, d), shrunk towards a multiple of the identity as Ledoit and Wolf (2004) do."""
    from sklearn.covariance import ledoit_wolf

    covariance, _ = ledoit_wolf(vectors)
    return np.asarray(covariance, dtype=np.float64)


def random_direction(like: np.ndarray, seed: int) -> NDArray[np.float64]:
    """A direction as long as `like`, drawn uniformly: what any move of that length does."""
    generator: Any = np.random.default_rng(seed)
    direction = generator.standard_normal(like.shape)
    return np.asarray(direction * (np.linalg.norm(like) / np.linalg.norm(direction)))
