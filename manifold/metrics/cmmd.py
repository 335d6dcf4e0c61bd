"""CMMD: how far apart two sets of CLIP embeddings are, without the assumption that they are Gaussian."""

from __future__ import annotations

from typing import Any

import numpy as np

from genmend.manifold.engine.inputs import as_features

__all__ = ["cmmd"]

_SIGMA, _SCALE = 10.0, 1000.0
_ROWS = 512


def cmmd(reference: Any, query: Any) -> float:
    """1,000 times the squared maximum mean discrepancy under a Gaussian kernel of width 10; from 0, LOWER is better.

    The biased estimate: 0 for equal sets, and above it for two sets of one distribution, by less the more samples.
    Embeddings are brought to length 1 first.

    Parameters
    ----------
    reference, query
        (n, d) and (m, d) embeddings of one CLIP model, numpy or torch. Published values are those of ViT-L/14 at 336
        pixels; other towers, and other features, compare with each other only.

    Raises
    ------
    ValueError, TypeError
        For different widths, embeddings that are not finite real numbers, or one that is all zeros.

    Notes
    -----
    Source: Jayasumana et al. 2024, "Rethinking FID: towards a better evaluation metric for image generation", arXiv
    2401.09603; the authors' `cmmd/distance.py` for width, scale and estimate. Their model gives embeddings of length 1.

    Examples
    --------
    >>> round(cmmd([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, -1.0]]), 2)
    9.9
    """
    x = as_features(reference, "reference")
    y = as_features(query, "query", x.shape[1])
    x, y = _directions(x, "reference"), _directions(y, "query")
    return _SCALE * max(_mean_of_kernel(x, x) + _mean_of_kernel(y, y) - 2 * _mean_of_kernel(x, y), 0.0)


def _mean_of_kernel(x: np.ndarray, y: np.ndarray) -> float:
    """Of directions, whose squared distance is 2 - 2 x.y."""
    total = 0.0
    for start in range(0, len(x), _ROWS):
        total += float(np.exp((x[start : start + _ROWS] @ y.T - 1) / _SIGMA**2).sum())
    return total / (len(x) * len(y))


def _directions(features: np.ndarray, name: str) -> np.ndarray:
    rows = features.astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not lengths.all():
        row = int(np.flatnonzero(lengths[:, 0] == 0)[0])
        raise ValueError(
            f"{name} has an embedding that is all zeros in row {row}, and zeros have no direction; drop it"
        )
    return rows / lengths
