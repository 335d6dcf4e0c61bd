"""Whitened principal components: features of a thousand dimensions in a few dozen of unit variance.

A density fitted there needs no min-max scaling, and its log-likelihood per dimension means the same for every
extractor.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from numpy.typing import NDArray
from torch import Tensor

from genmend.manifold.engine.inputs import as_features

__all__ = ["Whitening", "fit_whitening"]

# Components of less variance than this share of the first one's are constant but for rounding.
_CONSTANT = 1e-9


@dataclass(frozen=True)
class Whitening:
    """An affine map to uncorrelated coordinates of unit variance, the largest principal component first.

    Attributes
    ----------
    mean : Tensor (d,) float64
    projection : Tensor (d, n_dims) float64
    explained : float
        Share of the variance that the kept components hold, in (0, 1].
    """

    mean: Tensor
    projection: Tensor
    explained: float

    @property
    def n_dims(self) -> int:
        """Number of whitened coordinates."""
        return self.projection.shape[1]

    def __call__(self, features: Tensor) -> Tensor:
        """Whitened coordinates (n, n_dims) of features (n, d); differentiable.

        In float64, or float32 on devices that have no other (MPS).

        Raises
        ------
        ValueError
            If the features have another width.
        """
        if features.ndim != 2 or features.shape[1] != len(self.mean):
            raise ValueError(
                f"Features have shape {tuple(features.shape)}; the density was fitted on (n, {len(self.mean)})."
            )
        dtype = torch.float32 if features.device.type == "mps" else torch.float64
        mean, projection = (part.to(features.device, dtype) for part in (self.mean, self.projection))
        return (features.to(dtype) - mean) @ projection


def fit_whitening(features: NDArray, explained: float = 0.9, max_dims: int = 128) -> Whitening:
    """Whitening by the fewest principal components that hold a share of `explained` of the variance.

    Parameters
    ----------
    features : ndarray (n, d)
        n at least 2.
    explained : float in (0, 1]
    max_dims : int
        At most so many components, even if they explain less.

    Raises
    ------
    ValueError
        If a setting is out of range, or the features are all equal.
    """
    if not 0 < explained <= 1 or max_dims < 1:
        raise ValueError(
            f"explained={explained}, max_dims={max_dims}: give a share of variance in (0, 1] and at least one "
            "dimension."
        )
    x = torch.from_numpy(as_features(features, "features")).double()
    mean = x.mean(0)
    # Signs and order of eigenvectors change with the platform, the density of the coordinates does not.
    variances, directions = torch.linalg.eigh((x - mean).T @ (x - mean) / max(1, len(x) - 1))
    variances, directions = variances.flip(0).clamp(min=0), directions.flip(1)
    if not variances[0] > 0:
        raise ValueError(f"All {len(x)} feature vectors are equal; a density needs samples that differ.")
    shares = variances.cumsum(0) / variances.sum()
    n_dims = min(max_dims, int((shares < explained).sum()) + 1, int((variances > _CONSTANT * variances[0]).sum()))
    projection = directions[:, :n_dims] / variances[:n_dims].sqrt()
    return Whitening(mean, projection.contiguous(), float(shares[n_dims - 1]))
