"""Clipped Density and Clipped Coverage: what a single sample may contribute is bounded, so that outliers cannot.

Clipped Density counts, for each query, the balls of clipped radius that contain it, k at most; divided by what the
reference itself attains when each sample is left out of its own balls. Clipped Coverage counts, for each ball, the
queries inside, k at most; `manifold.calibration` maps it to the share of good samples that would give it.

Source: Salvy et al., "Enhanced Generative Model Evaluation with Clipped Density and Coverage", arXiv 2507.01761. Their
code takes closed balls for the one and open balls for the other; ours takes what `closed` says for both.
"""

from __future__ import annotations

import numpy as np


def clipped_radii(radii: np.ndarray) -> np.ndarray:
    """(n,) radii, none above their median: the ball of an outlier grows no larger than a common one."""
    return np.minimum(radii, np.median(radii))


def clipped_share(count: np.ndarray, k: int) -> np.ndarray:
    """`count` over k, at most 1: what one sample contributes, in [0, 1]; higher is better."""
    return np.minimum(count, k) / k
