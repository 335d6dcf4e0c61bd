"""The balls of one k, and what a single pair of samples says about one of them.

Three kinds of radii occur. Most metrics take the distance to the k-th neighbour as it is. Clipped Density cuts it at
the median, so that the ball of an outlier counts no more than a common one (Salvy et al., arXiv 2507.01761).
P-precision and P-recall give all balls of a set one radius, the reach R = 1.2 mean(r_k): a sample at distance d of a
ball's centre is taken to be inside with probability max(0, 1 - d / R), each ball for itself, and the metric is the
probability to be inside at least one. The product over the balls underflows where many are near, so its logarithm is
summed (Park and Kim, ICCV 2023, arXiv 2309.01590; two files of their code disagree on the factor, 1.2 and 1.5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = [
    "Balls",
    "clipped_radii",
    "hit_probability",
    "is_within",
    "log_misses",
    "reach_of",
    "realism_balls",
    "reciprocal",
    "relative_distance",
]

# Of the mean radius: the reach of P-precision and P-recall.
REACH_FACTOR = 1.2


@dataclass(frozen=True)
class Balls:
    """The balls of one k that pairs are compared with; radii in feature units.

    Attributes
    ----------
    radii, clipped
        (n,) float64 of the reference: as they are, and at most their median.
    kept
        (n,) bool: the balls that lend realism.
    by_radius, rank
        (n + 1,) int64, the balls from the smallest to the largest (of equal ones the first comes first), then -1; and
        (n,) int64, the place of each ball there.
    query_radii
        (m,) float64 of the query, or None where nothing was asked that needs them.
    reach, query_reach
        The one radius of P-precision and of P-recall, or None.
    closed
        Whether a ball contains its sphere.
    """

    radii: np.ndarray
    clipped: np.ndarray
    kept: np.ndarray
    by_radius: np.ndarray
    rank: np.ndarray
    query_radii: np.ndarray | None
    reach: float | None
    query_reach: float | None
    closed: bool

    @classmethod
    def of(
        cls, radii: np.ndarray, query_radii: np.ndarray | None = None, *, closed: bool, probabilistic: bool = False
    ) -> Balls:
        """The balls of these radii; `probabilistic` asks for the reaches."""
        by_radius = np.argsort(radii, kind="stable")
        return cls(
            radii=radii,
            clipped=clipped_radii(radii),
            kept=realism_balls(radii),
            by_radius=np.append(by_radius, -1),
            rank=np.argsort(by_radius),
            query_radii=query_radii,
            reach=reach_of(radii) if probabilistic else None,
            query_reach=reach_of(query_radii) if probabilistic and query_radii is not None else None,
            closed=closed,
        )


def is_within(distances: np.ndarray, radii: np.ndarray, closed: bool) -> np.ndarray:
    """The one place that knows the boundary rule: closed balls contain their sphere, open ones do not."""
    return distances <= radii if closed else distances < radii


def relative_distance(distances: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Distance / radius, where a ball of radius 0 has 0 at its centre and inf elsewhere."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(distances == 0, 0.0, distances / radii)


def reciprocal(ratios: np.ndarray) -> np.ndarray:
    """1 / ratio, with 1/0 = inf and 1/inf = 0."""
    with np.errstate(divide="ignore"):
        return 1 / ratios


def realism_balls(radii: np.ndarray) -> np.ndarray:
    """(n,) bool: the balls below the median radius; where none is below it, those equal to it.

    The others, half of them, lend no realism: balls of outliers are large and would inflate it (Kynkäänniemi et al.,
    eq. 3, arXiv 1904.06991).
    """
    median = np.median(radii)
    below = radii < median
    return below if below.any() else radii == median


def clipped_radii(radii: np.ndarray) -> np.ndarray:
    """(n,) radii, none above their median: the ball of an outlier grows no larger than a common one."""
    return np.minimum(radii, np.median(radii))


def reach_of(radii: np.ndarray) -> float:
    """The radius that all balls of a set share, in feature units."""
    return REACH_FACTOR * float(np.mean(radii))


def log_misses(distances: np.ndarray, reach: float) -> np.ndarray:
    """Log of the probability that one ball misses a sample; 0 out of reach, -inf at the centre, also for reach 0."""
    with np.errstate(divide="ignore"):
        return np.log(np.minimum(relative_distance(distances, np.full(len(distances), reach)), 1))


def hit_probability(log_miss: np.ndarray) -> np.ndarray:
    """Probability to lie in at least one ball, in [0, 1], from the sum of `log_misses` over all balls."""
    return 0 - np.expm1(log_miss)  # 0, not -0, where nothing is near
