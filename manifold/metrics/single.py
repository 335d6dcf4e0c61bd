"""Precision, recall, density and coverage: shares and counts of samples in the balls of the other set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from genmend.manifold.engine.inputs import as_closed, as_count, as_features, device_of, like, need_samples
from genmend.manifold.engine.radii import BLOCK_SIZE, counts, radii_of
from genmend.manifold.engine.screens import screen_of, screens_of
from genmend.manifold.engine.sweep import BallHits, is_within, near_pairs
from genmend.manifold.metrics.evaluation_result import PRDC, PRDCAtK, size_warnings


def precision(reference: Any, query: Any, k: int = 3, closed: bool = True, *, block_size: int = BLOCK_SIZE) -> float:
    """Fraction of the query inside the reference's balls, in [0, 1]; higher is better (fidelity).

    Arguments as for `prdc`; the radii of the query are not needed.

    Notes
    -----
    Source: Kynkäänniemi et al., eq. 2, arXiv 1904.06991.

    Examples
    --------
    >>> precision([[0.0], [1.0], [3.0], [7.0]], [[0.5], [2.0], [5.5], [12.0]], k=1)
    0.75
    """
    return float(np.mean(_hits(reference, query, k, closed, block_size).ball_count > 0))


def recall(reference: Any, query: Any, k: int = 3, closed: bool = True, *, block_size: int = BLOCK_SIZE) -> float:
    """Fraction of the reference inside the query's balls, in [0, 1]; higher is better (diversity).

    Precision with the roles swapped. Arguments as for `prdc`.

    Notes
    -----
    Source: Kynkäänniemi et al., eq. 2, arXiv 1904.06991.
    """
    hits = _hits(query, reference, k, closed, block_size, names=("query", "reference"))
    return float(np.mean(hits.ball_count > 0))


def density(reference: Any, query: Any, k: int = 5, closed: bool = True, *, block_size: int = BLOCK_SIZE) -> float:
    """Mean number of reference balls that contain a query, over k: from 0, about 1 for equal distributions.

    Higher means nearer to dense parts of the reference, but above 1 usually means that the query gathers inside the
    large balls of outliers. Arguments as for `prdc`.

    Notes
    -----
    Source: Naeem et al., eq. 3, arXiv 2002.09797.
    """
    return float(np.mean(_hits(reference, query, k, closed, block_size).ball_count) / k)


def coverage(reference: Any, query: Any, k: int = 5, closed: bool = True, *, block_size: int = BLOCK_SIZE) -> float:
    """Fraction of the reference balls that contain a query, in [0, 1]; higher is better (diversity).

    The authors' code takes open balls, `closed=False`; like the other three this defaults to closed ones, so that
    equal sets score 1 even where all their samples coincide. The two differ only if a query lies exactly on a sphere.
    Arguments as for `prdc`; compare with `expected_coverage`.

    Notes
    -----
    Source: Naeem et al., eq. 4, arXiv 2002.09797.
    """
    return float(np.mean(_hits(reference, query, k, closed, block_size).covered))


def prdc(
    reference: Any,
    query: Any,
    k: int | Sequence[int] = (3, 5),
    closed: bool = True,
    *,
    block_size: int = BLOCK_SIZE,
) -> PRDC:
    """All four metrics for every k, with their per-sample parts, from one sweep.

    Precision and recall are published for k = 3, density and coverage for k = 5. All depend on the sizes of both sets
    and on k: compare only like with like.

    Parameters
    ----------
    reference, query
        (n, d) and (m, d) features of the same extractor, n and m at least k + 1; real and generated samples. Numpy or
        torch (screened on the reference's device, measured on the CPU); per-sample arrays come back as what the set
        they are about came in.
    k
        One number of neighbours or several.
    closed
        Whether balls contain their sphere. `True` is the papers' definition, `False` that of the prdc package.
    block_size
        Rows and columns of the tiles compared at a time; bounds the memory, never changes a result.

    Raises
    ------
    ValueError, TypeError
        For fewer than k + 1 samples, different widths, or features that are not finite real numbers.

    Notes
    -----
    Sources: Kynkäänniemi et al. 2019, arXiv 1904.06991 (precision, recall); Naeem et al. 2020, arXiv 2002.09797
    (density, coverage).

    Examples
    --------
    >>> result = prdc([[0.0], [1.0], [3.0], [7.0]], [[0.5], [2.0], [5.5], [12.0]], k=1)
    >>> result[1].precision, result[1].recall, result[1].density, result[1].coverage
    (0.75, 1.0, 1.25, 1.0)
    """
    x = as_features(reference, "reference")
    y, block = as_features(query, "query", x.shape[1]), as_count(block_size, "block_size")
    several = tuple(sorted(set(counts(k))))
    need_samples(len(x), several[-1], "reference")
    need_samples(len(y), several[-1], "query")
    screen, query_screen = screens_of(x, y, device_of(reference))
    query_radii = radii_of(query_screen, y, several, block)
    radii = radii_of(screen, x, several, block)
    hits = [BallHits(radii[:, column], len(y), as_closed(closed)) for column in range(len(several))]
    recalled = np.zeros((len(several), len(x)), dtype=bool)
    for pairs in near_pairs(
        screen, x, y, radii[:, -1], query_radii[:, -1], query_screen=query_screen, block_size=block
    ):
        i, j, distances = pairs
        for column, hit in enumerate(hits):
            hit.add(pairs)
            recalled[column, j[is_within(distances, query_radii[i, column], closed)]] = True
    at = {
        one: PRDCAtK(
            k=one,
            inside=like(hit.ball_count > 0, query),
            ball_count=like(hit.ball_count, query),
            covered=like(hit.covered, reference),
            recalled=like(found, reference),
        )
        for one, hit, found in zip(several, hits, recalled, strict=True)
    }
    return PRDC(closed=closed, n_reference=len(x), n_query=len(y), at=at, warnings=size_warnings(len(x), len(y)))


def _hits(
    reference: Any, query: Any, k: int, closed: bool, block_size: int, names: tuple[str, str] = ("reference", "query")
) -> BallHits:
    x = as_features(reference, names[0])
    y, block = as_features(query, names[1], x.shape[1]), as_count(block_size, "block_size")
    need_samples(len(x), as_count(k, "k"), names[0])
    screen = screen_of(x, device_of(reference))
    radii = radii_of(screen, x, (k,), block)[:, 0]
    hits = BallHits(radii, len(y), as_closed(closed))
    for pairs in near_pairs(screen, x, y, radii, block_size=block):
        hits.add(pairs)
    return hits
