"""What coverage would be if reference and query came from the same distribution, and what one sample may add.

Clipped Density and Clipped Coverage bound what a single sample contributes, so that outliers cannot dominate. Clipped
Density counts, for each query, the balls of clipped radius that contain it, k at most; divided by what the reference
itself attains when each sample is left out of its own balls. Clipped Coverage counts, for each ball, the queries
inside, k at most; `calibrated_clipped_coverage` maps it to the share of good samples that would give it.

Source: Salvy et al., "Enhanced Generative Model Evaluation with Clipped Density and Coverage", arXiv 2507.01761. Their
code takes closed balls for the one and open balls for the other; ours takes what `closed` says for both.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from genmend.manifold.engine.inputs import as_count, need_samples

__all__ = ["calibrated_clipped_coverage", "clipped_share", "expected_clipped_coverage", "expected_coverage"]


def expected_coverage(n: int, m: int, k: int) -> float:
    """Mean coverage of n reference by m query samples of one continuous distribution; in (0, 1), exact.

    Of the samples near a reference sample each order of reference and query is equally likely, so its ball stays
    empty with probability prod_{j=1..k} (n - j) / (n + m - j), in any dimension. Tends to 1 - 2**-k for n = m.

    Parameters
    ----------
    n, m
        Numbers of reference and of query samples; n at least k + 1.
    k
        Number of neighbours.

    Notes
    -----
    Source: Naeem et al., section 3.3, arXiv 2002.09797.

    Examples
    --------
    >>> round(expected_coverage(10_000, 10_000, k=5), 4)
    0.9688
    """
    n, m, k = as_count(n, "n"), as_count(m, "m"), as_count(k, "k")
    need_samples(n, k, "reference")
    empty = 1.0
    for j in range(1, k + 1):
        empty *= (n - j) / (n + m - j)
    return 1 - empty


def expected_clipped_coverage(n: int, m: int, k: int) -> np.ndarray:
    """Mean raw Clipped Coverage of n reference samples by 0, 1, ..., m query samples of the same distribution.

    The number J of queries in a ball follows a beta-binomial law, and the mean of min(J, k) / k needs only its first
    k probabilities: O(m k) operations. They come from one another by their exact ratios, in log space.

    Parameters
    ----------
    n, m
        Numbers of reference and of query samples; n at least k + 1.
    k
        Number of neighbours.

    Returns
    -------
    (m + 1,) float64 in [0, 1), non-decreasing; 0 for fewer than k query samples, by the authors' convention.

    Notes
    -----
    Source: Salvy et al., "Enhanced Generative Model Evaluation with Clipped Density and Coverage", arXiv 2507.01761.

    Examples
    --------
    >>> round(float(expected_clipped_coverage(10_000, 10_000, k=5)[-1]), 4)
    0.754
    """
    n, m, k = as_count(n, "n"), as_count(m, "m"), as_count(k, "k")
    need_samples(n, k, "reference")
    good = np.arange(k, m + 1, dtype=np.float64)
    t = np.arange(1, k + 1)
    log_probability = -np.log1p(good[:, None] / (n - t)).sum(axis=1)  # of J = 0: prod_t (n - t) / (n - t + good)
    missing = np.zeros(len(good))  # the mean of 1 - min(J, k) / k
    for j in range(k):
        missing += (1 - j / k) * np.exp(log_probability)
        log_probability += np.log((good - j) / (j + 1) * (k + j) / (n - k + good - j - 1))
    expected = np.zeros(m + 1)
    expected[k:] = np.maximum.accumulate(1 - missing)  # neighbours may differ by less than the rounding
    return expected


def calibrated_clipped_coverage(raw: Any, n: int, m: int, k: int) -> Any:
    """Share of good query samples that would give the raw Clipped Coverage, in [0, 1]; higher is better.

    The authors' g: the place of `raw`, one or several numbers, in the sequence `expected_clipped_coverage`, over its
    length. Thus 1 for two sets of one distribution. It holds on average, and for bad samples that fall into no ball.

    Notes
    -----
    Source: Salvy et al., arXiv 2507.01761.
    """
    return np.searchsorted(expected_clipped_coverage(n, m, k), raw) / (m + 1)


def clipped_share(count: np.ndarray, k: int) -> np.ndarray:
    """`count` over k, at most 1: what one sample contributes, in [0, 1]; higher is better."""
    return np.minimum(count, k) / k
