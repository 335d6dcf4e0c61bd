"""Keepers: images worth keeping, which are usable, among real images where these are known, and new.

An image is a keeper if every scorer of its usability gives it no less than it gives all but the lowest twentieth of
the unamplified images of its prompt, and its novelty counts and lies above that of all but the newest twentieth of the
unamplified cloud. So about 5 of 100 unamplified images are keepers: that is what amplified ones are read against.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from genmend.diffusion.search.trials import Scores

__all__ = ["keepers"]

_LOWEST = 0.05  # share of the unamplified images of a prompt that count as not usable


def keepers(scores: Scores, plain: Scores, newest: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Whether each image is one.

    Parameters
    ----------
    scores
        Of the images, in the order of prompts and, within a prompt, of seeds.
    plain
        Of the unamplified images of the same prompts and seeds.
    newest
        For each prompt the novelty that has to be exceeded, as `Novelty.newest` gives it; NaN where it is not known,
        and then no image of the prompt is a keeper.
    """
    n = len(scores.novelty) // len(newest)
    with np.errstate(invalid="ignore"):
        found: NDArray[np.bool_] = scores.novelty > np.repeat(newest, n)
    for name, values in scores.usability.items():
        floor = np.quantile(plain.usability[name].reshape(len(newest), n), _LOWEST, axis=1)
        found &= values >= np.repeat(floor, n)
    return found
