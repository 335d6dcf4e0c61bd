"""Which images one would keep: usable, among the real ones, and newer than what the pipeline draws anyway.

Novelty alone rewards what is broken, and usability alone what is typical; their means hide that one image in twenty
may be both new and whole. So keepers are counted, image by image. Of as many plain images about one in twenty is
newer than nineteen of its like, too: what an edit has to beat is drawing more seeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from genmend.diffusion.search.novelty import Novelty
    from genmend.diffusion.search.scorers import Scorer

__all__ = ["Keepers"]

NEWER_THAN = 0.95  # share of the cloud's own images
LEAST_USABLE = 0.05  # share of the cloud's images that are less usable than what is kept


class Keepers:
    """``keepers(usability, novelty, prompt) -> [n]`` bool, of scores that were already made.

    A keeper's novelty counts (it lies among the real images, where those are known) and is above the 95th percentile
    of the novelty of the cloud's own images, each without itself; and every usability scorer calls it usable: by its
    attribute `least_usable`, where it has one (a probability of 0.5 means something by itself), else from the 5th
    percentile of the cloud's scores on.

    Attributes
    ----------
    newer_than_ : dict
        Prompt -> novelty that a keeper exceeds.
    least_ : dict
        Prompt -> scorer -> lowest usable score.
    """

    def fit(self, clouds: Mapping[str, Tensor], novelty: Novelty, usability: Mapping[str, Scorer]) -> Keepers:
        """Learn what the unamplified pipeline does anyway.

        Parameters
        ----------
        clouds
            Prompt -> unamplified images ``(n, 3, h, w)``, those that `novelty` was fitted to.
        novelty
            Fitted.
        usability
            Name -> scorer.
        """
        self.newer_than_ = {prompt: float(np.quantile(novelty.own_[prompt], NEWER_THAN)) for prompt in clouds}
        self.least_ = {
            prompt: {name: _least(scorer, images, prompt) for name, scorer in usability.items()}
            for prompt, images in clouds.items()
        }
        return self

    def __call__(
        self, usability: Mapping[str, NDArray[np.floating]], novelty: NDArray[np.floating], prompt: str
    ) -> NDArray[np.bool_]:
        """Tell of each sample ``(n,)`` of a prompt whether it is a keeper."""
        if prompt not in self.newer_than_:
            raise ValueError(f"There is no cloud of {prompt!r}; fitted are {', '.join(map(repr, self.newer_than_))}.")
        kept: NDArray[np.bool_] = np.nan_to_num(novelty, nan=-np.inf) > self.newer_than_[prompt]
        for name, least in self.least_[prompt].items():
            kept &= usability[name] >= least
        return kept


def _least(scorer: Scorer, images: Tensor, prompt: str) -> float:
    known = getattr(scorer, "least_usable", None)
    return float(np.quantile(scorer(images, prompt), LEAST_USABLE) if known is None else known)
