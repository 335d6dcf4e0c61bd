"""How new an image is: its distance from what the unamplified pipeline draws for the same prompt.

C3 promises novelty besides usability, but its public code measures none; this measure is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from genmend.manifold import Manifold, nearest_neighbors
from genmend.manifold.features import extract

__all__ = ["Novelty"]


class Novelty:
    """Mean distance-to-the-k-th-neighbour scorer: ``novelty(images, prompt) -> [n]``, higher is newer.

    Parameters
    ----------
    extractor : callable
        Images in 0..1 -> features ``(n, d)``, as `genmend.manifold.features.load_extractor` returns it.
    k : int
        Which neighbour of the cloud.

    Attributes
    ----------
    clouds_ : dict
        Prompt -> features ``(n, d)`` of unamplified samples.
    own_ : dict
        Prompt -> novelty ``(n,)`` of those samples, each without itself.
    real_ : dict
        Prompt -> Manifold of real features; empty if none were given.
    """

    def __init__(self, extractor: Callable[[Tensor], Tensor], *, k: int = 5) -> None:
        self.extractor = extractor
        self.k = k

    def fit(
        self, clouds: Mapping[str, Tensor], real: Mapping[str, Tensor | NDArray[np.floating]] | None = None
    ) -> Novelty:
        """Learn what is not new.

        Parameters
        ----------
        clouds
            Prompt -> unamplified images ``(n, 3, h, w)``; 500 or more make a stable measure.
        real
            Prompt -> real images of its class, or their features ``(n, d)``. Samples outside their manifold get NaN:
            not new but broken.

        Raises
        ------
        ValueError
            If a cloud has k images or fewer.
        """
        for prompt, images in clouds.items():
            if len(images) <= self.k:
                raise ValueError(f"The cloud of {prompt!r} has {len(images)} images; give more than k = {self.k}.")
        self.clouds_ = {prompt: extract(self.extractor, images) for prompt, images in clouds.items()}
        self.own_ = {
            prompt: nearest_neighbors(cloud, cloud, self.k + 1).distances[:, -1].astype(np.float64)
            for prompt, cloud in self.clouds_.items()
        }
        self.real_ = {
            prompt: Manifold(self.k).fit(extract(self.extractor, images) if isinstance(images, Tensor) else images)
            for prompt, images in (real or {}).items()
        }
        return self

    def __call__(self, images: Tensor, prompt: str) -> NDArray[np.floating]:
        """Distance to the k-th nearest unamplified sample; NaN for samples outside the real class manifold."""
        if prompt not in self.clouds_:
            raise ValueError(f"There is no cloud of {prompt!r}; fitted are {', '.join(map(repr, self.clouds_))}.")
        features = extract(self.extractor, images)
        found = nearest_neighbors(self.clouds_[prompt], features, self.k).distances[:, -1].astype(np.float64)
        if prompt in self.real_:
            found[self.real_[prompt].score_samples(features) > 1] = np.nan
        return found
