"""Whether a region's members are alike, on samples it was not made of, beside neighbours of the same number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from genmend.concepts.regions.configurations import Configurations
from genmend.concepts.regions.neighbours import nearest_configurations
from genmend.concepts.regions.region import JoinedRegion, Region

__all__ = ["HeldOutPurity", "held_out_purity", "nearest_by_features"]


@dataclass(frozen=True)
class HeldOutPurity:
    """The share of a group's members that carry a label, 0..1, by how the group was chosen.

    Attributes
    ----------
    n : int
        Members of the region among the samples held out; every other group has as many.
    region, hamming, euclidean, cosine : float
        Members of the region; the nearest by states of neurons, by distance, and by angle of the features. NaN where n
        is 0.
    base : float
        The label's share of all samples held out.
    """

    n: int
    region: float
    hamming: float
    euclidean: float
    cosine: float
    base: float

    @property
    def lift(self) -> float:
        """The region's share over that of all."""
        return self.region / self.base if self.base else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """JSON's view; what is not defined is None."""
        return {name: None if value != value else value for name, value in {**vars(self), "lift": self.lift}.items()}


def held_out_purity(
    region: Region | JoinedRegion,
    held_out: Configurations,
    sample: Configurations,
    features: np.ndarray,
    feature: np.ndarray,
    carries: np.ndarray,
) -> HeldOutPurity:
    """Compare the region's members among new samples with as many of the sample's nearest ones.

    Parameters
    ----------
    region
        Made of other samples.
    held_out
        New samples, by the thresholds of the region's.
    sample
        The one sample that the region was made round.
    features, feature
        What the layer outputs, or any features: of the new samples ``(n, d)`` and of the one ``(d,)``.
    carries
        Which new samples carry the sample's label, booleans of shape ``(n,)``.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    n_samples = len(held_out)
    if len(features) != n_samples or carries.shape != (n_samples,) or features.shape[1:] != feature.shape:
        raise ValueError(
            f"There are {n_samples} samples, features of shape {features.shape} and {feature.shape}, labels of shape "
            f"{carries.shape}: one row and one label a sample are needed."
        )
    inside = region.contains(held_out)
    n, base = int(inside.sum()), float(carries.mean())
    near = nearest_by_features(features, feature)

    def share(members: np.ndarray) -> float:
        return float(carries[members].mean()) if n else float("nan")

    return HeldOutPurity(
        n=n,
        region=share(inside),
        hamming=share(nearest_configurations(held_out, sample, max(n, 1))[1][0]),
        euclidean=share(near["euclidean"][:n]),
        cosine=share(near["cosine"][:n]),
        base=base,
    )


def nearest_by_features(features: np.ndarray, feature: np.ndarray) -> dict[str, np.ndarray]:
    """Numbers of all samples, the nearest to one first, by 'euclidean' distance and by 'cosine' of the angle."""
    distance = np.linalg.norm(features - feature, axis=1)
    lengths = np.maximum(np.linalg.norm(features, axis=1), np.finfo(np.float32).tiny)
    return {
        "euclidean": np.argsort(distance, kind="stable"),
        "cosine": np.argsort(-(features @ feature) / lengths, kind="stable"),
    }
