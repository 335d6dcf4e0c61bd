"""How much an image adds to the diversity of what the unamplified pipeline draws: a novelty scorer beside `Novelty`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from manifold import vendi_score
from manifold.features import extract

__all__ = ["VendiGain"]


class VendiGain:
    """``vendi_gain(images, prompt) -> [n]``: the Vendi score of the cloud with the image / that of the cloud alone.

    Above 1 where an image adds a direction of its own, below where it repeats what is there; higher is newer. The score
    itself (Friedman and Dieng, arXiv 2210.02410) is of a set; this is ours, so that each image has a value that does
    not depend on which others are scored with it. Distances say nothing here, only directions: see `vendi_score`.

    Parameters
    ----------
    extractor : callable
        Images in 0..1 -> features ``[n, d]``, as `manifold.features.load_extractor` returns it.

    Attributes
    ----------
    clouds_ : dict
        Prompt -> features ``[n, d]`` of unamplified samples.
    scores_ : dict
        Prompt -> Vendi score of its cloud.
    """

    def __init__(self, extractor: Callable[[Tensor], Tensor]) -> None:
        self.extractor = extractor

    def fit(self, clouds: Mapping[str, Tensor]) -> VendiGain:
        """Learn what is there: prompt -> unamplified images ``[n, 3, h, w]``.

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
