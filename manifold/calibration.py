"""What a metric would be if reference and query came from the same distribution."""

from __future__ import annotations

from manifold.inputs import as_count, need_samples


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
