"""How new an image is: its distance from what the unamplified pipeline draws for the same prompt.

C3 promises novelty besides usability, but its public code measures none; this measure is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from genmend.manifold import Manifold, nearest_neighbors, vendi_score
from genmend.manifold.features import extract

__all__ = ["Novelty", "VendiGain"]


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


class VendiGain:
    """``vendi_gain(images, prompt) -> [n]``: the Vendi score of the cloud with the image / that of the cloud alone.

    Above 1 where an image adds a direction of its own, below where it repeats what is there; higher is newer. The score
    itself (Friedman and Dieng, arXiv 2210.02410) is of a set; this is ours, so that each image has a value that does
    not depend on which others are scored with it. Distances say nothing here, only directions: see `vendi_score`.

    Parameters
    ----------
    extractor : callable
        Images in 0..1 -> features ``(n, d)``, as `genmend.manifold.features.load_extractor` returns it.

    Attributes
    ----------
    clouds_ : dict
        Prompt -> features ``(n, d)`` of unamplified samples.
    scores_ : dict
        Prompt -> Vendi score of its cloud.
    """

    def __init__(self, extractor: Callable[[Tensor], Tensor]) -> None:
        self.extractor = extractor

    def fit(self, clouds: Mapping[str, Tensor]) -> VendiGain:
        """Learn what is there: prompt -> unamplified images ``(n, 3, h, w)``.

        50 to 200 of them: scoring an image takes a time that grows with their cube.

        Raises
        ------
        ValueError
            If a cloud is empty.
        """
        for prompt, images in clouds.items():
            if not len(images):
                raise ValueError(f"The cloud of {prompt!r} is empty; give unamplified images of it.")
        self.clouds_ = {prompt: extract(self.extractor, images) for prompt, images in clouds.items()}
        self.scores_ = {prompt: vendi_score(features) for prompt, features in self.clouds_.items()}
        return self

    def __call__(self, images: Tensor, prompt: str) -> NDArray[np.floating]:
        """The gain of each image."""
        if prompt not in self.clouds_:
            raise ValueError(f"There is no cloud of {prompt!r}; fitted are {', '.join(map(repr, self.clouds_))}.")
        cloud = self.clouds_[prompt]
        with_each = [vendi_score(np.concatenate([cloud, row[None]])) for row in extract(self.extractor, images)]
        return np.array(with_each) / self.scores_[prompt]
