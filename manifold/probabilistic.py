"""P-precision and P-recall: not whether a sample lies inside a ball, but how probably it lies inside any.

All balls have one radius, the reach R = 1.2 mean(r_k). A sample at distance d of a ball's centre is taken to be inside
with probability max(0, 1 - d / R), each ball for itself; P-precision is the mean over the query of the probability to
be inside at least one ball of the reference, P-recall the same with the roles swapped. Both in [0, 1], higher is
better. The product over the balls underflows where many are near, so its logarithm is summed.

Source: Park and Kim, "Probabilistic Precision and Recall Towards Reliable Evaluation of Generative Models", ICCV 2023,
arXiv 2309.01590, with its k = 4. Two files of their code disagree on the factor, 1.2 and 1.5.
"""

from __future__ import annotations

import numpy as np

from manifold.scores import relative_distance

FACTOR = 1.2


def reach_of(radii: np.ndarray) -> float:
    """The radius that all balls of a set share, in feature units."""
    return FACTOR * float(np.mean(radii))


def log_misses(distances: np.ndarray, reach: float) -> np.ndarray:
    """Log of the probability that one ball misses a sample; 0 out of reach, -inf at the centre, also for reach 0."""
    with np.errstate(divide="ignore"):
        return np.log(np.minimum(relative_distance(distances, np.full(len(distances), reach)), 1))


def hit_probability(log_miss: np.ndarray) -> np.ndarray:
    """Probability to lie in at least one ball, in [0, 1], from the sum of `log_misses` over all balls."""
    return 0 - np.expm1(log_miss)  # 0, not -0, where nothing is near
